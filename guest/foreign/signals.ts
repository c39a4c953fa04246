/**
 * The signals by which a crash of the C hook shows: the kernel has our handler for them (`zp_fault`, then on_fault in
 * crash.ts), and the program sees what it has set itself. All other signals are the program's own.
 *
 * A handler of the program is called by ours with the kernel's own stack and arguments, so its flags and its mask go to
 * the kernel as they are. SIG_IGN goes there, too: it outlives exec. In a child that shares memory but not handlers
 * (vfork), nothing of this holds: what it sets is its own.
 */
import { VERDICT_CALL, VERDICT_SKIP } from "../../src/image/layout";
import { Frame } from "../hook/frame";
import { currentThread } from "../process/thread";
import { readable } from "../record/memory";
import { changeAction } from "../signal/action";
import { syscall6 } from "../std/raw";
import { SYS_RT_SIGACTION, SYS_SIGALTSTACK } from "../std/sys";
import { answer } from "./next";
import { AlternateStack, isOurAlternateStack, SS_DISABLE, useOurAlternateStack } from "./stack";

// @ts-ignore: decorator
@external("symbol", "zp_fault")
declare function zp_fault(): usize;
// @ts-ignore: decorator
@external("symbol", "zp_restorer")
declare function zp_restorer(): usize;

/** struct kernel_sigaction (linux/signal.h). */
// @ts-ignore: decorator
@unmanaged
export class Action {
  handler: usize;
  flags: u64;
  restorer: usize;
  mask: u64;
}

export const SIG_DFL: usize = 0;
export const SIG_IGN: usize = 1;
const SA_SIGINFO: u64 = 4;
const SA_RESTORER: u64 = 0x04000000;
const SA_ONSTACK: u64 = 0x08000000;
export const SA_RESETHAND: u64 = 0x80000000;
const MASK_SIZE: u64 = 8;

export const SIGILL: u32 = 4;
export const SIGABRT: u32 = 6;
export const SIGBUS: u32 = 7;
export const SIGFPE: u32 = 8;
export const SIGSEGV: u32 = 11;
const MOST: u32 = 12;

/** By signal: what the program has set. */
const actions: usize = memory.data(384, 8);
/** What is handed to the kernel at start-up. */
const scratch: usize = memory.data(32, 8);

export function isWatched(signal: u32): bool {
  return signal == SIGILL || signal == SIGABRT || signal == SIGBUS || signal == SIGFPE || signal == SIGSEGV;
}

/** What the program has set for a watched signal. */
export function actionOfProgram(signal: u32): Action {
  return changetype<Action>(actions + <usize>signal * offsetof<Action>());
}

/** One thread, nothing hooked yet. What a parent ignored stays ignored. */
export function watchSignals(): void {
  for (let signal: u32 = 1; signal < MOST; signal++) {
    if (!isWatched(signal)) continue;
    const own = actionOfProgram(signal);
    sigaction(signal, 0, changetype<usize>(own));
    if (own.handler != SIG_IGN) watch(signal);
  }
}

/** Our handler, for a program that has none. */
export function watch(signal: u32): void {
  install(signal, zp_fault(), SA_SIGINFO | SA_RESTORER | SA_ONSTACK);
}

/** The next one kills. */
export function setDefault(signal: u32): void {
  install(signal, SIG_DFL, SA_RESTORER);
}

function install(signal: u32, handler: usize, flags: u64): void {
  const action = changetype<Action>(scratch);
  action.handler = handler;
  action.flags = flags;
  action.restorer = zp_restorer();
  action.mask = 0;
  sigaction(signal, scratch, 0);
}

function sigaction(signal: u32, action: usize, old: usize): i64 {
  return syscall6(SYS_RT_SIGACTION, signal, action, old, MASK_SIZE, 0, 0);
}

/**
 * rt_sigaction of the program: the kernel checks and does it, with our handler in the place of the program's; then the
 * answers are exchanged.
 */
export function setAction(f: Frame): u32 {
  const signal = <u32>f.a0;
  if (f.a0 >= MOST || !isWatched(signal) || f.a3 != MASK_SIZE || currentThread().ownHandlers) {
    changeAction(f);
    return VERDICT_SKIP;
  }
  const wanted = <usize>f.a1;
  const old = <usize>f.a2;
  if (wanted && !readable(wanted, offsetof<Action>())) return VERDICT_CALL; // the kernel will say EFAULT
  const own = actionOfProgram(signal);
  const handler = own.handler;
  const flags = own.flags;
  const restorer = own.restorer;
  const mask = own.mask;
  const result = wanted ? exchange(f, signal, wanted, old) : sigaction(signal, 0, old);
  if (result == 0 && old) {
    const told = changetype<Action>(old);
    told.handler = handler;
    told.flags = flags;
    told.restorer = restorer;
    told.mask = mask;
  }
  return answer(f, result);
}

/** The words of the frame from `flags` on serve as memory: nothing looks at them any more. */
function exchange(f: Frame, signal: u32, wanted: usize, old: usize): i64 {
  const action = changetype<usize>(f) + offsetof<Frame>("flags");
  memory.copy(action, wanted, offsetof<Action>());
  const kernel = changetype<Action>(action);
  const handler = kernel.handler;
  if (handler == SIG_DFL) {
    kernel.flags = SA_SIGINFO | SA_RESTORER | SA_ONSTACK;
    kernel.restorer = zp_restorer();
    kernel.mask = 0;
  }
  if (handler != SIG_IGN) {
    kernel.handler = zp_fault();
    kernel.flags |= SA_SIGINFO;
  }
  const result = sigaction(signal, action, old);
  if (result == 0) memory.copy(changetype<usize>(actionOfProgram(signal)), wanted, offsetof<Action>());
  return result;
}

/** sigaltstack of the program: where it has none, ours is there, and the program does not see it. */
export function setAlternateStack(f: Frame): u32 {
  const thread = currentThread();
  if (!thread.hookTop || thread.ownHandlers) return VERDICT_CALL;
  const wanted = <usize>f.a0;
  const old = <usize>f.a1;
  const result = syscall6(SYS_SIGALTSTACK, wanted, old, 0, 0, 0, 0);
  if (result != 0) return answer(f, result);
  if (old && isOurAlternateStack(thread, changetype<AlternateStack>(old))) {
    const told = changetype<AlternateStack>(old);
    told.address = 0;
    told.flags = SS_DISABLE;
    told.size = 0;
  }
  if (wanted) {
    const stack = changetype<AlternateStack>(wanted);
    thread.alternateLow = stack.address;
    thread.alternateSize = stack.flags & SS_DISABLE ? 0 : stack.size;
    if (!thread.alternateSize) useOurAlternateStack(thread);
  }
  return answer(f, 0);
}
