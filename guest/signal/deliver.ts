/**
 * Before and after a handler of the program that is not called at once (`zp_signal` in src/image/signal-stub.ts): because
 * the signal came while a call was being made, or because of SIGSYS in its mask under the trap.
 */
import { INTERNED_SELF } from "../../src/image/layout";
import { lastActionOf } from "./action";
import { Interned } from "./interned";
import { usesTrap } from "../rewrite/kinds";
import { SI_ADDR, SI_CODE, SIGSYS, SYS_SECCOMP, UC_RIP, UC_SIZE } from "../std/signals";
import { enterHandler } from "./sigsys";
import { hideCall, showCall } from "./presentation";

/** The word that a signal frame begins with, right below the context. */
const RESTORER: usize = 8;
/**
 * Answers 0 when the handler can be called as the kernel would have called it. Else its address: its restorer is in place
 * then, and on_signal_return must be called with the same arguments when it has returned.
 */
export function on_signal(context: usize, shown: usize, signal: u32): usize {
  const restorer = load<usize>(context - RESTORER);
  const isOurs = load<usize>(restorer, INTERNED_SELF) == restorer;
  const action = isOurs ? restorer : lastActionOf(signal);
  if (!action) return 0;
  if (usesTrap) enterHandler(context, signal, changetype<Interned>(action));
  if (!showCall(context, shown)) return 0;
  if (signal == SIGSYS) showCallAddress(context);
  if (isOurs) store<usize>(context - RESTORER, changetype<Interned>(action).returnTo);
  return changetype<Interned>(action).handler;
}

/** A seccomp filter's SIGSYS says in its siginfo, too, where the call was made. */
function showCallAddress(context: usize): void {
  const info = context + UC_SIZE;
  if (load<u32>(info, SI_CODE) == SYS_SECCOMP) store<usize>(info, load<usize>(context, UC_RIP), SI_ADDR);
}

export function on_signal_return(context: usize, shown: usize): void {
  hideCall(context, shown);
}
