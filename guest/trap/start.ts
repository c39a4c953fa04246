/** The trap from our start-up on, and in new threads and processes. */
import { GAP_NO_TRAP, RING_H_ROOT, SIGSYS } from "../../src/image/layout";
import { Frame } from "../hook/frame";
import { AT_MINSIGSTKSZ, auxiliary, libraryPath } from "../process/environment";
import { recordGap } from "../record/record";
import { ring } from "../record/ring";
import { usesTrap, withoutTrap } from "../rewrite/kinds";
import { cstr } from "../std/cstr";
import { refuse } from "../std/log";
import { syscall6 } from "../std/raw";
import {
  Action,
  AlternateStack,
  SA_ONSTACK,
  SA_RESTORER,
  SA_SIGINFO,
  SIG_UNBLOCK,
  SIGSET_SIZE,
  SS_DISABLE,
} from "../std/signals";
import { CLONE_CLEAR_SIGHAND, SYS_RT_SIGACTION, SYS_RT_SIGPROCMASK } from "../std/sys";
import { arm } from "./arm";

// @ts-ignore: decorator
@external("symbol", "zp_sigsys")
declare function zp_sigsys(): usize;
// @ts-ignore: decorator
@external("symbol", "zp_trap_return")
declare function zp_trap_return(): usize;

const onlySigsys: usize = memory.data<u64>([1 << (SIGSYS - 1)]);
/** Filled once, as any thread would fill it; then its SA_ONSTACK may go. */
const kernelAction: usize = memory.data(32, 8);
/** What the handler needs below the kernel's frame (a test compares). */
export const HANDLER_STACK: usize = 1280;
/** Where the kernel does not tell: with AVX-512. */
const MOST_FRAME: u64 = 4096;

/** Start-up: one thread, and from here on nothing runs but our own text until the program goes on. */
export function startTrap(): void {
  if (!usesTrap) return;
  installHandler();
  const errno = -arm();
  if (!errno) return;
  withoutTrap();
  const what = cstr("this process cannot trap system calls");
  if ((libraryPath && !ring) || (ring && load<u32>(ring + RING_H_ROOT))) {
    recordGap(GAP_NO_TRAP, errno, cstr("prctl(PR_SET_SYSCALL_USER_DISPATCH)"), 35);
    return;
  }
  const cause = cstr("the kernel has no Syscall User Dispatch (Linux 5.11), or a seccomp filter forbids it");
  refuse(cstr("NO_TRAP"), what, cause, cstr("choose another kind of patch: auto, jump or zero"));
}

/** The kernel's own action, which a child shares or has a copy of, unless it was made with CLONE_CLEAR_SIGHAND. */
export function installHandler(): void {
  const action = changetype<Action>(kernelAction);
  if (!action.handler) {
    action.handler = zp_sigsys();
    action.flags = SA_SIGINFO | SA_RESTORER | SA_ONSTACK;
    action.restorer = zp_trap_return();
    action.mask = <u64>-1;
  }
  syscall6(SYS_RT_SIGACTION, SIGSYS, kernelAction, 0, SIGSET_SIZE, 0, 0);
  syscall6(SYS_RT_SIGPROCMASK, SIG_UNBLOCK, onlySigsys, 0, SIGSET_SIZE, 0, 0);
}

/**
 * After a sigaltstack of the program. One with too little room for our handler would be the end at the next trap: then traps
 * come on the stack that the thread is on, in all threads.
 */
export function afterAlternateStack(f: Frame): void {
  const stack = changetype<AlternateStack>(<usize>f.a0);
  const action = changetype<Action>(kernelAction);
  if (!usesTrap || !f.a0 || f.result || !(action.flags & SA_ONSTACK) || stack.flags & SS_DISABLE) return;
  const frame = auxiliary(AT_MINSIGSTKSZ);
  if (stack.size >= <usize>(frame ? frame : MOST_FRAME) + HANDLER_STACK) return;
  action.flags &= ~SA_ONSTACK;
  syscall6(SYS_RT_SIGACTION, SIGSYS, kernelAction, 0, SIGSET_SIZE, 0, 0);
}

/** The first thing in a new thread or process that was made with these clone flags. */
export function armChild(flags: u64): void {
  if (!usesTrap) return;
  if (flags & CLONE_CLEAR_SIGHAND) installHandler();
  const errno = -arm();
  if (errno) recordGap(GAP_NO_TRAP, errno, cstr("prctl(PR_SET_SYSCALL_USER_DISPATCH)"), 35);
}
