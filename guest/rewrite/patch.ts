/**
 * Writing into the program's text. /proc/self/mem writes to pages that stay read-only and executable (the kernel makes a
 * private copy of the page); without /proc the page is writable for the moment, and not executable by anyone else yet.
 *
 * Who runs this: the thread that has just mapped the code, before any thread can run it, or our start-up.
 */
import { syscall6 } from "../std/raw";
import {
  closeFile,
  failed,
  O_CLOEXEC,
  O_RDWR,
  openFile,
  PROT_EXEC,
  PROT_READ,
  PROT_WRITE,
  SYS_MPROTECT,
  SYS_PWRITE64,
} from "../std/sys";
import { cstr } from "../std/cstr";

const PAGE_MASK: usize = ~(<usize>4095);
/** `call *%rax` */
const CALL_RAX: u16 = 0xd0ff;
const patchBytes: StaticArray<u16> = [0xd0ff];

/** A descriptor for writeSite; -errno where /proc/self/mem cannot be written (then the page's protection is changed). */
export function openText(): i64 {
  return openFile(cstr("/proc/self/mem"), O_RDWR | O_CLOEXEC);
}

export function closeText(text: i64): void {
  if (!failed(text)) closeFile(text);
}

/** Replaces the two bytes of a system call instruction by `call *%rax`. False when it could not be done: nothing changed. */
export function patchSite(text: i64, site: usize): bool {
  if (!failed(text) && syscall6(SYS_PWRITE64, text, changetype<usize>(patchBytes), 2, site, 0, 0) == 2) return true;
  return patchByProtection(site);
}

function patchByProtection(site: usize): bool {
  const page = site & PAGE_MASK;
  const size = ((site + 1) & PAGE_MASK) - page + 4096;
  if (failed(syscall6(SYS_MPROTECT, page, size, PROT_READ | PROT_WRITE | PROT_EXEC, 0, 0, 0))) return false;
  store<u16>(site, CALL_RAX);
  syscall6(SYS_MPROTECT, page, size, PROT_READ | PROT_EXEC, 0, 0, 0);
  return true;
}
