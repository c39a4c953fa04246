/**
 * Writing into the program's text. /proc/self/mem writes to pages that stay read-only and executable (the kernel makes a
 * private copy of the page); without /proc the page is writable, and not executable, for the moment.
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

/** A descriptor for writeText; -errno where /proc/self/mem cannot be written (then the page's protection is changed). */
export function openText(): i64 {
  return openFile(cstr("/proc/self/mem"), O_RDWR | O_CLOEXEC);
}

export function closeText(text: i64): void {
  if (!failed(text)) closeFile(text);
}

/**
 * Replaces the two bytes of system call instructions by `call *%rax`. Sites are added in order of address, and written
 * together as far as they lie in one page: a write costs more than the page that it copies.
 */
// @ts-ignore: decorator
@unmanaged
export class PatchBatch {
  /** From openText. */
  text: i64;
  /** Addresses that the bytes after this object will be written to; empty when both are 0. */
  start: usize;
  end: usize;
  /** Sites added, written, and not written. */
  pending: u32;
  written: u32;
  failed: u32;
}
export const BATCH_SIZE: usize = offsetof<PatchBatch>() + 4096 + 8;

// @ts-ignore: decorator
@inline
function bytesOf(batch: PatchBatch): usize {
  return changetype<usize>(batch) + offsetof<PatchBatch>();
}

export function addSite(batch: PatchBatch, site: usize): void {
  if (batch.start && (site & PAGE_MASK) != (batch.start & PAGE_MASK)) flush(batch);
  if (!batch.start) batch.start = batch.end = site;
  const bytes = bytesOf(batch);
  memory.copy(bytes + (batch.end - batch.start), batch.end, site - batch.end);
  store<u16>(bytes + (site - batch.start), CALL_RAX);
  batch.end = site + 2;
  batch.pending++;
}

/** Writes what was added. Where that fails nothing is changed, and the sites count as failed. */
export function flush(batch: PatchBatch): void {
  if (!batch.start) return;
  const length = batch.end - batch.start;
  const done = writeText(batch.text, batch.start, bytesOf(batch), length) || writeByProtection(batch, length);
  if (done) batch.written += batch.pending;
  else batch.failed += batch.pending;
  batch.start = batch.end = 0;
  batch.pending = 0;
}

/** Whether all bytes were written through /proc/self/mem. */
export function writeText(text: i64, to: usize, bytes: usize, length: usize): bool {
  return !failed(text) && syscall6(SYS_PWRITE64, text, bytes, length, to, 0, 0) == <i64>length;
}

function writeByProtection(batch: PatchBatch, length: usize): bool {
  const page = batch.start & PAGE_MASK;
  const size = ((batch.end - 1) & PAGE_MASK) - page + 4096;
  if (failed(syscall6(SYS_MPROTECT, page, size, PROT_READ | PROT_WRITE, 0, 0, 0))) return false;
  memory.copy(batch.start, bytesOf(batch), length);
  syscall6(SYS_MPROTECT, page, size, PROT_READ | PROT_EXEC, 0, 0, 0);
  return true;
}
