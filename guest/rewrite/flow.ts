/**
 * Which bytes of a function are instructions: those that control flow reaches from its start. Two bitmaps with one bit
 * a byte: `begins` marks the first bytes of reached instructions, `pending` the branch targets still to be followed.
 */
import { decode } from "./decode";
import { Insn, INDIRECT, MAX_LENGTH, RELATIVE, STOPS } from "./insn";

// @ts-ignore: decorator
@unmanaged
export class Flow {
  start: usize;
  end: usize;
  begins: usize;
  pending: usize;
  /** The function jumps through a register or memory: not every instruction is reached by branches alone. */
  indirect: bool;
  /** Control flow reaches bytes that are no instruction. */
  broken: bool;
}

/** How many bytes of code bitmaps of `size` bytes are enough for. */
// @ts-ignore: decorator
@inline
export function flowCapacity(size: usize): usize {
  return (size / 16) * 64;
}

/**
 * Follows control flow inside [start, end) from `start`. Calls are taken to return. The bitmaps must be big
 * enough (flowCapacity) and 8-byte aligned.
 */
export function traceFlow(flow: Flow, insn: Insn, start: usize, end: usize, bitmaps: usize): void {
  const words = (end - start + 63) / 64;
  flow.start = start;
  flow.end = end;
  flow.begins = bitmaps;
  flow.pending = bitmaps + words * 8;
  flow.indirect = false;
  flow.broken = false;
  memory.fill(bitmaps, 0, words * 16);
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
    const lowest = follow(flow, insn, start + word * 64 + <usize>ctz(bits));
    if (lowest / 64 < word) word = lowest / 64;
  }
}

/** Marks straight-line code from `address` on; returns the offset of the lowest branch target that it added. */
function follow(flow: Flow, insn: Insn, address: usize): usize {
  let lowest: usize = usize.MAX_VALUE;
  let p = address;
  while (p < flow.end && !beginsAt(flow, p)) {
    const length = decode(insn, p, flow.end);
    if (!length) {
      flow.broken = true;
      break;
    }
    setBit(flow.begins, p - flow.start);
    const flags = insn.flags;
    if (flags & RELATIVE && insn.target >= flow.start && insn.target < flow.end && !beginsAt(flow, insn.target)) {
      const offset = insn.target - flow.start;
      setBit(flow.pending, offset);
      if (offset < lowest) lowest = offset;
    }
    if (flags & STOPS) {
      if (flags & INDIRECT) flow.indirect = true;
      break;
    }
    p += length;
  }
  return lowest;
}

/** Whether a reached instruction begins at `address`, which is in [start, end). */
// @ts-ignore: decorator
@inline
export function beginsAt(flow: Flow, address: usize): bool {
  const offset = address - flow.start;
  return ((<u32>load<u8>(flow.begins + (offset >> 3)) >> <u32>(offset & 7)) & 1) != 0;
}

// @ts-ignore: decorator
@inline
function setBit(bitmap: usize, offset: usize): void {
  const byte = bitmap + (offset >> 3);
  store<u8>(byte, <u32>load<u8>(byte) | (1 << <u32>(offset & 7)));
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
  for (let back: usize = 1; back < MAX_LENGTH && address - flow.start >= back; back++) {
    const p = address - back;
    if (beginsAt(flow, p) && <usize>decode(insn, p, flow.end) > back) return p;
  }
  return 0;
}
