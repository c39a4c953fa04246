/**
 * Calls that can make code appear without asking for PROT_EXEC, or take patches away: looked at after they were made.
 */
import { Frame } from "../hook/frame";
import { mappedExecutable, reportJit } from "../rewrite/rewrite";
import { touchesText } from "../rewrite/texts";
import { cstr } from "../std/cstr";

const SHM_EXEC: u64 = 0o100000;
/** The mapping's size is known to the kernel alone: one page finds it. */
const PAGE: usize = 4096;
/** sys/personality.h: whatever can be read can be executed. */
const READ_IMPLIES_EXEC: u32 = 0x0400000;
const ASK: u32 = 0xffffffff;

// Advice by which private pages are dropped, so that the file shows again (madvise(2)).
const MADV_DONTNEED: u32 = 4;
const MADV_DONTNEED_LOCKED: u32 = 24;
const MADV_GUARD_INSTALL: u32 = 102;

export function attached(f: Frame): void {
  if (f.a2 & SHM_EXEC) mappedExecutable(<usize>f.result, PAGE, false);
}

export function advised(f: Frame): void {
  const advice = <u32>f.a2;
  if (advice != MADV_DONTNEED && advice != MADV_DONTNEED_LOCKED && advice != MADV_GUARD_INSTALL) return;
  const start = <usize>f.a0;
  const length = <usize>f.a1;
  if (touchesText(start, start + length)) mappedExecutable(start, length, false);
}

/** Text that grows shows more of its file. */
export function remapped(f: Frame): void {
  if (touchesText(<usize>f.a0, <usize>(f.a0 + f.a1))) mappedExecutable(<usize>f.result, <usize>f.a2, false);
}

export function changedPersonality(f: Frame): void {
  const personality = <u32>f.a0;
  if (personality == ASK || !(personality & READ_IMPLIES_EXEC)) return;
  reportJit(0, cstr("all memory becomes executable (READ_IMPLIES_EXEC)"), 49);
}
