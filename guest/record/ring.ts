/**
 * The writer's side of the session's ring file (layout and rules: src/image/layout.ts).
 *
 * Who runs this: any thread of the program, also in a signal handler that interrupted this very code. So a record is
 * reserved by one instruction on the thread's cursor, nothing is locked, and the commit word is written last. A handler
 * that jumps out leaves a record without a commit, which the reader skips.
 */
import {
  CHUNK_PID,
  CHUNK_SEQ,
  CHUNK_STATE,
  CHUNK_TID,
  CHUNK_TIME,
  CHUNK_TSC,
  RECORD_MAGIC,
  RECORD_SIZE,
  RECORD_TSC,
  RECORD_TYPE,
  RING_CHUNK_ENTRY,
  RING_CHUNK_SIZE,
  RING_CHUNK_TABLE,
  RING_CHUNKS,
  RING_ENDED,
  RING_H_BEAT,
  RING_H_CHUNK_COUNT,
  RING_H_CLOSED,
  RING_H_LOST,
  RING_H_MAGIC,
  RING_H_WAITS,
  RING_MAGIC,
  RING_MAX_CHUNKS,
  STATE_FREE,
  STATE_FULL,
  STATE_OWNED,
  THREAD_CURSOR,
} from "../../src/image/layout";
import { CURSOR_NONE, currentThread } from "../process/thread";
import { endProcess, isStrict } from "./strict";
import { own } from "../process/own";
import { gsLoad64, gsXadd64, gsXchg64, rdtsc, syscall6 } from "../std/raw";
import {
  CLOCK_REALTIME,
  closeFile,
  failed,
  MAP_SHARED,
  O_CLOEXEC,
  O_RDWR,
  openFile,
  PROT_READ,
  PROT_WRITE,
  SYS_CLOCK_GETTIME,
  SYS_MMAP,
  SYS_NANOSLEEP,
  Timespec,
} from "../std/sys";

const RING_BYTES: usize = RING_CHUNKS + RING_MAX_CHUNKS * RING_CHUNK_SIZE;
const NO_CHUNK: u32 = 0xffffffff;
/** Waiting for room: 0.2 ms at a time, given up after 5000 tries (1 s) in which the reader did not move. */
const WAIT_NANOSECONDS: i64 = 200_000;
const WAIT_TRIES: u32 = 5000;
/** From this chunk on, few are left. */
const SCARCE: u32 = (RING_MAX_CHUNKS / 4) * 3;

/** Address of the mapped ring file; 0 when this process does not record. */
export let ring: usize = 0;
/** Few chunks have been left at some time: from then on no thread of this process keeps one during a call. */
let scarce: bool = false;
const chunkCounter: StaticArray<u32> = [0];
/**
 * Threads that wait, and how long (struct timespec) where they are at least 1, 2, 4, …: all of them together leave the
 * processor to the reader.
 */
const waitingWord: StaticArray<u32> = [0];
/** As many as 2 to this power do not hinder it yet. */
const FEW: u32 = 4;
const LONGEST: u32 = 8;
const pauseTimes: StaticArray<i64> = [
  0, WAIT_NANOSECONDS, 0, WAIT_NANOSECONDS * 2, 0, WAIT_NANOSECONDS * 4, 0, WAIT_NANOSECONDS * 8,
  0, WAIT_NANOSECONDS * 16, 0, WAIT_NANOSECONDS * 32, 0, WAIT_NANOSECONDS * 64, 0, WAIT_NANOSECONDS * 128,
  0, WAIT_NANOSECONDS * 256,
];

/** Maps the ring file; false when it cannot be, or is no ring. */
export function attachRing(path: usize): bool {
  const fd = openFile(path, O_RDWR | O_CLOEXEC);
  if (failed(fd)) return false;
  const address = syscall6(SYS_MMAP, 0, RING_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  closeFile(fd);
  if (failed(address) || load<u32>(<usize>address + RING_H_MAGIC) != RING_MAGIC) return false;
  own(<usize>address, RING_BYTES);
  ring = <usize>address;
  return true;
}

// @ts-ignore: decorator
@inline
function entryOf(chunk: u32): usize {
  return ring + RING_CHUNK_TABLE + <usize>chunk * RING_CHUNK_ENTRY;
}

/**
 * Reserves a zeroed record and writes its size. 0 when there is no room: the loss has been counted.
 * `size` is a multiple of 8, at most RECORD_MAX.
 */
// @ts-ignore: decorator
@inline
export function reserve(size: u32): usize {
  const cursor = gsXadd64(THREAD_CURSOR, size);
  const offset = <u32>cursor;
  if (offset + size <= <u32>RING_CHUNK_SIZE) {
    const record = ring + RING_CHUNKS + <usize>(cursor >> 32) * RING_CHUNK_SIZE + offset;
    store<u32>(record, size, RECORD_SIZE);
    return record;
  }
  return reserveInNewChunk(size);
}

/** Makes the record visible to the reader. Everything else in it has been written. */
// @ts-ignore: decorator
@inline
export function commit(record: usize, type: u32): void {
  store<u32>(record, type | (RECORD_MAGIC << 16), RECORD_TYPE);
}

// @ts-ignore: decorator
@inline
export function stamp(record: usize, tsc: u64): void {
  store<u64>(record, tsc, RECORD_TSC);
}

function reserveInNewChunk(size: u32): usize {
  while (true) {
    const chunk = takeChunk();
    if (chunk == NO_CHUNK) {
      gsXchg64(THREAD_CURSOR, CURSOR_NONE);
      atomic.add<u64>(ring + RING_H_LOST, 1);
      if (isStrict()) endProcess();
      return 0;
    }
    closeChunk(gsXchg64(THREAD_CURSOR, <u64>chunk << 32));
    const cursor = gsXadd64(THREAD_CURSOR, size);
    // A handler may have filled the new chunk in between.
    if (<u32>cursor + size > <u32>RING_CHUNK_SIZE) continue;
    const record = ring + RING_CHUNKS + <usize>(cursor >> 32) * RING_CHUNK_SIZE + <u32>cursor;
    store<u32>(record, size, RECORD_SIZE);
    return record;
  }
}

/** Gives the thread's chunk back: at exit, and before a fork, so that two processes never write into one chunk. */
export function releaseChunk(): void {
  if (ring) closeChunk(gsXchg64(THREAD_CURSOR, CURSOR_NONE));
}

/**
 * At the end of recording that a call begins: the call may last, and thousands of threads may be in one. A chunk in
 * which a record is still in the making, by code that this signal handler has interrupted, is kept.
 */
// @ts-ignore: decorator
@inline
export function releaseIfScarce(): void {
  if (scarce) releaseWhole();
}

function releaseWhole(): void {
  const cursor = gsLoad64(THREAD_CURSOR);
  const chunk = <u32>(cursor >> 32);
  if (chunk == NO_CHUNK) return;
  const start = ring + RING_CHUNKS + <usize>chunk * RING_CHUNK_SIZE;
  const end = start + <u32>cursor;
  for (let record = start; record < end; record += load<u32>(record, RECORD_SIZE)) {
    if (!load<u32>(record, RECORD_SIZE) || !load<u32>(record, RECORD_TYPE)) return;
  }
  releaseChunk();
}

/** In the child of a fork: the chunk that the copied block names, and the threads that wait for one, are the parent's. */
export function forgetChunk(): void {
  store<u32>(changetype<usize>(waitingWord), 0);
  gsXchg64(THREAD_CURSOR, CURSOR_NONE);
}

function closeChunk(cursor: u64): void {
  const chunk = <u32>(cursor >> 32);
  if (chunk != NO_CHUNK) atomic.store<u32>(entryOf(chunk) + CHUNK_STATE, STATE_FULL);
}

function takeChunk(): u32 {
  let beat = load<u64>(ring + RING_H_BEAT);
  let tries: u32 = 0;
  while (true) {
    if (load<u32>(ring + RING_H_CLOSED) == RING_ENDED) endProcess();
    const count = atomic.load<u32>(ring + RING_H_CHUNK_COUNT);
    let full = false;
    for (let i: u32 = 0; i < count; i++) {
      const entry = entryOf(i);
      const state = load<u32>(entry + CHUNK_STATE);
      if (state == STATE_FULL) full = true;
      if (state != STATE_FREE) continue;
      if (atomic.cmpxchg<u32>(entry + CHUNK_STATE, STATE_FREE, STATE_OWNED) == STATE_FREE) {
        if (i >= SCARCE) scarce = true;
        prepareChunk(i, entry);
        return i;
      }
    }
    if (load<u32>(ring + RING_H_CLOSED)) return NO_CHUNK;
    if (!tries) atomic.add<u64>(ring + RING_H_WAITS, 1);
    const steps = pause();
    const now = atomic.load<u64>(ring + RING_H_BEAT);
    // Where all belong to threads, and there come no more, the reader has nothing to give back.
    const hope = now != beat && (full || load<u32>(ring + RING_H_CHUNK_COUNT) != count);
    tries = hope ? 1 : tries + steps;
    beat = now;
    if (tries > WAIT_TRIES) return NO_CHUNK;
  }
}

/** Sleeps WAIT_NANOSECONDS times the number that it returns. */
function pause(): u32 {
  const others = atomic.add<u32>(changetype<usize>(waitingWord), 1);
  const wide: u32 = 31 - <u32>clz<u32>(others + 1);
  const step = wide < FEW ? 0 : wide - FEW < LONGEST / 2 ? (wide - FEW + 1) * 2 : LONGEST;
  syscall6(SYS_NANOSLEEP, changetype<usize>(pauseTimes) + <usize>step * 16, 0, 0, 0, 0, 0);
  atomic.sub<u32>(changetype<usize>(waitingWord), 1);
  return (<u32>1) << step;
}

/** The time stamp is written last: an entry without it is not ready for the reader. */
function prepareChunk(chunk: u32, entry: usize): void {
  const thread = currentThread();
  memory.fill(ring + RING_CHUNKS + <usize>chunk * RING_CHUNK_SIZE, 0, RING_CHUNK_SIZE);
  store<u32>(entry + CHUNK_TID, thread.tid);
  store<u32>(entry + CHUNK_PID, thread.pid);
  store<u32>(entry + CHUNK_SEQ, atomic.add<u32>(changetype<usize>(chunkCounter), 1));
  store<u64>(entry + CHUNK_TIME, realTime());
  store<u64>(entry + CHUNK_TSC, rdtsc());
}

const clock: StaticArray<i64> = [0, 0];

/** CLOCK_REALTIME in nanoseconds. Threads may race on the buffer; both then read times of the same moment. */
export function realTime(): u64 {
  const time = changetype<Timespec>(changetype<usize>(clock));
  syscall6(SYS_CLOCK_GETTIME, CLOCK_REALTIME, changetype<usize>(clock), 0, 0, 0, 0);
  return <u64>(time.seconds * 1_000_000_000 + time.nanoseconds);
}
