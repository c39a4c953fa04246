/**
 * Reading the program's memory without crashing on a bad pointer: a page is asked for once with a harmless system call,
 * and remembered until the program changes its mappings.
 *
 * Who runs this: any thread, before the kernel has looked at the pointer. A page that another thread unmaps between the
 * question and the read is the program's own race.
 */
import { currentThread, forgetPages, knownPageSlot } from "../process/thread";
import { hasZeroByte } from "../std/bytes";
import { syscall6 } from "../std/raw";
import { EFAULT, SYS_RT_SIGPROCMASK } from "../std/sys";

const PAGE_MASK: usize = ~(<usize>4095);
const USER_END: usize = 0x0000_7fff_ffff_f000;

/** Counts changes of the program's mappings (munmap, mprotect, …). */
const epochWord: StaticArray<u64> = [1];

export function mappingsChanged(): void {
  atomic.add<u64>(changetype<usize>(epochWord), 1);
}

/**
 * rt_sigprocmask copies 8 bytes from `set` before it looks at `how`: with a `how` that does not exist it answers EFAULT
 * or EINVAL and changes nothing (kernel/signal.c).
 */
function askPage(page: usize): bool {
  return syscall6(SYS_RT_SIGPROCMASK, <u64>-1, page, 0, 8, 0, 0) != -EFAULT;
}

function pageReadable(page: usize): bool {
  const thread = currentThread();
  const epoch = load<u64>(changetype<usize>(epochWord));
  if (thread.pagesEpoch != epoch) {
    forgetPages(thread);
    thread.pagesEpoch = epoch;
  }
  const slot = knownPageSlot(thread, page);
  if (load<u64>(slot) == page) return true;
  if (!askPage(page)) return false;
  store<u64>(slot, page);
  return true;
}

/** Whether `length` bytes at `address` can be read now. */
export function readable(address: usize, length: usize): bool {
  if (address < 4096 || address >= USER_END || length > USER_END - address) return false;
  const end = address + length;
  for (let page = address & PAGE_MASK; page < end; page += 4096) {
    if (!pageReadable(page)) return false;
  }
  return true;
}

/** How many of the `length` bytes at `address` can be read. */
export function readablePrefix(address: usize, length: usize): usize {
  if (address < 4096 || address >= USER_END) return 0;
  if (length > USER_END - address) length = USER_END - address;
  const end = address + length;
  for (let page = address & PAGE_MASK; page < end; page += 4096) {
    if (!pageReadable(page)) return page > address ? page - address : 0;
  }
  return length;
}

export const NOT_READABLE: usize = <usize>-1;

/** Bytes before the NUL of the string at `address`, at most `most`; NOT_READABLE when it runs into unmapped memory. */
export function safeStringLength(address: usize, most: usize): usize {
  if (address < 4096 || address >= USER_END) return NOT_READABLE;
  let p = address;
  const stop = address + most;
  while (p < stop) {
    if (!pageReadable(p & PAGE_MASK)) return NOT_READABLE;
    let end = (p & PAGE_MASK) + 4096;
    if (end > stop) end = stop;
    while (p + 8 <= end && !hasZeroByte(load<u64>(p))) p += 8;
    for (; p < end; p++) {
      if (!load<u8>(p)) return p - address;
    }
  }
  return most;
}
