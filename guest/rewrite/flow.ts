/**
 * Which bytes of a function are instructions: those that control flow reaches from its start. Bitmaps with one bit a
 * byte: `begins` marks the first bytes of reached instructions, `covered` all of their bytes, `pending` the branch targets
 * still to be followed, `targets` all that direct branches lead to, also from what is not reached itself.
 */
import { COMMON_BYTE, COMMON_CALL, COMMON_JUMP, COMMON_KIND, COMMON_LENGTH, COMMON_READ, COMMON_RETURN, commonInsn } from "./common";
import { decode } from "./decode";
import { CALL, copyOfSp, INDIRECT, Insn, MAX_LENGTH, NO_REGISTER, namesRedZone, RELATIVE, STOPS } from "./insn";

// @ts-ignore: decorator
@unmanaged
export class Flow {
  start: usize;
  end: usize;
  begins: usize;
  pending: usize;
  covered: usize;
  /** Also of the BEYOND bytes behind the function. */
  targets: usize;
  /** Where branches lead that leave the function: MOST_EXITS addresses, and how many there are; more are lost. */
  exits: usize;
  exitCount: u32;
  /** The function jumps through a register or memory: not every instruction is reached by branches alone. */
  indirect: bool;
  /** Control flow reaches bytes that are no instruction. */
  broken: bool;
  /** Reached instructions may overlap. */
  overlapping: bool;
  /** What is not reached has bytes that are no instructions, or an indirect jump: not all targets are known. */
  lost: bool;
  /** An instruction is a call. */
  calls: bool;
  /** An instruction names the red zone (namesRedZone). */
  redZone: bool;
  /** An instruction copies rsp to another register. */
  copies: bool;
}

export const MOST_EXITS: u32 = 32;
/** As far behind the function as a window may reach. */
const BEYOND: usize = 64;

/** How many bytes of code bitmaps of `size` bytes are enough for. */
// @ts-ignore: decorator
@inline
export function flowCapacity(size: usize): usize {
  return (size / 32) * 64 - BEYOND;
}

/**
 * Follows control flow inside [start, end) from `start`. Calls are taken to return. Everything before `textEnd` can be
 * read. The bitmaps have room for the function (flowCapacity), and are 8-byte aligned.
 */
export function traceFlow(
  flow: Flow,
  insn: Insn,
  start: usize,
  end: usize,
  textEnd: usize,
  bitmaps: usize,
): void {
  const words = (end - start + BEYOND + 63) / 64;
  const bytes = words * 8;
  flow.start = start;
  flow.end = end;
  flow.begins = bitmaps;
  flow.pending = bitmaps + bytes;
  flow.covered = bitmaps + bytes * 2;
  flow.targets = bitmaps + bytes * 3;
  flow.exitCount = 0;
  flow.indirect = false;
  flow.broken = false;
  flow.overlapping = false;
  flow.lost = false;
  flow.calls = false;
  flow.redZone = false;
  flow.copies = false;
  memory.fill(bitmaps, 0, bytes * 4);
  setBit(flow.pending, 0);
  // Invariant: no bit is pending below `word`.
  let word: usize = 0;
  while (word < words) {
    const bits = load<u64>(flow.pending + word * 8);
    if (!bits) {
      word++;
      continue;
    }
    store<u64>(flow.pending + word * 8, bits & (bits - 1));
    const from = word * 64 + <usize>ctz(bits);
    if (bitAt(flow.begins, from)) continue;
    const lowest = follow(flow, insn, from, textEnd);
    if (lowest / 64 < word) word = lowest / 64;
  }
  sweepGaps(flow, insn);
}

/** Decodes what was not reached (cases of a switch, padding), from where the code before it ends. */
function sweepGaps(flow: Flow, insn: Insn): void {
  const size = flow.end - flow.start;
  let to: usize = 0;
  while (true) {
    const from = nextBit(flow.covered, to, size, <u64>-1);
    if (from == size) return;
    to = nextBit(flow.covered, from, size, 0);
    for (let at = from; at < to; ) {
      const common = to - at >= COMMON_READ ? commonInsn(flow.start + at, true) : 0;
      if (common) {
        at += common & COMMON_LENGTH;
        const kind = common & COMMON_KIND;
        if (kind == COMMON_CALL) flow.calls = true;
        if (!kind || kind == COMMON_RETURN) continue;
        const offset = at + distanceBefore(flow.start + at, common);
        markTarget(flow, offset);
        if (kind != COMMON_CALL) noteExit(flow, offset);
        continue;
      }
      const length: usize = decode(insn, flow.start + at, flow.end);
      if (!length || length > to - at) {
        flow.lost = true;
        at++;
        continue;
      }
      const flags = insn.flags;
      if (namesRedZone(insn)) flow.redZone = true;
      if (flags & CALL) flow.calls = true;
      if (copyOfSp(insn) != NO_REGISTER) flow.copies = true;
      if (flags & RELATIVE) {
        markTarget(flow, insn.target - flow.start);
        if (!(flags & CALL)) noteExit(flow, insn.target - flow.start);
      }
      if (flags & STOPS && flags & INDIRECT) flow.lost = true;
      at += length;
    }
  }
}

/** A branch of the function leads to this offset. */
// @ts-ignore: decorator
@inline
export function markTarget(flow: Flow, offset: usize): void {
  if (offset < flow.end - flow.start + BEYOND) setBit(flow.targets, offset);
}

/** Remembers where a branch leads if it leaves the function. */
// @ts-ignore: decorator
@inline
function noteExit(flow: Flow, offset: usize): void {
  if (offset < flow.end - flow.start) return;
  if (flow.exitCount == MOST_EXITS) {
    flow.lost = true;
    return;
  }
  store<usize>(flow.exits + <usize>flow.exitCount * sizeof<usize>(), flow.start + offset);
  flow.exitCount++;
}

/** How far the common branch, jump or call that ends at `end` goes. */
// @ts-ignore: decorator
@inline
export function distanceBefore(end: usize, common: u32): isize {
  return common & COMMON_BYTE ? <isize>load<i8>(end - 1) : <isize>load<i32>(end - 4);
}

/** Marks straight-line code from the offset `from` on; returns the offset of the lowest branch target that it added. */
function follow(flow: Flow, insn: Insn, from: usize, textEnd: usize): usize {
  const start = flow.start;
  const size = flow.end - start;
  const begins = flow.begins;
  let lowest: usize = usize.MAX_VALUE;
  let at = from;
  while (at < size && !bitAt(begins, at)) {
    const p = start + at;
    const common = textEnd - p >= COMMON_READ ? commonInsn(p, true) : 0;
    let length = <usize>(common & COMMON_LENGTH);
    if (common && length <= size - at) {
      setBit(begins, at);
      at += length;
      const kind = common & COMMON_KIND;
      if (!kind) continue;
      if (kind == COMMON_RETURN) break;
      if (kind == COMMON_CALL) flow.calls = true;
      const offset = at + distanceBefore(start + at, common);
      lowest = addTarget(flow, offset, size, lowest);
      if (kind != COMMON_CALL) noteExit(flow, offset);
      if (kind == COMMON_JUMP) break;
      continue;
    }
    length = decode(insn, p, flow.end);
    if (!length) {
      flow.broken = true;
      break;
    }
    setBit(begins, at);
    at += length;
    const flags = insn.flags;
    if (flags & CALL) flow.calls = true;
    if (namesRedZone(insn)) flow.redZone = true;
    if (copyOfSp(insn) != NO_REGISTER) flow.copies = true;
    if (flags & RELATIVE) {
      lowest = addTarget(flow, insn.target - start, size, lowest);
      if (!(flags & CALL)) noteExit(flow, insn.target - start);
    }
    if (flags & STOPS) {
      if (flags & INDIRECT) flow.indirect = true;
      break;
    }
  }
  if (setBits(flow.covered, from, at)) flow.overlapping = true;
  return lowest;
}

/** Makes a branch target inside the function pending; returns the lower one of `lowest` and the offset added. */
// @ts-ignore: decorator
@inline
function addTarget(flow: Flow, offset: usize, size: usize, lowest: usize): usize {
  markTarget(flow, offset);
  if (offset >= size || bitAt(flow.begins, offset)) return lowest;
  setBit(flow.pending, offset);
  return offset < lowest ? offset : lowest;
}

/** Whether a reached instruction begins at `address`, which is in [start, end). */
// @ts-ignore: decorator
@inline
export function beginsAt(flow: Flow, address: usize): bool {
  return bitAt(flow.begins, address - flow.start);
}

/** Whether a direct branch of the function leads to [from, to), which is in [start, end + BEYOND). */
export function isTargeted(flow: Flow, from: usize, to: usize): bool {
  const size = to - flow.start;
  return nextBit(flow.targets, from - flow.start, size, 0) != size;
}

// @ts-ignore: decorator
@inline
function bitAt(bitmap: usize, offset: usize): bool {
  return ((<u32>load<u8>(bitmap + (offset >> 3)) >> <u32>(offset & 7)) & 1) != 0;
}

// @ts-ignore: decorator
@inline
function setBit(bitmap: usize, offset: usize): void {
  const byte = bitmap + (offset >> 3);
  store<u8>(byte, <u32>load<u8>(byte) | (1 << <u32>(offset & 7)));
}

/** Sets the bits [from, to) and returns whether one of them was set before. */
function setBits(bitmap: usize, from: usize, to: usize): bool {
  let before: u64 = 0;
  for (let offset = from; offset < to; offset = (offset | 63) + 1) {
    const word = bitmap + (offset >> 6) * 8;
    let mask: u64 = <u64>-1 << (offset & 63);
    if (to - (offset & ~63) < 64) mask &= ((<u64>1) << (to & 63)) - 1;
    const bits = load<u64>(word);
    before |= bits & mask;
    store<u64>(word, bits | mask);
  }
  return before != 0;
}

/** The first bit at or after `offset` that is set (`wanted` 0) or clear (`wanted` -1), or `size` when there is none. */
function nextBit(bitmap: usize, offset: usize, size: usize, wanted: u64): usize {
  let at = offset;
  while (at < size) {
    const bits = (load<u64>(bitmap + (at >> 6) * 8) ^ wanted) >> (at & 63);
    if (bits) {
      at += <usize>ctz(bits);
      return at < size ? at : size;
    }
    at = (at | 63) + 1;
  }
  return size;
}

/** The nearest reached instruction that begins before `address`; 0 when there is none. */
export function previousBegin(flow: Flow, address: usize): usize {
  let p = address;
  while (p > flow.start) {
    p--;
    const offset = p - flow.start;
    // Skip whole empty bytes of the bitmap.
    if ((offset & 7) == 7 && !load<u8>(flow.begins + (offset >> 3))) p -= 7;
    else if (beginsAt(flow, p)) return p;
  }
  return 0;
}

/** The reached instruction that begins before `address` and extends over it; 0 when there is none. Decodes it. */
export function coveringInsn(flow: Flow, insn: Insn, address: usize): usize {
  if (!flow.overlapping && beginsAt(flow, address)) return 0;
  for (let back: usize = 1; back < MAX_LENGTH && address - flow.start >= back; back++) {
    const p = address - back;
    if (!beginsAt(flow, p)) continue;
    if (<usize>decode(insn, p, flow.end) > back) return p;
    if (!flow.overlapping) return 0;
  }
  return 0;
}
