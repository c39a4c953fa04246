/** The trap from our start-up on, and in new threads and processes. */
import { GAP_NO_TRAP, RING_H_ROOT, SIGSYS } from "../../src/image/layout";
import { libraryPath } from "../process/environment";
import { recordGap } from "../record/record";
import { ring } from "../record/ring";
import { usesTrap, withoutTrap } from "../rewrite/kinds";
import { cstr } from "../std/cstr";
import { refuse } from "../std/log";
import { syscall6 } from "../std/raw";
import { CLONE_CLEAR_SIGHAND, SYS_RT_SIGACTION, SYS_RT_SIGPROCMASK } from "../std/sys";
import { arm } from "./arm";

// @ts-ignore: decorator
@external("symbol", "zp_sigsys")
declare function zp_sigsys(): usize;
// @ts-ignore: decorator
@external("symbol", "zp_trap_return")
declare function zp_trap_return(): usize;

const SA_SIGINFO: u64 = 0x04;
const SA_RESTORER: u64 = 0x04000000;
const SA_ONSTACK: u64 = 0x08000000;
const SIG_UNBLOCK: u64 = 1;
const SIGSET_SIZE: u64 = 8;
const SIGSYS_BIT: u64 = 1 << (SIGSYS - 1);

/** struct kernel_sigaction (linux/signal.h): handler, flags, restorer, mask. Filled once, as any thread would fill it. */
const action: usize = memory.data(32, 8);
const onlySigsys: usize = memory.data<u64>([SIGSYS_BIT]);

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
  store<usize>(action, zp_sigsys());
  store<u64>(action, SA_SIGINFO | SA_RESTORER | SA_ONSTACK, 8);
  store<usize>(action, zp_trap_return(), 16);
  store<u64>(action, <u64>-1, 24);
  syscall6(SYS_RT_SIGACTION, SIGSYS, action, 0, SIGSET_SIZE, 0, 0);
  syscall6(SYS_RT_SIGPROCMASK, SIG_UNBLOCK, onlySigsys, 0, SIGSET_SIZE, 0, 0);
}

/** The first thing in a new thread or process that was made with these clone flags. */
export function armChild(flags: u64): void {
  if (!usesTrap) return;
  if (flags & CLONE_CLEAR_SIGHAND) installHandler();
  const errno = -arm();
  if (errno) recordGap(GAP_NO_TRAP, errno, cstr("prctl(PR_SET_SYSCALL_USER_DISPATCH)"), 35);
}
