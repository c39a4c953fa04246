/**
 * Before and after a handler of the program that is not called at once (`zp_signal` in src/image/signal-stub.ts): because
 * the signal came while a call was being made.
 */
import { INTERNED_SELF } from "../../src/image/layout";
import { SIGSYS, UC_RIP } from "../std/signals";
import { lastActionOf } from "./action";
import { Interned } from "./interned";
import { hideCall, showCall } from "./presentation";

/** The word that a signal frame begins with, right below the context. */
const RESTORER: usize = 8;
/** From the context to siginfo_t, right behind it (struct rt_sigframe, arch/x86/include/asm/sigframe.h). */
const INFO: usize = 304;
const INFO_CODE: usize = INFO + 8;
const INFO_CALL_ADDRESS: usize = INFO + 16;
/** si_code of a filter's SECCOMP_RET_TRAP (asm-generic/siginfo.h). */
const FILTERED: u32 = 1;

/**
 * Answers 0 when the handler can be called as the kernel would have called it. Else its address: its restorer is in place
 * then, and on_signal_return must be called with the same arguments when it has returned.
 */
export function on_signal(context: usize, shown: usize, signal: u32): usize {
  const restorer = load<usize>(context - RESTORER);
  const isOurs = load<usize>(restorer, INTERNED_SELF) == restorer;
  const action = isOurs ? restorer : lastActionOf(signal);
  if (!action || !showCall(context, shown)) return 0;
  if (signal == SIGSYS && load<u32>(context, INFO_CODE) == FILTERED) {
    store<usize>(context, load<usize>(context, UC_RIP), INFO_CALL_ADDRESS);
  }
  if (isOurs) store<usize>(context - RESTORER, changetype<Interned>(action).restorer);
  return changetype<Interned>(action).handler;
}

export function on_signal_return(context: usize, shown: usize): void {
  hideCall(context, shown);
}
