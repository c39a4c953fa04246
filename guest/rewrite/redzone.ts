/**
 * Whether a function keeps data in its red zone, the 128 bytes below rsp that the System V ABI (AMD64 supplement,
 * section 3.2.2) leaves to leaf functions. A `call` in place of its `syscall` would overwrite the first 8 of them.
 */
import { decode } from "./decode";
import { beginsAt, Flow } from "./flow";
import { CALL, copyOfSp, HAS_MODRM, Insn, isLea, MAP_ONE, MEMORY, namesRedZone, NO_REGISTER, PREFIX_66, RBP, RSP, SCALED, STOPS, WRITES_SP } from "./insn";

export const RED_ZONE_NO: u8 = 0;
export const RED_ZONE_YES: u8 = 1;
/** The function cannot be decoded, or it addresses memory in a way that is not followed. */
export const RED_ZONE_UNKNOWN: u8 = 2;

/** Widest operand of an EVEX instruction: what a one-byte displacement is multiplied by at most. */
const MOST_SCALE: i32 = 64;

/**
 * Judges the function that `flow` has traced, all of its bytes: what was not reached (cases of a switch) is decoded
 * from where the code before it ends.
 *
 * Through rsp itself: a memory operand or a `lea` with rsp as base and a displacement of -128…-1. Farther down are stack
 * probes, which keep nothing. Through a copy of rsp, in functions that make no calls (compilers give no others a red
 * zone): a negative displacement from it; from rbp, one by which the function does not lower rsp.
 */
export function redZone(flow: Flow, insn: Insn): u8 {
  if (flow.redZone) return RED_ZONE_YES;
  if (flow.overlapping) return walk(flow, insn);
  if (flow.broken) return RED_ZONE_UNKNOWN;
  return flow.calls || !flow.copies ? RED_ZONE_NO : walk(flow, insn);
}

/** Goes over the function in the order of its text. */
function walk(flow: Flow, insn: Insn): u8 {
  /** Registers that were copied from rsp: bit n for register n. */
  let copies: u32 = 0;
  /** Lowest displacement from rbp, once rbp is such a copy. */
  let lowest: i32 = 0;
  /** Bytes by which rsp is lowered now, in the order of the text, and at most. */
  let depth: i32 = 0;
  let deepest: i32 = 0;
  let calls = false;
  let verdict = RED_ZONE_NO;
  let p = flow.start;
  while (p < flow.end) {
    const length: usize = decode(insn, p, flow.end);
    if (!length || (!beginsAt(flow, p) && skipsBegin(flow, p, length))) {
      p++;
      continue;
    }
    const base: u32 = insn.flags & HAS_MODRM ? insn.base : NO_REGISTER;
    const lea = isLea(insn);
    if (namesRedZone(insn)) return RED_ZONE_YES;
    if (base < 16 && base != RSP && insn.displacementSize && insn.displacement < 0 && (insn.flags & MEMORY || lea)) {
      const scale = insn.flags & SCALED && insn.displacementSize == 1 ? MOST_SCALE : 1;
      const displacement = insn.displacement * scale;
      if (base == RBP) {
        if (copies & (1 << RBP) && displacement < lowest) lowest = displacement;
      } else if ((copies >> base) & 1) {
        verdict = RED_ZONE_UNKNOWN;
      }
    }
    const copy = copyOfSp(insn);
    if (copy == RBP) {
      // rsp lies this far below the new rbp: what was pushed before does not count.
      depth = deepest = lea ? insn.displacement : 0;
    }
    if (copy != NO_REGISTER) copies |= 1 << copy;
    depth += lowering(insn, p);
    if (depth > deepest) deepest = depth;
    if (insn.flags & STOPS) depth = 0;
    if (insn.flags & CALL) calls = true;
    p += length;
  }
  if (flow.broken) return RED_ZONE_UNKNOWN;
  if (calls) return RED_ZONE_NO;
  return lowest < 0 && -lowest > deepest ? RED_ZONE_YES : verdict;
}

/** Bytes by which an instruction lowers rsp: push, pop, and constants added and subtracted; 0 for all else. */
function lowering(insn: Insn, address: usize): i32 {
  if (insn.map != MAP_ONE || !(insn.flags & WRITES_SP)) return 0;
  const op: u32 = insn.opcode;
  const word = insn.prefixes & PREFIX_66 ? 2 : 8;
  if ((op & 0xf8) == 0x50 || op == 0x68 || op == 0x6a || op == 0x9c || op == 0xff) return word;
  if ((op & 0xf8) == 0x58 || op == 0x8f || op == 0x9d) return -word;
  if (op == 0x8d && insn.base == RSP && insn.index == NO_REGISTER) return -insn.displacement;
  if (op != 0x81 && op != 0x83) return 0;
  const immediate = address + insn.immediateAt;
  const value: i32 = op == 0x83 ? <i32>load<i8>(immediate) : load<i32>(immediate);
  const operation = (insn.modrm >> 3) & 7;
  return operation == 5 ? value : operation == 0 ? -value : 0; // sub, add
}

/** Whether a reached instruction begins inside of [address + 1, address + length). */
function skipsBegin(flow: Flow, address: usize, length: usize): bool {
  for (let i: usize = 1; i < length; i++) if (beginsAt(flow, address + i)) return true;
  return false;
}
