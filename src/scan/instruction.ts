/** The text of the few instructions that tell something about a system call; AT&T syntax, as objdump writes it. */

const REGISTERS_32 = ["eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi"];
const REGISTERS_64 = ["rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi"];

const REX_W = 8;
const REX_R = 4;
const REX_B = 1;

/** `bytes` is one instruction; undefined for those that are not worth a word. */
export function instructionText(bytes: Uint8Array): string | undefined {
  const hasRex = (bytes[0]! & 0xf0) === 0x40;
  const rex = hasRex ? bytes[0]! & 15 : 0;
  const [opcode, modrm, ...rest] = bytes.subarray(hasRex ? 1 : 0);
  if (opcode === undefined || rex & 2) return undefined;
  const name = (number: number) => registerName(number, rex);
  const low = opcode & 7;
  if (opcode === 0x0f && rest.length === 0) return modrm === 0x05 ? "syscall" : modrm === 0x34 ? "sysenter" : undefined;
  if ((opcode & 0xf8) === 0xb8 && bytes.length === (hasRex ? 6 : 5)) {
    return `mov $${immediate(bytes, 0)},${name(low | (rex & REX_B ? 8 : 0))}`;
  }
  if (modrm === undefined || modrm < 0xc0) return undefined;
  const rm = name((modrm & 7) | (rex & REX_B ? 8 : 0));
  const reg = name(((modrm >> 3) & 7) | (rex & REX_R ? 8 : 0));
  if (opcode === 0xc7 && (modrm & 0x38) === 0 && rest.length === 4) return `mov $${immediate(bytes, rex)},${rm}`;
  if (rest.length > 0) return undefined;
  if (opcode === 0x31) return `xor ${reg},${rm}`;
  if (opcode === 0x33) return `xor ${rm},${reg}`;
  if (opcode === 0x89) return `mov ${reg},${rm}`;
  return opcode === 0x8b ? `mov ${rm},${reg}` : undefined;
}

function registerName(number: number, rex: number): string {
  const wide = (rex & REX_W) !== 0;
  if (number >= 8) return `%r${number}${wide ? "" : "d"}`;
  return `%${(wide ? REGISTERS_64 : REGISTERS_32)[number]}`;
}

/** The last four bytes; sign-extended where the operand has 64 bits. */
function immediate(bytes: Uint8Array, rex: number): string {
  const value = new DataView(bytes.buffer, bytes.byteOffset + bytes.length - 4, 4).getInt32(0, true);
  return `0x${BigInt.asUintN(rex & REX_W ? 64 : 32, BigInt(value)).toString(16)}`;
}
