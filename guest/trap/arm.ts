/**
 * Syscall User Dispatch (Documentation/admin-guide/syscall-user-dispatch.rst): the kernel makes a SIGSYS of each system call
 * of a thread whose instruction lies outside of one range of addresses, our text. There is no selector byte: nothing that
 * the program could write to switches it off.
 *
 * It is a thread's own, and neither fork nor clone nor exec hands it on: each new thread and process arms itself before
 * anything of the program runs in it (process/clone.ts), each new image in its start-up.
 */
import { syscall6 } from "../std/raw";
import { failed, SYS_PRCTL } from "../std/sys";

// @ts-ignore: decorator
@external("symbol", "__text_start")
declare function textStart(): usize;
// @ts-ignore: decorator
@external("symbol", "__text_end")
declare function textEnd(): usize;

export const PR_SET_SYSCALL_USER_DISPATCH: u32 = 59;
export const PR_SYS_DISPATCH_OFF: u64 = 0;
const PR_SYS_DISPATCH_ON: u64 = 1;

/** Whether the kernel has it (Linux 5.11 on x86-64). The calling thread is not armed yet, and is not afterwards. */
export function canTrap(): bool {
  return !failed(syscall6(SYS_PRCTL, PR_SET_SYSCALL_USER_DISPATCH, PR_SYS_DISPATCH_OFF, 0, 0, 0, 0));
}

/** Arms the calling thread; answers 0, or -errno. */
export function arm(): i64 {
  const length = textEnd() - textStart();
  return syscall6(SYS_PRCTL, PR_SET_SYSCALL_USER_DISPATCH, PR_SYS_DISPATCH_ON, textStart(), length, 0, 0);
}
