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
 * a thread that was blocked anywhere else would stay blocked. So handlers see a hooked call as one that is made there
 * (../signal/presentation.ts), and a call from there looks once more at the flag, whose address the function itself has put
 * above its return address (zp_cancel_entry).
 */
import { Site } from "./sites";

/** Length of the instruction before the site, which makes room for a jump. */
export const CANCELLATION_MOVED: u8 = 5;
const BEFORE: usize = 10;
const AFTER: usize = 2;
/** From the first of the instructions above to the address after the `syscall`. */
export const CANCELLATION_SIZE: usize = BEFORE + AFTER;
const PAGE: usize = 4096;

export function isCancellationPoint(site: Site): bool {
  const at = site.address;
  // Read nothing outside of the text: it is as large as the function, or the page, at least.
  const offset = at & (PAGE - 1);
  if (offset < BEFORE && (!site.start || at - site.start < BEFORE)) return false;
  if (offset + AFTER >= PAGE && site.end <= at + AFTER) return false;
  return isCancellationCode(at - BEFORE);
}

/** Whether all of the instructions above stand at `start`, where CANCELLATION_SIZE + 1 bytes can be read. */
export function isCancellationCode(start: usize): bool {
  return (
    load<u32>(start) == 0x244c8b4c &&
    load<u64>(start, 4) == 0x050f_0824_5c89_4c10 &&
    load<u8>(start, CANCELLATION_SIZE) == 0xc3
  );
}
