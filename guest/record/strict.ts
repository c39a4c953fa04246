/**
 * ZPOLINE_STRICT=1: a process ends at its first gap, before anything is missed where the gap is known so early.
 *
 * Who runs this: whoever has found the gap, any thread. In a session the reader says what happened and ends the others.
 */
import { RING_CLOSED, RING_H_CLOSED } from "../../src/image/layout";
import { gapWords } from "../audit/gaps";
import { STRICT, valueOf } from "../process/environment";
import { copyString } from "../std/bytes";
import { cstr } from "../std/cstr";
import { refuse } from "../std/log";
import { syscall6 } from "../std/raw";
import { SIG_BLOCK } from "../std/signals";
import { failed, mapPages, SYS_EXIT_GROUP, SYS_NANOSLEEP, SYS_RT_SIGPROCMASK } from "../std/sys";
import { ring } from "./ring";

const EXIT_FAILURE: u64 = 125;
/** The detail is a path, as a rule. */
const MOST_DETAIL: u32 = 4096;
const ROOM: usize = 8192;
const ONE: u8 = 0x31;

/** Whether this process ends at a gap. What outlives its session is nobody's trace any more. */
export function isStrict(): bool {
  const value = valueOf(STRICT);
  if (!value || load<u8>(value) != ONE || load<u8>(value, 1)) return false;
  return !ring || load<u32>(ring + RING_H_CLOSED) != RING_CLOSED;
}

/** Ends a strict process; the gap has been recorded. `length` bytes at `detail`. */
export function endAtGap(kind: u32, detail: usize, length: u32): void {
  if (!isStrict()) return;
  if (ring) waitForEnd();
  else sayGap(kind, detail, length);
  endProcess();
}

const set: StaticArray<u64> = [<u64>-1];
const pauseTime: StaticArray<i64> = [0, 1_000_000];
const MOST_PAUSES: u32 = 5000;

/**
 * The reader is about to kill this process together with all others: whoever waits for this one does not see it end and go
 * on. Not for ever, because the reader may be gone.
 */
function waitForEnd(): void {
  syscall6(SYS_RT_SIGPROCMASK, SIG_BLOCK, changetype<usize>(set), 0, 8, 0, 0);
  for (let i: u32 = 0; i < MOST_PAUSES; i++) syscall6(SYS_NANOSLEEP, changetype<usize>(pauseTime), 0, 0, 0, 0, 0);
}

/** Not by the program's own exit: nothing of it runs any more. */
export function endProcess(): void {
  syscall6(SYS_EXIT_GROUP, EXIT_FAILURE, 0, 0, 0, 0, 0);
}

function sayGap(kind: u32, detail: usize, length: u32): void {
  const pages = mapPages(ROOM);
  let cause = gapWords(kind);
  if (!failed(pages)) {
    cause = <usize>pages;
    let end = copyString(cause, gapWords(kind));
    if (length) end = copyString(end, cstr(": "));
    const shown = <usize>(length < MOST_DETAIL ? length : MOST_DETAIL);
    memory.copy(end, detail, shown);
  }
  const fix = cstr("unset ZPOLINE_STRICT to go on; docs/coverage.md tells what each gap means");
  refuse(cstr("STRICT"), cstr("the program was ended at a gap, as ZPOLINE_STRICT asks"), cause, fix);
}
