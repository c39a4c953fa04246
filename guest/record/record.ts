/** The records of the ring: what happened, in the words of src/image/layout.ts. */
import {
  ABI_I386,
  CHILD_PPID,
  CHILD_PTID,
  ENTER_ABI,
  ENTER_ARGS,
  ENTER_IP,
  ENTER_NR,
  ENTER_PAYLOADS,
  EXIT_ENTER_TSC,
  EXIT_NR,
  EXIT_PAYLOADS,
  EXIT_RESULT,
  GAP_KIND,
  GAP_PAYLOADS,
  GAP_VALUE,
  PAYLOAD_HEADER,
  RING_ROW_SIZE,
  RING_ROWS,
  RING_TABLE,
  ROW_ENTER,
  ROW_EXIT,
  ROW_RECORD,
  START_BEGIN_TSC,
  START_LEFT,
  START_PATCHED,
  START_PATCHES,
  START_PAYLOADS,
  START_PID,
  START_PPID,
  START_TIME,
  STRING_MAX,
  TYPE_CHILD,
  TYPE_ENTER,
  TYPE_EXIT,
  TYPE_GAP,
  TYPE_START,
} from "../../src/image/layout";
import { argument, Frame } from "../hook/frame";
import { auditEvent } from "../audit/event";
import { gapName } from "../audit/gaps";
import { currentPid } from "../process/thread";
import { patchesInUse } from "../rewrite/kinds";
import { stringLength } from "../std/bytes";
import { rdtsc, syscall6 } from "../std/raw";
import { failed, SYS_GETPPID } from "../std/sys";
import { copyAll, planAll, writeString } from "./capture";
import { endAtGap } from "./strict";
import { commit, realTime, reserve, ring, stamp, releaseIfScarce } from "./ring";

const NO_ROW: StaticArray<u64> = [0, 0, 0, 0];

/** Row of the recording table; numbers without one are recorded with raw arguments. */
// @ts-ignore: decorator
@inline
function rowOf(nr: u32): usize {
  return nr < <u32>RING_ROWS ? ring + RING_TABLE + <usize>nr * RING_ROW_SIZE : changetype<usize>(NO_ROW);
}

/** Whether the session asks for this number. The last row, of a number that is no system call, speaks for all beyond. */
export function recorded(nr: u32): bool {
  const row = nr < <u32>RING_ROWS ? nr : <u32>RING_ROWS - 1;
  return (load<u16>(rowOf(row)) & ROW_RECORD) != 0;
}

// @ts-ignore: decorator
@inline
function hasCaptures(captures: usize): bool {
  return (load<u64>(captures) | load<u32>(captures, 8)) != 0;
}

export function recordEnter(f: Frame): void {
  const nr = <u32>f.nr;
  const captures = rowOf(nr) + ROW_ENTER;
  const payloads: u32 = hasCaptures(captures) ? planAll(f, captures) : 0;
  const tsc = rdtsc();
  f.tsc = tsc;
  const record = reserve(ENTER_PAYLOADS + payloads);
  if (!record) return;
  stamp(record, tsc);
  store<u32>(record, nr, ENTER_NR);
  store<u64>(record, f.ip, ENTER_IP);
  store<u64>(record, f.a0, ENTER_ARGS);
  store<u64>(record, f.a1, ENTER_ARGS + 8);
  store<u64>(record, f.a2, ENTER_ARGS + 16);
  store<u64>(record, f.a3, ENTER_ARGS + 24);
  store<u64>(record, f.a4, ENTER_ARGS + 32);
  store<u64>(record, f.a5, ENTER_ARGS + 40);
  if (payloads) copyAll(f, captures, record + ENTER_PAYLOADS);
  commit(record, TYPE_ENTER);
  releaseIfScarce();
}

export function recordExit(f: Frame): void {
  const nr = <u32>f.nr;
  const captures = rowOf(nr) + ROW_EXIT;
  const payloads: u32 = hasCaptures(captures) && !failed(<i64>f.result) ? planAll(f, captures) : 0;
  const record = reserve(EXIT_PAYLOADS + payloads);
  if (!record) return;
  stamp(record, rdtsc());
  store<u32>(record, nr, EXIT_NR);
  store<u64>(record, f.tsc, EXIT_ENTER_TSC);
  store<u64>(record, f.result, EXIT_RESULT);
  if (payloads) copyAll(f, captures, record + EXIT_PAYLOADS);
  commit(record, TYPE_EXIT);
}

/** A call by `int $0x80`: `f.nr` and the arguments are those of the 32-bit table, of which the low halves count. */
export function recordInt80(f: Frame): void {
  const tsc = rdtsc();
  f.tsc = tsc;
  const record = reserve(ENTER_PAYLOADS);
  if (!record) return;
  stamp(record, tsc);
  store<u32>(record, <u32>f.nr, ENTER_NR);
  store<u32>(record, ABI_I386, ENTER_ABI);
  store<u64>(record, f.ip, ENTER_IP);
  for (let i: u32 = 0; i < 6; i++) store<u64>(record + (<usize>i << 3), <u64>(<u32>argument(f, i)), ENTER_ARGS);
  commit(record, TYPE_ENTER);
  releaseIfScarce();
}

export function recordInt80Exit(f: Frame): void {
  const record = reserve(EXIT_PAYLOADS);
  if (!record) return;
  stamp(record, rdtsc());
  store<u32>(record, <u32>f.nr, EXIT_NR);
  store<u64>(record, f.tsc, EXIT_ENTER_TSC);
  store<u64>(record, f.result, EXIT_RESULT);
  commit(record, TYPE_EXIT);
}

// @ts-ignore: decorator
@inline
function stringRecordSize(payloads: u32, length: u32): u32 {
  return payloads + PAYLOAD_HEADER + ((length + 7) & ~7);
}

/** A program image starts: `path` (not NUL-terminated) is its executable, `executed` (with a NUL) what execve was given. */
export function recordStart(path: usize, length: u32, executed: usize, beginTsc: u64, patched: u32, left: u32): void {
  const given = executed ? stringLength(executed) : 0;
  const executedLength = given < <usize>STRING_MAX ? <u32>given : 0;
  const second = stringRecordSize(START_PAYLOADS, length);
  const record = reserve(stringRecordSize(second, executedLength));
  if (!record) return;
  store<u32>(record, currentPid(), START_PID);
  store<u32>(record, <u32>syscall6(SYS_GETPPID, 0, 0, 0, 0, 0, 0), START_PPID);
  store<u64>(record, realTime(), START_TIME);
  stamp(record, rdtsc());
  store<u64>(record, beginTsc, START_BEGIN_TSC);
  store<u32>(record, patched, START_PATCHED);
  store<u32>(record, left, START_LEFT);
  store<u32>(record, patchesInUse(), START_PATCHES);
  writeString(record + START_PAYLOADS, 0, path, length);
  writeString(record + second, 1, executed, executedLength);
  commit(record, TYPE_START);
}

/** Something is not seen: what it is about are `length` bytes at `detail`. Does not return in a strict process. */
export function recordGap(kind: u32, value: u64, detail: usize, length: u32): void {
  auditEvent(gapName(kind), value, detail, length);
  if (ring) writeGap(kind, value, detail, length);
  endAtGap(kind, detail, length);
}

function writeGap(kind: u32, value: u64, detail: usize, length: u32): void {
  const record = reserve(stringRecordSize(GAP_PAYLOADS, length));
  if (!record) return;
  stamp(record, rdtsc());
  store<u32>(record, kind, GAP_KIND);
  store<u64>(record, value, GAP_VALUE);
  writeString(record + GAP_PAYLOADS, 0, detail, length);
  commit(record, TYPE_GAP);
}

/** First record of a new process or thread. */
export function recordChild(parentPid: u32, parentTid: u32): void {
  const record = reserve(24);
  if (!record) return;
  stamp(record, rdtsc());
  store<u32>(record, parentPid, CHILD_PPID);
  store<u32>(record, parentTid, CHILD_PTID);
  commit(record, TYPE_CHILD);
}
