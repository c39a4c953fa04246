/** Copies of struct iovec arrays and struct msghdr with the bytes behind them (see CAPTURE_IOVEC in layout.ts). */
import { least } from "../std/bytes";
import { readable, readablePrefix } from "./memory";

const MOST_VECTORS: u64 = 16;
const MOST_NAME: u64 = 128;
const MOST_CONTROL: u64 = 256;
const MOST_BYTES: u32 = 8192;
const PLAN_FAULT: u32 = 0x80000000;

// struct msghdr (linux/socket.h)
const MSG_NAME: usize = 0;
const MSG_NAMELEN: usize = 8;
const MSG_IOV: usize = 16;
const MSG_IOVLEN: usize = 24;
const MSG_CONTROL: usize = 32;
const MSG_CONTROLLEN: usize = 40;
const MSGHDR_SIZE: u32 = 56;

// @ts-ignore: decorator
@inline
function pad(n: u64): u64 {
  return (n + 7) & ~7;
}

/** Payload bytes for `count` iovecs at `array`, or PLAN_FAULT. */
export function vectorBytes(array: usize, count: u64, limit: u64): u32 {
  const n = least(count, MOST_VECTORS);
  if (!readable(array, <usize>n * 16)) return PLAN_FAULT;
  let total = <u32>n * 16;
  for (let i: u64 = 0; i < n; i++) {
    const length = least(load<u64>(array + <usize>i * 16, 8), limit);
    if (total + length > MOST_BYTES) break;
    total += <u32>length;
  }
  return total;
}

/** Fills the bytes that vectorBytes planned; data that cannot be read stays zero. */
export function copyVectors(array: usize, count: u64, to: usize, planned: u32, limit: u64): void {
  const n = least(count, MOST_VECTORS);
  const head = <usize>n * 16;
  const end = to + planned;
  if (head > planned || !readable(array, head)) return;
  memory.copy(to, array, head);
  let p = to + head;
  for (let i: usize = 0; i < <usize>n; i++) {
    const base = load<usize>(to + i * 16);
    const length = <usize>least(load<u64>(to + i * 16, 8), limit);
    if (p + length > end) return;
    memory.copy(p, base, readablePrefix(base, length));
    p += length;
  }
}

/** Payload bytes for the message at `message`, or PLAN_FAULT. */
export function messageBytes(message: usize, limit: u64): u32 {
  if (!readable(message, MSGHDR_SIZE)) return PLAN_FAULT;
  const vectors = vectorBytes(load<usize>(message, MSG_IOV), load<u64>(message, MSG_IOVLEN), limit);
  return MSGHDR_SIZE + nameBytes(message) + controlBytes(message) + (vectors & PLAN_FAULT ? 0 : vectors);
}

/** Fills the bytes that messageBytes planned; returns the number of iovecs. */
export function copyMessage(message: usize, to: usize, planned: u32, limit: u64): u64 {
  if (planned < MSGHDR_SIZE || !readable(message, MSGHDR_SIZE)) return 0;
  const end = to + planned;
  memory.copy(to, message, MSGHDR_SIZE);
  const header = to;
  let p = to + MSGHDR_SIZE;
  const name = nameBytes(header);
  const control = controlBytes(header);
  if (p + name + control > end) return 0;
  copyReadable(p, load<usize>(header, MSG_NAME), least(load<u32>(header, MSG_NAMELEN), MOST_NAME));
  p += name;
  copyReadable(p, load<usize>(header, MSG_CONTROL), least(load<u64>(header, MSG_CONTROLLEN), MOST_CONTROL));
  p += control;
  const count = load<u64>(header, MSG_IOVLEN);
  copyVectors(load<usize>(header, MSG_IOV), count, p, <u32>(end - p), limit);
  return count;
}

function copyReadable(to: usize, from: usize, length: u64): void {
  memory.copy(to, from, readablePrefix(from, <usize>length));
}

function nameBytes(header: usize): u32 {
  return load<u64>(header, MSG_NAME) ? <u32>pad(least(load<u32>(header, MSG_NAMELEN), MOST_NAME)) : 0;
}

function controlBytes(header: usize): u32 {
  return load<u64>(header, MSG_CONTROL) ? <u32>pad(least(load<u64>(header, MSG_CONTROLLEN), MOST_CONTROL)) : 0;
}
