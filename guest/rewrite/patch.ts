/**
 * Writing into the program's text. At start-up, with one thread, the whole text is writable, and not executable, for the
 * moment: that costs 2 µs a page. Later /proc/self/mem writes to pages that stay read-only and executable (the kernel makes
 * a private copy of the page, as before): 3 µs. Without /proc a page is opened as the whole text is at start-up.
 *
 * Who runs this: the thread that has just mapped the code, before any thread can run it, or our start-up.
 */
import { sameBytes } from "../std/bytes";
import { cstr } from "../std/cstr";
import { fatal } from "../std/log";
import { syscall6 } from "../std/raw";
import {
  closeFile,
  EFAULT,
  failed,
  mapPages,
  O_CLOEXEC,
  O_RDWR,
  openFile,
  PROT_EXEC,
  PROT_READ,
  PROT_WRITE,
  SYS_ACCESS,
  SYS_MPROTECT,
  SYS_PWRITE64,
  unmapPages,
} from "../std/sys";

const PAGE_MASK: usize = ~(<usize>4095);

/** A descriptor for writeText; -errno where /proc/self/mem cannot be written (then the page's protection is changed). */
export function openText(): i64 {
  return openFile(cstr("/proc/self/mem"), O_RDWR | O_CLOEXEC);
}

export function closeText(text: i64): void {
  if (!failed(text)) closeFile(text);
}

/** What was there before a patch. */
// @ts-ignore: decorator
@unmanaged
class Undo {
  at: usize;
  /** At most 8 bytes. */
  bytes: u64;
  length: u64;
}

const MOST_UNDOS: u32 = 256;

/**
 * Patches are added in order of address, and written together as far as they lie in one page: a write costs more than the
 * page that it copies. All of them get written, or none.
 */
// @ts-ignore: decorator
@unmanaged
export class PatchBatch {
  /** From openText. */
  text: i64;
  /** Addresses that the bytes after this object will be written to; empty when both are 0. */
  start: usize;
  end: usize;
  undos: u32;
  /** Whether the text is writable (openRange). */
  open: u32;
  // Then the bytes: those of a page, and of a patch that reaches over its end; then MOST_UNDOS Undos.
}
const BYTES_SIZE: usize = 4096 + 16;
export const BATCH_SIZE: usize = offsetof<PatchBatch>() + BYTES_SIZE + <usize>MOST_UNDOS * offsetof<Undo>();

// @ts-ignore: decorator
@inline
function bytesOf(batch: PatchBatch): usize {
  return changetype<usize>(batch) + offsetof<PatchBatch>();
}

function undoAt(batch: PatchBatch, index: u32): Undo {
  return changetype<Undo>(bytesOf(batch) + BYTES_SIZE + <usize>index * offsetof<Undo>());
}

/**
 * Makes [start, end) writable until closeRange, if it can be made executable again: what is true for the trampoline (sled.ts)
 * is true for a modified file under all systems but SELinux.
 */
export function openRange(batch: PatchBatch, start: usize, end: usize): void {
  if (!mayBecomeExecutable()) return;
  batch.open = failed(protect(start, end - start, PROT_READ | PROT_WRITE)) ? 0 : 1;
}

/** 0 until it was tried. */
let verdict: u32 = 0;
const YES: u32 = 1;
const NO: u32 = 2;

/** Whether memory that was written may be executed: not under SELinux, PR_SET_MDWE, or a filter that forbids it. */
function mayBecomeExecutable(): bool {
  if (verdict) return verdict == YES;
  verdict = NO;
  if (syscall6(SYS_ACCESS, cstr("/sys/fs/selinux/enforce"), 0, 0, 0, 0, 0) == 0) return false;
  const page = mapPages(4096);
  if (failed(page)) return false;
  if (!failed(protect(<usize>page, 4096, PROT_READ | PROT_EXEC))) verdict = YES;
  unmapPages(<usize>page, 4096);
  return verdict == YES;
}

export function closeRange(batch: PatchBatch, start: usize, end: usize): void {
  if (batch.open) makeExecutable(start, end - start);
  batch.open = 0;
}

/** Adds a patch: the low `length` bytes of `bytes`, at most 8, go to `at`. */
export function addPatch(batch: PatchBatch, at: usize, bytes: u64, length: usize): void {
  if (batch.start && ((at & PAGE_MASK) != (batch.start & PAGE_MASK) || batch.undos == MOST_UNDOS)) flush(batch);
  if (!batch.start) batch.start = batch.end = at;
  const undo = undoAt(batch, batch.undos++);
  undo.at = at;
  undo.length = length;
  memory.copy(changetype<usize>(undo) + offsetof<Undo>("bytes"), at, length);
  const buffer = bytesOf(batch);
  memory.copy(buffer + (batch.end - batch.start), batch.end, at - batch.end);
  for (let i: usize = 0; i < length; i++) store<u8>(buffer + (at - batch.start) + i, <u8>(bytes >> (i << 3)));
  batch.end = at + length;
}

/** Writes what was added. Where that fails, everything is as it was before. */
export function flush(batch: PatchBatch): void {
  if (!batch.start) return;
  const length = batch.end - batch.start;
  if (batch.open) memory.copy(batch.start, bytesOf(batch), length);
  else if (!writeText(batch.text, batch.start, bytesOf(batch), length)) takeBack(batch);
  batch.start = batch.end = 0;
  batch.undos = 0;
}

/** A write that failed may have got some bytes there. */
function takeBack(batch: PatchBatch): void {
  for (let i: u32 = 0; i < batch.undos; i++) {
    const undo = undoAt(batch, i);
    const bytes = changetype<usize>(undo) + offsetof<Undo>("bytes");
    const length = <usize>undo.length;
    if (sameBytes(undo.at, bytes, length) || writeText(batch.text, undo.at, bytes, length)) continue;
    fatal(cstr("TEXT_WRITE"), cstr("code that was half rewritten cannot be restored"), <u64>EFAULT, cstr("none: run the program without zpoline"));
  }
}

/** Whether all bytes were written. False: none, or those before the one that could not be. */
function writeText(text: i64, to: usize, bytes: usize, length: usize): bool {
  return pokeText(text, to, bytes, length) || writeByProtection(to, bytes, length);
}

/**
 * Puts the low `length` bytes of `bytes` to `at`, in code that threads may be running, with one store of an aligned word: the
 * kernel copies eight bytes as one (memcpy in arch/x86/lib/memcpy_64.S). False: the word has not all of them, or cannot be
 * written.
 */
export function pokeWord(batch: PatchBatch, at: usize, bytes: u64, length: usize): bool {
  const word = at & ~(<usize>7);
  if (at - word + length > 8) return false;
  flush(batch);
  const shift = <u64>(at - word) << 3;
  const mask = ((<u64>1 << (<u64>length << 3)) - 1) << shift;
  const buffer = bytesOf(batch);
  store<u64>(buffer, (load<u64>(word) & ~mask) | (bytes << shift));
  return pokeText(batch.text, word, buffer, 8);
}

/** As writeText, through /proc/self/mem only. */
export function pokeText(text: i64, to: usize, bytes: usize, length: usize): bool {
  return !failed(text) && syscall6(SYS_PWRITE64, text, bytes, length, to, 0, 0) == <i64>length;
}

function writeByProtection(to: usize, bytes: usize, length: usize): bool {
  const page = to & PAGE_MASK;
  const size = ((to + length - 1) & PAGE_MASK) - page + 4096;
  // Where pages must not become executable (seccomp, SELinux), this fails already, and changes nothing.
  if (failed(protect(page, size, PROT_READ | PROT_EXEC))) return false;
  if (failed(protect(page, size, PROT_READ | PROT_WRITE))) return false;
  memory.copy(to, bytes, length);
  makeExecutable(page, size);
  return true;
}

function makeExecutable(address: usize, size: usize): void {
  const closed = protect(address, size, PROT_READ | PROT_EXEC);
  if (!failed(closed)) return;
  fatal(cstr("TEXT_WRITE"), cstr("rewritten code cannot be made executable again"), <u64>-closed, cstr("none: run the program without zpoline"));
}

function protect(address: usize, size: usize, protection: u64): i64 {
  return syscall6(SYS_MPROTECT, address, size, protection, 0, 0, 0);
}
