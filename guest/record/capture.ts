/**
 * What is copied of an argument: first `planned` says how many payload bytes it takes, then, in a record of that size,
 * `copyPayload` writes exactly that many. The program may change the bytes in between; never more than planned is written.
 */
import {
  CAPTURE_ARRAY,
  CAPTURE_BITS,
  CAPTURE_BUFFER,
  CAPTURE_COUNT,
  CAPTURE_CSTRING,
  CAPTURE_ENTRIES,
  CAPTURE_IOVEC,
  CAPTURE_LENGTH_AT,
  CAPTURE_MSGHDR,
  CAPTURE_NONE,
  CAPTURE_RESULT,
  CAPTURE_RESULT_ARRAY,
  CAPTURE_STRINGS,
  CAPTURE_STRUCT,
  PAYLOAD_FAULT,
  PAYLOAD_HEADER,
  RING_H_DATA_LIMIT,
  STRING_MAX,
} from "../../src/image/layout";
import { Frame } from "../hook/frame";
import { argument } from "../hook/frame";
import { least } from "../std/bytes";
import { NOT_READABLE, readable, readablePrefix, safeStringLength } from "./memory";
import { ring } from "./ring";
import { copyMessage, copyVectors, messageBytes, vectorBytes } from "./vectors";

/** A plan is the payload's bytes without header and padding; this bit means that the pointer cannot be read. */
const PLAN_FAULT: u32 = 0x80000000;
const MOST_STRINGS: u32 = 65536;

// @ts-ignore: decorator
@inline
function dataLimit(): u64 {
  return load<u32>(ring + RING_H_DATA_LIMIT);
}

/** Bytes to copy for a capture of a flat region, or -1 for the kinds that are not flat. `full` is what there is. */
function fullLength(f: Frame, capture: u32, index: u32): u64 {
  const kind = capture & 15;
  const param = capture >> 4;
  if (kind == CAPTURE_BUFFER) return argument(f, param);
  if (kind == CAPTURE_RESULT) return f.result;
  if (kind == CAPTURE_STRUCT) return param;
  if (kind == CAPTURE_LENGTH_AT) {
    const at = argument(f, param);
    return readable(at, 4) ? load<u32>(at) : 0;
  }
  if (kind == CAPTURE_BITS) return ((<u64>(<u32>argument(f, param)) + 63) >> 6) << 3;
  if (kind == CAPTURE_ARRAY) return least(argument(f, param & 7), 0xffffffff) * (param >> 3);
  if (kind == CAPTURE_RESULT_ARRAY) return f.result * param;
  return <u64>-1;
}

function flatLimit(kind: u32): u64 {
  if (kind == CAPTURE_STRUCT) return 4096;
  if (kind == CAPTURE_LENGTH_AT || kind == CAPTURE_BITS) return 128;
  if (kind == CAPTURE_ARRAY || kind == CAPTURE_RESULT_ARRAY) return least(dataLimit() * 8, 2048);
  return least(dataLimit(), 4096);
}

/** Payload bytes for argument `index`, or PLAN_FAULT. Not called for CAPTURE_NONE. */
function plan(f: Frame, capture: u32, index: u32): u32 {
  const address = <usize>argument(f, index);
  const kind = capture & 15;
  if (kind == CAPTURE_CSTRING) {
    const length = safeStringLength(address, STRING_MAX);
    return length == NOT_READABLE ? PLAN_FAULT : <u32>length;
  }
  if (kind == CAPTURE_STRINGS) return planStrings(address);
  if (kind == CAPTURE_COUNT) return readable(address, 8) ? 0 : PLAN_FAULT;
  if (kind == CAPTURE_ENTRIES) return 0; // the kernel has just written there
  if (kind == CAPTURE_IOVEC) return vectorBytes(address, argument(f, capture >> 4), dataLimit());
  if (kind == CAPTURE_MSGHDR) return messageBytes(address, dataLimit());
  const length = least(fullLength(f, capture, index), flatLimit(kind));
  const there = readablePrefix(address, <usize>length);
  return there || !length ? <u32>there : PLAN_FAULT;
}

/** Plans all six arguments; returns the bytes that the payloads take, headers and padding included. */
export function planAll(f: Frame, captures: usize): u32 {
  let total: u32 = 0;
  for (let i: u32 = 0; i < 6; i++) {
    const capture = <u32>load<u16>(captures + (<usize>i << 1));
    if (capture == CAPTURE_NONE || !argument(f, i)) continue;
    const planned = plan(f, capture, i);
    storePlan(f, i, planned);
    total += PAYLOAD_HEADER + (planned & PLAN_FAULT ? 0 : (planned + 7) & ~7);
  }
  return total;
}

/** Writes the payloads that planAll measured. */
export function copyAll(f: Frame, captures: usize, to: usize): void {
  for (let i: u32 = 0; i < 6; i++) {
    const capture = <u32>load<u16>(captures + (<usize>i << 1));
    if (capture == CAPTURE_NONE || !argument(f, i)) continue;
    const planned = loadPlan(f, i);
    const kind = capture & 15;
    if (planned & PLAN_FAULT) {
      writeHeader(to, i, PAYLOAD_FAULT, 0, 0);
      to += PAYLOAD_HEADER;
      continue;
    }
    writeHeader(to, i, kind, planned, 0);
    copyPayload(f, capture, i, to, planned);
    to += PAYLOAD_HEADER + ((planned + 7) & ~7);
  }
}

function copyPayload(f: Frame, capture: u32, index: u32, payload: usize, planned: u32): void {
  const address = <usize>argument(f, index);
  const to = payload + PAYLOAD_HEADER;
  const kind = capture & 15;
  let full: u64 = planned;
  if (kind == CAPTURE_CSTRING) {
    memory.copy(to, address, planned);
    if (planned == STRING_MAX) full = 0xffffffff;
  } else if (kind == CAPTURE_STRINGS) {
    full = copyStrings(address, to, planned);
  } else if (kind == CAPTURE_COUNT) {
    full = countStrings(address);
  } else if (kind == CAPTURE_ENTRIES) {
    full = countEntries(address, f.result);
  } else if (kind == CAPTURE_IOVEC) {
    full = argument(f, capture >> 4);
    copyVectors(address, full, to, planned, dataLimit());
  } else if (kind == CAPTURE_MSGHDR) {
    full = copyMessage(address, to, planned, dataLimit());
  } else {
    if (kind == CAPTURE_ARRAY) full = argument(f, (capture >> 4) & 7);
    else if (kind == CAPTURE_RESULT_ARRAY) full = f.result;
    else full = fullLength(f, capture, index);
    memory.copy(to, address, planned);
  }
  store<u32>(payload, <u32>least(full, 0xffffffff), 4);
}

function writeHeader(payload: usize, index: u32, kind: u32, bytes: u32, full: u32): void {
  store<u32>(payload, index | (kind << 8) | (bytes << 16));
  store<u32>(payload, full, 4);
}

// @ts-ignore: decorator
@inline
function storePlan(f: Frame, index: u32, bytes: u32): void {
  store<u32>(changetype<usize>(f) + offsetof<Frame>("plan0") + (<usize>index << 2), bytes);
}

// @ts-ignore: decorator
@inline
function loadPlan(f: Frame, index: u32): u32 {
  return load<u32>(changetype<usize>(f) + offsetof<Frame>("plan0") + (<usize>index << 2));
}

/** A payload with a string of our own (START and GAP records). */
export function writeString(to: usize, argument: u32, text: usize, length: u32): void {
  writeHeader(to, argument, CAPTURE_CSTRING, length, length);
  memory.copy(to + PAYLOAD_HEADER, text, length);
}

// ── arrays of strings (argv) ─────────────────────────────────────────────────────────────────────────────────────────

function planStrings(array: usize): u32 {
  if (!readable(array, 8)) return PLAN_FAULT;
  let total: usize = 0;
  for (let p = array; readable(p, 8); p += 8) {
    const s = load<usize>(p);
    if (!s) break;
    const length = safeStringLength(s, STRING_MAX);
    if (length == NOT_READABLE || total + length + 1 > <usize>STRING_MAX) break;
    total += length + 1;
  }
  return <u32>total;
}

function copyStrings(array: usize, to: usize, planned: u32): u32 {
  const end = to + planned;
  for (let p = array; to < end && readable(p, 8); p += 8) {
    const s = load<usize>(p);
    if (!s) break;
    const length = safeStringLength(s, STRING_MAX);
    if (length == NOT_READABLE || to + length + 1 > end) break;
    memory.copy(to, s, length);
    to += length + 1; // the NUL is there: records are zeroed
  }
  return countStrings(array);
}

function countStrings(array: usize): u32 {
  let n: u32 = 0;
  for (let p = array; n < MOST_STRINGS && readable(p, 8) && load<usize>(p); p += 8) n++;
  return n;
}

/** struct linux_dirent and linux_dirent64 (getdents(2)) both have the length of the entry (u16) here. */
const DIRENT_LENGTH: usize = 16;

function countEntries(address: usize, length: u64): u32 {
  const end = address + <usize>length;
  let n: u32 = 0;
  for (let p = address; p + DIRENT_LENGTH + 2 <= end; n++) {
    const size = <usize>load<u16>(p + DIRENT_LENGTH);
    if (!size) break; // another thread has written over it
    p += size;
  }
  return n;
}
