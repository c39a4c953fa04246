/** Which VEX, EVEX and XOP instructions exist, as entries like those of the legacy maps. */
import { IMM_8, IMM_Z, OP_ADDRESS_ONLY, OP_MODRM, VECTOR } from "./opcodes";

/** The table entry of a VEX or EVEX opcode, 0 when it does not exist. */
export function vectorEntry(map: u32, op: u32, implied: u32, evex: bool): u32 {
  if (map == 0 || map == 4 || map > 6) return 0;
  const row = map > 4 ? map - 2 : map - 1;
  if (!((<u32>unchecked(VECTOR[(row << 8) | op]) >> (evex ? implied + 4 : implied)) & 1)) return 0;
  if (map == 3) return OP_MODRM | IMM_8;
  if (map != 1) return OP_MODRM;
  if (op == 0x77) return OP_ADDRESS_ONLY; // vzeroupper, vzeroall: no operand
  return (op & 0xfc) == 0x70 || op == 0xc2 || (op >= 0xc4 && op <= 0xc6) ? OP_MODRM | IMM_8 : OP_MODRM;
}

/** The table entry of an XOP opcode: the map alone decides the length, and no opcode is refused. */
// @ts-ignore: decorator
@inline
export function xopEntry(map: u32): u32 {
  if (map == 8) return OP_MODRM | IMM_8;
  if (map == 9) return OP_MODRM;
  return map == 10 ? OP_MODRM | IMM_Z : 0;
}
