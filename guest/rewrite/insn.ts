/** What the decoder tells about one instruction. */

/** Longest instruction, in bytes. */
export const MAX_LENGTH: usize = 15;

// Flags of an instruction.
export const HAS_MODRM: u32 = 1 << 0;
/** Reads or writes the memory that ModRM names. Not set for lea, nop and prefetch. */
export const MEMORY: u32 = 1 << 1;
/** Relative jump, branch or call: `target` holds. */
export const RELATIVE: u32 = 1 << 2;
export const CALL: u32 = 1 << 3;
export const RETURN: u32 = 1 << 4;
/** Jump or call through a register or memory. */
export const INDIRECT: u32 = 1 << 5;
/** Control does not go on to the next instruction: jump, return, hlt, ud2. */
export const STOPS: u32 = 1 << 6;
export const SYSCALL: u32 = 1 << 7;
export const SYSENTER: u32 = 1 << 8;
export const INT_80: u32 = 1 << 9;
/**
 * Changes rsp. Not set for instructions that nobody aims at rsp: VEX, EVEX and XOP ones, those that move a vector,
 * control or system register or a random number to a general register, bit tests that write, crc32, adcx and adox.
 */
export const WRITES_SP: u32 = 1 << 10;
/** EVEX: a displacement of one byte is multiplied by the size of the operand (4…64). */
export const SCALED: u32 = 1 << 11;

// Prefixes, as kept in `Insn.prefixes`.
export const PREFIX_66: u32 = 1;
export const PREFIX_67: u32 = 2;
export const PREFIX_F3: u32 = 4;
export const PREFIX_F2: u32 = 8;
export const PREFIX_LOCK: u32 = 16;
export const PREFIX_FS_GS: u32 = 32;

// Registers.
export const RAX: u32 = 0;
export const RSP: u32 = 4;
export const RBP: u32 = 5;
export const RIP: u32 = 16;
export const NO_REGISTER: u32 = 255;

// Maps, as kept in `Insn.map`. VEX, EVEX and XOP: the base plus the number of the map.
export const MAP_ONE: u32 = 0;
export const MAP_0F: u32 = 1;
export const MAP_0F38: u32 = 2;
export const MAP_0F3A: u32 = 3;
export const MAP_VEX: u32 = 0x20;
export const MAP_EVEX: u32 = 0x40;
export const MAP_XOP: u32 = 0x60;

/** One decoded instruction. Offsets count from its first byte; a field that does not exist has size 0. */
@unmanaged
export class Insn {
  flags: u32;
  length: u8;
  map: u8;
  opcode: u8;
  prefixes: u8;
  /** REX, or its W, R, X and B as VEX, EVEX and XOP give them (bits 3…0); 0 when there is none. */
  rex: u8;
  modrm: u8;
  /** Registers of the memory operand: 0…15, RIP or NO_REGISTER. */
  base: u8;
  index: u8;
  displacementAt: u8;
  displacementSize: u8;
  immediateAt: u8;
  immediateSize: u8;
  displacement: i32;
  /** Where a relative jump, branch or call goes. */
  target: usize;
}

const RED_ZONE: i32 = 128;

/**
 * Whether the operand is memory, or the address of memory, at -128…-1 from rsp, with or without index. `lea` that only
 * moves rsp is not meant.
 */
// @ts-ignore: decorator
@inline
export function namesRedZone(insn: Insn): bool {
  if (!(insn.flags & HAS_MODRM) || insn.base != RSP || !insn.displacementSize) return false;
  if (insn.displacement >= 0 || insn.displacement < -RED_ZONE) return false;
  return (insn.flags & MEMORY) != 0 || (isLea(insn) && !(insn.flags & WRITES_SP));
}

// @ts-ignore: decorator
@inline
export function isLea(insn: Insn): bool {
  return insn.opcode == 0x8d && insn.map == MAP_ONE;
}

/** The register that `mov` from rsp or `lea` of a stack address sets, other than rsp; NO_REGISTER for all else. */
export function copyOfSp(insn: Insn): u32 {
  if (insn.map != MAP_ONE || !(insn.flags & HAS_MODRM)) return NO_REGISTER;
  const rex: u32 = insn.rex;
  const reg = (((<u32>insn.modrm >> 3) & 7) | ((rex << 1) & 8)) & 15;
  const rm = ((<u32>insn.modrm & 7) | ((rex << 3) & 8)) & 15;
  let copy = NO_REGISTER;
  if (isLea(insn)) copy = insn.base == RSP ? reg : NO_REGISTER;
  else if (insn.modrm >= 0xc0 && insn.opcode == 0x89 && reg == RSP) copy = rm;
  else if (insn.modrm >= 0xc0 && insn.opcode == 0x8b && rm == RSP) copy = reg;
  return copy == RSP ? NO_REGISTER : copy;
}
