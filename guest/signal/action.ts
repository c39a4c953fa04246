/**
 * rt_sigaction of the program: for each of its handlers the kernel gets the trampoline `zp_signal`
 * (src/image/signal-stub.ts), with the program's flags and mask, and an interned action (interned.ts) as the restorer. What
 * the kernel tells of an action is told the program as it has set it. SIG_DFL and SIG_IGN stay what they are.
 *
 * Code that is not hooked (the C library of a C hook) may read our trampoline as the action of a signal, and set it again
 * with a restorer of its own: then the last handler of the signal that was set here is called.
 */
import { INTERNED_SIZE } from "../../src/image/layout";
import { Frame, scratchOf } from "../hook/frame";
import { own } from "../process/own";
import { readable } from "../record/memory";
import { syscall6 } from "../std/raw";
import { noteHandler } from "../rewrite/deferred";
import { usesTrap } from "../rewrite/kinds";
import { Action, SIG_IGN, SIGNALS, SIGSET_SIZE, SIGSYS, SIGSYS_BIT } from "../std/signals";
import { ENOMEM, failed, mapPages, SYS_RT_SIGACTION } from "../std/sys";
import { isWatchAction, isWatched, watchAction } from "../foreign/signals";
import { intern, Interned, isInterned, linkChunk } from "./interned";
import { isTrapAction, setSigsys } from "./sigsys";

// @ts-ignore: decorator
@external("symbol", "zp_signal")
declare function zp_signal(): usize;
// @ts-ignore: decorator
@external("symbol", "zp_handler_return")
declare function zp_handler_return(): usize;
// @ts-ignore: decorator
@external("symbol", "zp_interned")
declare function zp_interned(): usize;
// @ts-ignore: decorator
@external("symbol", "zp_last_actions")
declare function zp_last_actions(): usize;

/** Makes the call; `f.result` is the answer. Arguments that are no good are the kernel's to refuse. */
export function changeAction(f: Frame): void {
  const signal = <u32>f.a0;
  let action = <usize>f.a1;
  const old = <usize>f.a2;
  if (action && f.a3 == SIGSET_SIZE && readable(action, offsetof<Action>())) {
    memory.copy(scratchOf(f), action, offsetof<Action>());
    action = scratchOf(f);
    if (!throughTrampoline(signal, changetype<Action>(action))) {
      f.result = -ENOMEM;
      return;
    }
  }
  const result = syscall6(SYS_RT_SIGACTION, f.a0, action, old, f.a3, 0, 0);
  if (result == 0 && old) tellAction(signal, changetype<Action>(old));
  f.result = result;
}

/** Without memory the kernel gets the program's own handler; but false for SIGSYS, which is the trap's. */
function throughTrampoline(signal: u32, action: Action): bool {
  if (usesTrap && signal == SIGSYS) return setSigsys(action);
  if (isWatched(signal) && watchAction(action)) {
    if (isWatchAction(action)) store<usize>(lastAction(signal), action.restorer);
    return true;
  }
  if (action.handler <= SIG_IGN || signal >= SIGNALS) return true;
  const flags = action.flags;
  const mask = action.mask;
  const hidden: u64 = usesTrap ? SIGSYS_BIT : 0;
  action.flags = 0; // the kernel keeps them, and the mask but for that of SIGSYS
  action.mask = mask & hidden;
  const interned = internAction(action);
  action.flags = flags;
  action.mask = mask & ~hidden;
  if (!interned) {
    noteHandler();
    return true;
  }
  store<usize>(lastAction(signal), interned);
  action.handler = zp_signal();
  action.restorer = interned;
  return true;
}

/** Of what the kernel keeps of sa_flags (UAPI_SA_FLAGS, linux/signal_types.h). */
const KNOWN_FLAGS: u64 = 0xdc000807;
/** SIGKILL and SIGSTOP, which are in no mask. */
const UNBLOCKABLE: u64 = (1 << 8) | (1 << 18);

/** An action that the kernel gets another one for: as it would tell it. 0 when there is no memory. */
export function internWhole(action: Action): usize {
  action.flags &= KNOWN_FLAGS;
  action.mask &= ~UNBLOCKABLE;
  return internAction(action);
}

/** The program's action in the signal frame whose context is at `context`, or 0. */
export function actionInFrame(context: usize, signal: u32): usize {
  const restorer = load<usize>(context - 8);
  return isInterned(zp_interned(), restorer) ? restorer : lastActionOf(signal);
}

/** 0 when there is no memory. */
function internAction(action: Action): usize {
  const returnTo = isUnchanged(action.restorer) ? zp_handler_return() : action.restorer;
  const interned = intern(zp_interned(), action, returnTo);
  if (interned) return interned;
  const pages = mapPages(INTERNED_SIZE);
  if (failed(pages)) return 0;
  own(<usize>pages, INTERNED_SIZE);
  linkChunk(zp_interned(), <usize>pages);
  return intern(zp_interned(), action, returnTo);
}

/** `mov $15, %eax; syscall`, and what the other form, `mov $15, %rax`, has in common with it. */
const SIGRETURN: u32 = 15;
const SYSCALL: u16 = 0x050f;

/**
 * Whether a restorer makes its call by a `syscall`: the C library's, which stays as it is where that is not rewritten by
 * `call *%rax`, because unwinders know the frame of a handler by these bytes.
 */
function isUnchanged(restorer: usize): bool {
  if (!readable(restorer, 9)) return false;
  const short = load<u8>(restorer) == 0xb8;
  if (!short && (load<u16>(restorer) != 0xc748 || load<u8>(restorer, 2) != 0xc0)) return false;
  const constant = restorer + (short ? 1 : 3);
  return load<u32>(constant) == SIGRETURN && load<u16>(constant, 4) == SYSCALL;
}

// @ts-ignore: decorator
@inline
function lastAction(signal: u32): usize {
  return zp_last_actions() + (<usize>signal << 3);
}

/** The action that was set last for a signal, or 0. */
export function lastActionOf(signal: u32): usize {
  return load<usize>(lastAction(signal));
}

/** What the kernel has told of an action becomes what the program has set. A handler that was reset leaves its restorer. */
function tellAction(signal: u32, told: Action): void {
  const whole = isTrapAction(told) || isWatchAction(told);
  const calls = whole || told.handler == zp_signal();
  const entry = isInterned(zp_interned(), told.restorer) ? told.restorer : calls ? lastActionOf(signal) : 0;
  if (!entry) return;
  const interned = changetype<Interned>(entry);
  if (calls) told.handler = interned.handler;
  if (whole) told.flags = interned.flags;
  told.mask = whole ? interned.mask : told.mask | interned.mask;
  told.restorer = interned.restorer;
}
