/**
 * A hooked call at a cancellation point of the C library (../rewrite/cancellation.ts tells which). Threads are cancelled
 * only while they are between a check of a flag and the `syscall` at the site. So that one makes the call, with the
 * program's registers and stack, and a hook that wants to know the result gets it from a changed return address.
 *
 * The caller's stack: return address, address of the flag (the function itself has put it there), eighth argument.
 */
import {
  CANCEL_IP,
  CANCEL_NR,
  CANCEL_RETURN,
  CANCEL_SP,
  CANCEL_TSC,
  FRAME_CANCEL,
  VERDICT_CALL_EXIT,
  VERDICT_HOOK,
  VERDICT_SKIP,
} from "../../src/image/layout";
import { Frame } from "../hook/frame";
import { EINTR, SYS_CLOSE } from "../std/sys";

// @ts-ignore: decorator
@external("symbol", "zp_cancel_return")
declare function zp_cancel_return(): usize;

const FLAG: usize = 8;
const SYSCALL_SIZE: usize = 2;
/** glibc: CANCELED_BITMASK (nptl/descr.h). */
const CANCELED_BIT: u32 = 8;

/**
 * Whether the thread was cancelled since it looked. Then the call is not made: with -EINTR the caller looks at the flag
 * again. (It does not for close, which must be made.)
 */
export function isCancelled(f: Frame): bool {
  const flag = load<u32>(load<usize>(f.sp + FLAG));
  return (flag == 1 || (flag & CANCELED_BIT) != 0) && <u32>f.nr != <u32>SYS_CLOSE;
}

/** After the enter hook has said `verdict`. A C hook makes the call by the `syscall` at the site, too (zp_next). */
export function atCancellationPoint(f: Frame, verdict: u32): u32 {
  if (verdict == VERDICT_HOOK) store<usize>(changetype<usize>(f), f.ip - SYSCALL_SIZE, FRAME_CANCEL);
  if (verdict > <u32>VERDICT_CALL_EXIT) return verdict;
  if (isCancelled(f)) {
    f.result = -EINTR;
    return VERDICT_SKIP;
  }
  if (verdict == VERDICT_CALL_EXIT) {
    store<u64>(f.sp + CANCEL_RETURN, load<u64>(f.sp));
    store<usize>(f.sp + CANCEL_SP, f.sp + 8);
    store<usize>(f.sp + CANCEL_IP, f.ip);
    store<u64>(f.sp + CANCEL_NR, f.nr);
    store<u64>(f.sp + CANCEL_TSC, f.tsc);
    store<usize>(f.sp, zp_cancel_return());
  }
  return verdict;
}

/** `f` is a new frame at the same stack pointer: it becomes the one that the call was made with, but for FRAME_COOKIE. */
export function afterCancellationPoint(f: Frame): void {
  store<u64>(f.sp, load<u64>(f.sp + CANCEL_RETURN));
  f.ip = load<usize>(f.sp + CANCEL_IP);
  f.nr = load<u64>(f.sp + CANCEL_NR);
  f.tsc = load<u64>(f.sp + CANCEL_TSC);
}
