/**
 * The signals by which a crash of the C hook shows: the kernel has our handler for them (`zp_fault`, then on_fault in
 * crash.ts), with the program's action as the interned restorer (../signal/action.ts). The program sees what it has set
 * itself, and its handlers are called as the kernel has called ours. What it ignores the kernel ignores: that outlives exec.
 */
import { VERDICT_SKIP } from "../../src/image/layout";
import { Frame } from "../hook/frame";
import { currentThread } from "../process/thread";
import { readable } from "../record/memory";
import { usesTrap } from "../rewrite/kinds";
import { internWhole } from "../signal/action";
import { syscall6 } from "../std/raw";
import {
  Action,
  AlternateStack,
  SA_ONSTACK,
  SA_RESETHAND,
  SA_RESTORER,
  SA_SIGINFO,
  SIG_DFL,
  SIG_IGN,
  SIGABRT,
  SIGBUS,
  SIGFPE,
  SIGILL,
  SIGSEGV,
  SIGSET_SIZE,
  SIGSYS_BIT,
  SS_DISABLE,
} from "../std/signals";
import { SYS_RT_SIGACTION, SYS_SIGALTSTACK } from "../std/sys";
import { afterAlternateStack } from "../trap/start";
import { answer } from "./next";
import { isOurAlternateStack, useOurAlternateStack } from "./stack";

// @ts-ignore: decorator
@external("symbol", "zp_fault")
declare function zp_fault(): usize;

/** Greater than any of them. */
const MOST: u32 = 12;
/** What is handed to the kernel at start-up, or by a crash. */
const scratch: usize = memory.data(32, 8);
let watching: bool = false;

/** Whether crashes are watched for by this signal. */
export function isWatched(signal: u32): bool {
  return watching && isCrash(signal);
}

function isCrash(signal: u32): bool {
  return signal == SIGILL || signal == SIGABRT || signal == SIGBUS || signal == SIGFPE || signal == SIGSEGV;
}

/** Whether an action, as the kernel tells it, is that of a watched signal. */
export function isWatchAction(action: Action): bool {
  return action.handler == zp_fault();
}

/** One thread, nothing hooked yet. What a parent ignored stays ignored. */
export function watchSignals(): void {
  watching = true;
  for (let signal: u32 = 1; signal < MOST; signal++) {
    if (!isCrash(signal)) continue;
    sigaction(signal, 0, scratch);
    if (changetype<Action>(scratch).handler != SIG_IGN) watch(signal);
  }
}

/** Our handler, for a program that has none. */
export function watch(signal: u32): void {
  memory.fill(scratch, 0, offsetof<Action>());
  if (watchAction(changetype<Action>(scratch))) sigaction(signal, scratch, 0);
}

/** The next one kills. */
export function setDefault(signal: u32): void {
  memory.fill(scratch, 0, offsetof<Action>());
  sigaction(signal, scratch, 0);
}

function sigaction(signal: u32, action: usize, old: usize): i64 {
  return syscall6(SYS_RT_SIGACTION, signal, action, old, SIGSET_SIZE, 0, 0);
}

/** What the program's action of a watched signal becomes in the kernel; false when there is no memory. */
export function watchAction(action: Action): bool {
  if (action.handler == SIG_IGN) return true;
  const interned = internWhole(action);
  if (!interned) return false;
  if (action.handler == SIG_DFL) {
    action.flags = SA_RESTORER | SA_ONSTACK;
    action.mask = 0;
  }
  action.handler = zp_fault();
  action.restorer = interned;
  action.flags = (action.flags | SA_SIGINFO) & ~SA_RESETHAND; // on_fault does that
  if (usesTrap) action.mask &= ~SIGSYS_BIT;
  return true;
}

/** sigaltstack of the program: where it has none, ours is there, and the program does not see it. */
export function setAlternateStack(f: Frame): u32 {
  const thread = currentThread();
  const wanted = <usize>f.a0;
  const old = <usize>f.a1;
  const none = thread.hookTop != 0 && !thread.alternateSize;
  let result = syscall6(SYS_SIGALTSTACK, wanted, old, 0, 0, 0, 0);
  if (result != 0 && none && thread.acceptsNoStack && isEmpty(wanted)) {
    // The kernel takes what is as it was; it says so before it looks at anything else.
    result = syscall6(SYS_SIGALTSTACK, 0, old, 0, 0, 0, 0);
    if (result == 0 && old) hideOurs(changetype<AlternateStack>(old));
    return answer(f, result);
  }
  if (result == 0 && old && isOurAlternateStack(thread, changetype<AlternateStack>(old))) {
    hideOurs(changetype<AlternateStack>(old));
  }
  if (result == 0 && wanted && thread.hookTop) {
    const stack = changetype<AlternateStack>(wanted);
    thread.acceptsNoStack = 0;
    thread.alternateLow = stack.address;
    thread.alternateSize = stack.flags & SS_DISABLE ? 0 : stack.size;
    if (!thread.alternateSize) useOurAlternateStack(thread);
  }
  answer(f, result);
  afterAlternateStack(f);
  return VERDICT_SKIP;
}

function isEmpty(stack: usize): bool {
  if (!readable(stack, offsetof<AlternateStack>())) return false;
  const given = changetype<AlternateStack>(stack);
  return !given.address && !given.flags && !given.size;
}

function hideOurs(told: AlternateStack): void {
  told.address = 0;
  told.flags = SS_DISABLE;
  told.size = 0;
}
