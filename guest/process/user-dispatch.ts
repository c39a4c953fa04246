/**
 * Syscall User Dispatch of the program's own (Documentation/admin-guide/syscall-user-dispatch.rst): calls from outside of
 * a range of addresses become SIGSYS. Hooked calls are all made from our text, so no range means what it says.
 */
import { Frame } from "../hook/frame";
import { EINVAL } from "../std/sys";

const PR_SET_SYSCALL_USER_DISPATCH: u32 = 59;
const PR_SYS_DISPATCH_OFF: u64 = 0;

/** Whether a prctl has been refused here: one with a range is, as kernels before 5.11 do. */
export function refuseRange(f: Frame): bool {
  if (<u32>f.a0 != PR_SET_SYSCALL_USER_DISPATCH || f.a1 == PR_SYS_DISPATCH_OFF || !f.a3) return false;
  f.result = -EINVAL;
  return true;
}
