/**
 * Syscall User Dispatch of the program's own (Documentation/admin-guide/syscall-user-dispatch.rst): calls from outside of
 * a range of addresses become SIGSYS. Hooked calls are all made from our text, so no range means what it says.
 */
import { Frame } from "../hook/frame";
import { usesTrap } from "../rewrite/kinds";
import { EINVAL } from "../std/sys";
import { PR_SET_SYSCALL_USER_DISPATCH, PR_SYS_DISPATCH_OFF } from "../trap/arm";

/**
 * Whether a prctl has been refused here, as kernels before 5.11 do: one with a range is, and any where the kernel's own is in
 * use by ourselves (../trap).
 */
export function refuseRange(f: Frame): bool {
  if (<u32>f.a0 != PR_SET_SYSCALL_USER_DISPATCH) return false;
  if (!usesTrap && (f.a1 == PR_SYS_DISPATCH_OFF || !f.a3)) return false;
  f.result = -EINVAL;
  return true;
}
