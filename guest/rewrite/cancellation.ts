/**
 * The system call of cancellation points: read, nanosleep and all others that pthread_cancel can end. In musl
 * (src/thread/x86_64/syscall_cp.s), and in glibc since 2.41 (sysdeps/unix/sysv/linux/x86_64/syscall_cancel.S), one function
 * makes them all. It ends with:
 *
 *     4c 8b 4c 24 10   mov 16(%rsp), %r9
 *     4c 89 5c 24 08   mov %r11, 8(%rsp)
 *     0f 05            syscall
 *     c3               ret
 *
 * The handler of pthread_cancel looks whether the interrupted instruction is one of this function, up to its `syscall`:
 * a thread that was blocked anywhere else would stay blocked. See ../process/cancel.ts.
 */
import { Site } from "./sites";

/** Length of the instruction before the site, which makes room for a jump. */
export const CANCELLATION_MOVED: u8 = 5;
const BEFORE: usize = 10;
const AFTER: usize = 2;
const PAGE: usize = 4096;

export function isCancellationPoint(site: Site): bool {
  const at = site.address;
  // Read nothing outside of the text: it is as large as the function, or the page, at least.
  const offset = at & (PAGE - 1);
  if (offset < BEFORE && (!site.start || at - site.start < BEFORE)) return false;
  if (offset + AFTER >= PAGE && site.end <= at + AFTER) return false;
  return (
    load<u32>(at - BEFORE) == 0x244c8b4c && load<u64>(at - 6) == 0x050f_0824_5c89_4c10 && load<u8>(at + AFTER) == 0xc3
  );
}
