/**
 * The WebAssembly instructions that the compiler knows, as data (WebAssembly core specification 2.0, section 5.4, and
 * the threads proposal). Two-byte opcodes are prefix << 8 | number.
 */

/** Widths of integer values in bits. */
export type IntType = 32 | 64;

/** Operations of the intermediate representation that one numeric instruction stands for. */
export const BINARY = [
  "add",
  "sub",
  "mul",
  "div_s",
  "div_u",
  "rem_s",
  "rem_u",
  "and",
  "or",
  "xor",
  "shl",
  "shr_s",
  "shr_u",
  "rotl",
  "rotr",
] as const;
export const COMPARE = ["eq", "ne", "lt_s", "lt_u", "gt_s", "gt_u", "le_s", "le_u", "ge_s", "ge_u"] as const;
export const COUNT = ["clz", "ctz", "popcnt"] as const;
export const EXTEND = ["sext8", "sext16", "sext32", "zext32", "wrap"] as const;
export type BinaryOp = (typeof BINARY)[number];
export type CompareOp = (typeof COMPARE)[number];
export type UnaryOp = (typeof COUNT)[number] | (typeof EXTEND)[number];

export type Numeric =
  | { readonly kind: "binary"; readonly op: BinaryOp; readonly type: IntType }
  | { readonly kind: "compare"; readonly op: CompareOp; readonly type: IntType }
  | { readonly kind: "eqz"; readonly type: IntType }
  | { readonly kind: "unary"; readonly op: UnaryOp; readonly type: IntType };

const NUMERIC = new Map<number, Numeric>();
for (const [type, compare, count, binary] of [
  [32, 0x46, 0x67, 0x6a],
  [64, 0x51, 0x79, 0x7c],
] as const) {
  NUMERIC.set(compare - 1, { kind: "eqz", type });
  COMPARE.forEach((op, i) => {
    NUMERIC.set(compare + i, { kind: "compare", op, type });
  });
  COUNT.forEach((op, i) => {
    NUMERIC.set(count + i, { kind: "unary", op, type });
  });
  BINARY.forEach((op, i) => {
    NUMERIC.set(binary + i, { kind: "binary", op, type });
  });
}
for (const [code, op, type] of [
  [0xa7, "wrap", 32],
  [0xac, "sext32", 64],
  [0xad, "zext32", 64],
  [0xc0, "sext8", 32],
  [0xc1, "sext16", 32],
  [0xc2, "sext8", 64],
  [0xc3, "sext16", 64],
  [0xc4, "sext32", 64],
] as const)
  NUMERIC.set(code, { kind: "unary", op, type });

export const numeric = (opcode: number): Numeric | undefined => NUMERIC.get(opcode);

/** A load: result width, bits read, sign extension. */
export const LOADS: ReadonlyMap<number, readonly [IntType, bits: 8 | 16 | 32 | 64, signed: boolean]> = new Map([
  [0x28, [32, 32, false]],
  [0x29, [64, 64, false]],
  [0x2c, [32, 8, true]],
  [0x2d, [32, 8, false]],
  [0x2e, [32, 16, true]],
  [0x2f, [32, 16, false]],
  [0x30, [64, 8, true]],
  [0x31, [64, 8, false]],
  [0x32, [64, 16, true]],
  [0x33, [64, 16, false]],
  [0x34, [64, 32, true]],
  [0x35, [64, 32, false]],
  [0xfe10, [32, 32, false]],
  [0xfe11, [64, 64, false]],
  [0xfe12, [32, 8, false]],
  [0xfe13, [32, 16, false]],
  [0xfe14, [64, 8, false]],
  [0xfe15, [64, 16, false]],
  [0xfe16, [64, 32, false]],
] as const);

/** A store: bits written, atomic. */
export const STORES: ReadonlyMap<number, readonly [bits: 8 | 16 | 32 | 64, atomic: boolean]> = new Map([
  [0x36, [32, false]],
  [0x37, [64, false]],
  [0x3a, [8, false]],
  [0x3b, [16, false]],
  [0x3c, [8, false]],
  [0x3d, [16, false]],
  [0x3e, [32, false]],
  [0xfe17, [32, true]],
  [0xfe18, [64, true]],
  [0xfe19, [8, true]],
  [0xfe1a, [16, true]],
  [0xfe1b, [8, true]],
  [0xfe1c, [16, true]],
  [0xfe1d, [32, true]],
] as const);

export type AtomicOp = "add" | "sub" | "and" | "or" | "xor" | "xchg" | "cmpxchg";

/** Widths of the seven forms of each atomic read-modify-write instruction: result type, bits. */
const RMW_FORMS = [
  [32, 32],
  [64, 64],
  [32, 8],
  [32, 16],
  [64, 8],
  [64, 16],
  [64, 32],
] as const;
const RMW_OPS = ["add", "sub", "and", "or", "xor", "xchg", "cmpxchg"] as const;

/** An atomic read-modify-write instruction (fe1e…fe4e), or undefined. */
export function atomicRmw(opcode: number): { op: AtomicOp; type: IntType; bits: 8 | 16 | 32 | 64 } | undefined {
  const number = opcode - 0xfe1e;
  if (number < 0 || number >= RMW_OPS.length * RMW_FORMS.length) return undefined;
  const [type, bits] = RMW_FORMS[number % RMW_FORMS.length]!;
  return { op: RMW_OPS[Math.floor(number / RMW_FORMS.length)]!, type, bits };
}

/** Floating point: arithmetic, loads, stores, constants and conversions. */
export const isFloat = (opcode: number): boolean =>
  opcode === 0x2a ||
  opcode === 0x2b ||
  opcode === 0x38 ||
  opcode === 0x39 ||
  opcode === 0x43 ||
  opcode === 0x44 ||
  (opcode >= 0x5b && opcode <= 0x66) ||
  (opcode >= 0x8b && opcode <= 0xa6) ||
  (opcode >= 0xa8 && opcode <= 0xab) ||
  (opcode >= 0xae && opcode <= 0xbf) ||
  (opcode >= 0xfc00 && opcode <= 0xfc07);
