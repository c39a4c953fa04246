/**
 * Lengths and the traits of x86-64 instructions that finding and replacing system calls needs. Covers the legacy, REX,
 * VEX, EVEX, XOP and 3DNow! encodings of 64-bit mode.
 *
 * An opcode that does not exist is refused; a form of an existing opcode that the processor would refuse (LOCK where it
 * is not allowed, a register where memory is required, a reserved VEX or EVEX bit) may be accepted, always with the
 * length that it would have.
 */
import {
  CALL,
  HAS_MODRM,
  INDIRECT,
  Insn,
  INT_80,
  MAP_0F,
  MAP_0F38,
  MAP_0F3A,
  MAP_EVEX,
  MAP_ONE,
  MAP_VEX,
  MAP_XOP,
  MAX_LENGTH,
  MEMORY,
  NO_REGISTER,
  PREFIX_66,
  PREFIX_67,
  PREFIX_F2,
  PREFIX_F3,
  PREFIX_FS_GS,
  PREFIX_LOCK,
  RELATIVE,
  RETURN,
  RIP,
  RSP,
  SCALED,
  STOPS,
  SYSCALL,
  SYSENTER,
  WRITES_SP,
} from "./insn";
import {
  GROUP_C6,
  GROUP_F6,
  GROUP_FF,
  GROUP_VALID,
  GROUP_WRITES,
  IMM_8,
  IMM_16,
  IMM_ADDRESS,
  IMM_ENTER,
  IMM_REL32,
  IMM_V,
  IMM_Z,
  KIND_BRANCH,
  KIND_CALL,
  KIND_ESCAPE,
  KIND_GROUP,
  KIND_INT,
  KIND_INVALID,
  KIND_JUMP,
  KIND_PREFIX,
  KIND_RETURN,
  KIND_STOP,
  KIND_SYSCALL,
  KIND_SYSENTER,
  KIND_VECTOR,
  ONE,
  OP_ADDRESS_ONLY,
  OP_HIGH_SHIFT,
  OP_IMM,
  OP_KIND_SHIFT,
  OP_MODRM,
  OP_WRITES_REG,
  OP_WRITES_RM,
  OP_WRITES_SP,
  THREE_38,
  THREE_3A,
  TWO,
} from "./opcodes";
import { vectorEntry, xopEntry } from "./vector";

/**
 * Decodes the instruction at `address`, reading nothing at or after `end`. Returns its length, 0 when there is no
 * instruction (undefined opcode, longer than 15 bytes, or cut off by `end`); then the content of `insn` is undefined.
 */
export function decode(insn: Insn, address: usize, end: usize): u32 {
  if (address >= end) return 0;
  const limit = end - address < MAX_LENGTH ? end : address + MAX_LENGTH;
  let p = address;
  let prefixes: u32 = 0;
  let rex: u32 = 0;
  let op: u32 = load<u8>(p++);
  let entry: u32 = unchecked(ONE[op]);
  let kind = (entry >> OP_KIND_SHIFT) & 15;
  while (kind == KIND_PREFIX) {
    if ((op & 0xf0) == 0x40) {
      rex = op;
    } else {
      rex = 0; // Only a REX right before the opcode counts.
      prefixes = addPrefix(prefixes, op);
    }
    if (p >= limit) return 0;
    op = load<u8>(p++);
    entry = unchecked(ONE[op]);
    kind = (entry >> OP_KIND_SHIFT) & 15;
  }

  let map = MAP_ONE;
  let flags: u32 = 0;
  if (kind == KIND_ESCAPE) {
    if (p >= limit) return 0;
    op = load<u8>(p++);
    map = MAP_0F;
    entry = unchecked(TWO[op]);
    if (((entry >> OP_KIND_SHIFT) & 15) == KIND_ESCAPE) {
      map = op == 0x38 ? MAP_0F38 : MAP_0F3A;
      if (p >= limit) return 0;
      op = load<u8>(p++);
      entry = map == MAP_0F38 ? unchecked(THREE_38[op]) : unchecked(THREE_3A[op]);
    }
    kind = (entry >> OP_KIND_SHIFT) & 15;
    const implied = impliedPrefix(prefixes);
    if (!((entry >> (OP_HIGH_SHIFT + implied)) & 1)) return 0;
    if (map == MAP_0F && op == 0x78 && implied & 1) entry |= IMM_16; // extrq, insertq: two bytes
  } else if (kind == KIND_VECTOR || (op == 0x8f && p < limit && (load<u8>(p) & 31) >= 8)) {
    if (rex | (prefixes & ~(PREFIX_67 | PREFIX_FS_GS))) return 0;
    const first = op;
    const payload: usize = first == 0xc5 ? 1 : first == 0x62 ? 3 : 2;
    if (limit - p <= payload) return 0;
    const p0: u32 = load<u8>(p);
    const p1: u32 = first == 0xc5 ? p0 : load<u8>(p + 1);
    p += payload;
    op = load<u8>(p++);
    map = first == 0xc5 ? 1 : first == 0x62 ? p0 & 15 : p0 & 31;
    // R, X, B are stored inverted, W is not; the two-byte VEX has only R.
    rex = first == 0xc5 ? (~p0 >> 5) & 4 : ((~p0 >> 5) & 7) | ((p1 >> 4) & 8);
    entry = first == 0x8f ? xopEntry(map) : vectorEntry(map, op, p1 & 3, first == 0x62);
    if (!entry || (first == 0x62 && !(p1 & 4))) return 0;
    kind = 0;
    map |= first == 0x8f ? MAP_XOP : first == 0x62 ? MAP_EVEX : MAP_VEX;
    if (first == 0x62) flags = SCALED;
  }
  if (kind == KIND_INVALID) return 0;

  insn.map = <u8>map;
  insn.opcode = <u8>op;
  insn.prefixes = <u8>prefixes;
  insn.rex = <u8>rex;
  insn.base = <u8>NO_REGISTER;
  insn.displacementSize = 0;
  let immediate = entry & OP_IMM;
  if (entry & OP_MODRM) {
    if (p >= limit) return 0;
    const modrm: u32 = load<u8>(p);
    insn.modrm = <u8>modrm;
    p = decodeOperand(insn, p, limit, address);
    if (!p) return 0;
    flags |= HAS_MODRM;
    if (modrm < 0xc0) {
      if (!(entry & OP_ADDRESS_ONLY)) flags |= MEMORY;
    } else if (op == 0x8d && map == MAP_ONE) {
      return 0;
    }
    if (kind == KIND_GROUP) {
      const group = entry >> OP_HIGH_SHIFT;
      const reg = (modrm >> 3) & 7;
      if (!((<u32>unchecked(GROUP_VALID[group]) >> reg) & 1)) {
        if (group != GROUP_C6 || modrm != 0xf8) return 0;
        if (op == 0xc7) kind = KIND_BRANCH; // xbegin; c6 f8 is xabort
      } else if ((<u32>unchecked(GROUP_WRITES[group]) >> reg) & 1) {
        entry |= OP_WRITES_RM;
      }
      if (group == GROUP_F6 && reg < 2) immediate = op & 1 ? IMM_Z : IMM_8;
      if (group == GROUP_FF && reg >= 2) {
        if (reg == 6) entry |= OP_WRITES_SP;
        else if (reg & 1 && modrm >= 0xc0) return 0;
        else if (reg < 4) {
          flags |= INDIRECT | CALL;
          entry |= OP_WRITES_SP;
        } else flags |= INDIRECT | STOPS;
      }
    }
    if (entry & (OP_WRITES_REG | OP_WRITES_RM) && writesOperandSp(entry, map, op, modrm, rex)) flags |= WRITES_SP;
  } else if (entry & OP_WRITES_REG && (op & 7) == RSP && !(rex & 1)) {
    if ((op & 0xf8) != 0xb0 || rex) flags |= WRITES_SP; // b4 without REX is ah
  }
  if (entry & OP_WRITES_SP) flags |= WRITES_SP;

  const size = immediateSize(immediate, prefixes, rex);
  if (<usize>size > limit - p) return 0;
  insn.immediateAt = <u8>(p - address);
  insn.immediateSize = <u8>size;
  const length = <u32>(p - address) + size;
  insn.length = <u8>length;
  insn.flags = kind ? flags | kindFlags(insn, kind, p, size) : flags;
  return length;
}

/** Reads ModRM at `p`, SIB and displacement; returns the address after them, or 0 when they are cut off. */
// @ts-ignore: decorator
@inline
function decodeOperand(insn: Insn, start: usize, limit: usize, address: usize): usize {
  let p = start;
  const modrm: u32 = load<u8>(p++);
  if (modrm >= 0xc0) return p;
  const rex: u32 = insn.rex;
  const mod = modrm >> 6;
  let base = modrm & 7;
  let index = NO_REGISTER;
  let size: u32 = mod == 1 ? 1 : mod == 2 ? 4 : 0;
  if (base == 4) {
    if (p >= limit) return 0;
    const sib: u32 = load<u8>(p++);
    index = ((sib >> 3) & 7) | ((rex << 2) & 8);
    if (index == RSP) index = NO_REGISTER;
    base = sib & 7;
    if (base == 5 && !mod) {
      base = NO_REGISTER;
      size = 4;
    } else {
      base |= (rex << 3) & 8;
    }
  } else if (base == 5 && !mod) {
    base = RIP;
    size = 4;
  } else {
    base |= (rex << 3) & 8;
  }
  insn.base = <u8>base;
  insn.index = <u8>index;
  if (!size) {
    insn.displacement = 0;
    return p;
  }
  if (limit - p < <usize>size) return 0;
  insn.displacementAt = <u8>(p - address);
  insn.displacementSize = <u8>size;
  insn.displacement = size == 1 ? <i32>load<i8>(p) : load<i32>(p);
  return p + size;
}

// @ts-ignore: decorator
@inline
function addPrefix(prefixes: u32, byte: u32): u32 {
  if (byte == 0x66) return prefixes | PREFIX_66;
  if (byte == 0xf3) return (prefixes & ~PREFIX_F2) | PREFIX_F3;
  if (byte == 0xf2) return (prefixes & ~PREFIX_F3) | PREFIX_F2;
  if (byte == 0x67) return prefixes | PREFIX_67;
  if (byte == 0xf0) return prefixes | PREFIX_LOCK;
  if (byte == 0x64 || byte == 0x65) return prefixes | PREFIX_FS_GS;
  return prefixes;
}

/** The mandatory prefix as VEX.pp counts it: 0 none, 1 66, 2 f3, 3 f2. */
// @ts-ignore: decorator
@inline
function impliedPrefix(prefixes: u32): u32 {
  if (prefixes & PREFIX_F3) return 2;
  if (prefixes & PREFIX_F2) return 3;
  return prefixes & PREFIX_66;
}

/** Whether a register operand that is written is rsp. Byte operations reach spl only with REX; else 4 is ah. */
// @ts-ignore: decorator
@inline
function writesOperandSp(entry: u32, map: u32, op: u32, modrm: u32, rex: u32): bool {
  if (!rex) {
    if (map == MAP_ONE && !(op & 1) && op != 0x8c) return false;
    if (map == MAP_0F && ((op & 0xf0) == 0x90 || op == 0xb0 || op == 0xc0)) return false;
  }
  if (entry & OP_WRITES_REG && (((modrm >> 3) & 7) | ((rex << 1) & 8)) == RSP) return true;
  return (entry & OP_WRITES_RM) != 0 && modrm >= 0xc0 && ((modrm & 7) | ((rex << 3) & 8)) == RSP;
}

// @ts-ignore: decorator
@inline
function immediateSize(immediate: u32, prefixes: u32, rex: u32): u32 {
  if (immediate <= IMM_16) return immediate;
  if (immediate == IMM_REL32) return 4;
  if (immediate == IMM_ENTER) return 3;
  if (immediate == IMM_ADDRESS) return prefixes & PREFIX_67 ? 4 : 8;
  if (rex & 8) return immediate == IMM_V ? 8 : 4;
  return prefixes & PREFIX_66 ? 2 : 4;
}

/** Flags that follow from the kind; sets `target` for relative ones. The immediate is at `p`. */
function kindFlags(insn: Insn, kind: u32, p: usize, size: u32): u32 {
  if (kind >= KIND_BRANCH && kind <= KIND_CALL) {
    const offset: i32 = size == 1 ? <i32>load<i8>(p) : size == 2 ? <i32>load<i16>(p) : load<i32>(p);
    insn.target = p + size + <isize>offset;
    return kind == KIND_BRANCH ? RELATIVE : kind == KIND_JUMP ? RELATIVE | STOPS : RELATIVE | CALL;
  }
  if (kind == KIND_RETURN) return RETURN | STOPS;
  if (kind == KIND_STOP) return STOPS;
  if (kind == KIND_SYSCALL) return SYSCALL;
  if (kind == KIND_SYSENTER) return SYSENTER;
  if (kind == KIND_INT && load<u8>(p) == 0x80) return INT_80;
  return 0;
}
