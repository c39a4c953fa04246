/** Constant folding and algebraic identities: pure functions from a value to a simpler one. */
import {
  type CompareOp,
  constant,
  type Func,
  type IntType,
  isCompare,
  makeValue,
  type Op,
  signed,
  symbolAddress,
  truncate,
  type Value,
} from "./ir.ts";

const COMMUTATIVE: ReadonlySet<Op> = new Set<Op>(["add", "mul", "and", "or", "xor", "eq", "ne"]);

const INVERSE: Readonly<Record<CompareOp, CompareOp>> = {
  eq: "ne",
  ne: "eq",
  lt_s: "ge_s",
  ge_s: "lt_s",
  gt_s: "le_s",
  le_s: "gt_s",
  lt_u: "ge_u",
  ge_u: "lt_u",
  gt_u: "le_u",
  le_u: "gt_u",
};

/** The comparison with its operands exchanged. */
export const MIRROR: Readonly<Record<CompareOp, CompareOp>> = {
  eq: "eq",
  ne: "ne",
  lt_s: "gt_s",
  gt_s: "lt_s",
  le_s: "ge_s",
  ge_s: "le_s",
  lt_u: "gt_u",
  gt_u: "lt_u",
  le_u: "ge_u",
  ge_u: "le_u",
};

const isConst = (value: Value, imm?: bigint): boolean =>
  value.op === "const" && (imm === undefined || value.imm === imm);
const bitLength = (value: bigint): number => (value === 0n ? 0 : value.toString(2).length);

/** The value of an operation on constants (unsigned, of width `type`), or undefined if it traps. */
function evaluate(op: Op, type: IntType, x: bigint, y: bigint): bigint | undefined {
  const width = BigInt(type);
  const sx = signed(type, x);
  const sy = signed(type, y);
  const flag = (condition: boolean): bigint => (condition ? 1n : 0n);
  switch (op) {
    case "add":
      return x + y;
    case "sub":
      return x - y;
    case "mul":
      return x * y;
    case "and":
      return x & y;
    case "or":
      return x | y;
    case "xor":
      return x ^ y;
    case "shl":
      return x << (y % width);
    case "shr_u":
      return x >> (y % width);
    case "shr_s":
      return sx >> (y % width);
    case "rotl":
      return (x << (y % width)) | (x >> ((width - (y % width)) % width));
    case "rotr":
      return (x >> (y % width)) | (x << ((width - (y % width)) % width));
    case "div_u":
      return y === 0n ? undefined : x / y;
    case "rem_u":
      return y === 0n ? undefined : x % y;
    case "div_s":
      return y === 0n || (sy === -1n && sx === -(1n << (width - 1n))) ? undefined : sx / sy;
    case "rem_s":
      return y === 0n ? undefined : sx % sy;
    case "eq":
      return flag(x === y);
    case "ne":
      return flag(x !== y);
    case "lt_s":
      return flag(sx < sy);
    case "lt_u":
      return flag(x < y);
    case "gt_s":
      return flag(sx > sy);
    case "gt_u":
      return flag(x > y);
    case "le_s":
      return flag(sx <= sy);
    case "le_u":
      return flag(x <= y);
    case "ge_s":
      return flag(sx >= sy);
    case "ge_u":
      return flag(x >= y);
    case "clz":
      return BigInt(type - bitLength(x));
    case "ctz":
      return x === 0n ? width : BigInt(bitLength(x & -x) - 1);
    case "popcnt":
      return BigInt(x.toString(2).replaceAll("0", "").length);
    case "sext8":
      return BigInt.asIntN(8, x);
    case "sext16":
      return BigInt.asIntN(16, x);
    case "sext32":
      return BigInt.asIntN(32, x);
    case "zext32":
    case "wrap":
      return BigInt.asUintN(32, x);
    default:
      return undefined;
  }
}

/** The number of low bits that can be other than zero. */
export function significantBits(value: Value, depth = 0): number {
  const width = value.type || 64;
  if (value.op === "const") return bitLength(value.imm);
  if (depth > 4) return width;
  const bits = (index: number): number => significantBits(value.args[index]!, depth + 1);
  switch (value.op) {
    case "load":
      return value.signed ? width : value.bits;
    case "and":
      return Math.min(bits(0), bits(1));
    case "or":
    case "xor":
      return Math.max(bits(0), bits(1));
    case "zext32":
      return bits(0);
    case "wrap":
      return Math.min(32, bits(0));
    case "select":
      return Math.max(bits(1), bits(2));
    case "shr_u":
      return isConst(value.args[1]!) ? Math.max(0, bits(0) - Number(value.args[1]!.imm % BigInt(width))) : bits(0);
    case "shl":
      return isConst(value.args[1]!) ? Math.min(width, bits(0) + Number(value.args[1]!.imm % BigInt(width))) : width;
    default:
      return isCompare(value.op) ? 1 : width;
  }
}

/**
 * A simpler value equal to `value`: an operand, a constant, or a new value, whose operands may be new too; undefined if
 * there is none.
 */
export function fold(func: Func, value: Value): Value | undefined {
  const { op, type, args } = value;
  if (type === 0) return undefined;
  const [a, b] = args;
  if (a === undefined) return undefined;
  const make = (newOp: Op, newType: IntType, ...newArgs: Value[]): Value =>
    makeValue(func, value.block, newOp, newType, newArgs, { at: value.at });
  const number = (imm: bigint): Value => constant(func, type, imm);
  const operandType: IntType = a.type || 64;

  if (isConst(a) && (b === undefined || isConst(b)) && args.length <= 2 && op !== "phi" && op !== "load") {
    const result = evaluate(op, operandType, a.imm, b?.imm ?? 0n);
    return result === undefined ? undefined : number(truncate(type, result));
  }
  if (op === "select") return foldSelect(func, value);
  if (b === undefined) return foldUnary(value, make, number);
  if (COMMUTATIVE.has(op) && isConst(a)) return make(op, type, b, a);
  if (isCompare(op)) return foldCompare(func, op, a, b, make);
  if (a === b) {
    if (op === "sub" || op === "xor") return number(0n);
    if (op === "and" || op === "or") return a;
  }
  // x + (y - x)  =  y;  (x + y) - x  =  y
  if (op === "add" && b.op === "sub" && b.args[1] === a) return b.args[0];
  if (op === "add" && a.op === "sub" && a.args[1] === b) return a.args[0];
  if (op === "sub" && a.op === "add" && a.args.includes(b)) return a.args[a.args[0] === b ? 1 : 0];
  if ((op === "and" || op === "or") && isCompare(a.op) && isCompare(b.op)) return foldRange(func, op, a, b, make);
  if (!isConst(b)) return op === "sub" && isConst(a) ? undefined : foldSymbol(func, op, a, b);
  const imm = b.imm;
  const ones = truncate(type, -1n);
  const width = BigInt(type);
  const count = imm % width;
  const inner = a.args[1];
  /** The operation is the same as that of its first operand, whose second operand is constant too. */
  const nested = a.op === op && inner !== undefined && isConst(inner) ? inner.imm : undefined;
  switch (op) {
    case "sub":
      return make("add", type, a, number(truncate(type, -imm)));
    case "add":
      if (imm === 0n) return a;
      if (a.op === "symbol") return symbolAddress(func, a.symbol, a.imm + signed(64, imm));
      return nested === undefined ? undefined : make("add", type, a.args[0]!, number(truncate(type, nested + imm)));
    case "or":
    case "xor":
      if (imm === 0n) return a;
      if (op === "or" && imm === ones) return b;
      return nested === undefined
        ? undefined
        : make(op, type, a.args[0]!, number(op === "or" ? nested | imm : nested ^ imm));
    case "and":
      if (imm === 0n) return b;
      if (imm === ones || ((imm & (imm + 1n)) === 0n && significantBits(a) <= bitLength(imm))) return a;
      return nested === undefined ? undefined : make("and", type, a.args[0]!, number(nested & imm));
    case "mul":
      if (imm === 0n) return b;
      if (imm === 1n) return a;
      return (imm & (imm - 1n)) === 0n ? make("shl", type, a, number(BigInt(bitLength(imm) - 1))) : undefined;
    case "div_u":
      if (imm === 1n) return a;
      return imm !== 0n && (imm & (imm - 1n)) === 0n
        ? make("shr_u", type, a, number(BigInt(bitLength(imm) - 1)))
        : undefined;
    case "rem_u":
      return imm !== 0n && (imm & (imm - 1n)) === 0n ? make("and", type, a, number(imm - 1n)) : undefined;
    case "shl":
    case "shr_u":
    case "shr_s":
    case "rotl":
    case "rotr":
      if (count === 0n) return a;
      if (imm !== count) return make(op, type, a, number(count));
      if (op === "shr_u" && significantBits(a) <= Number(count)) return number(0n);
      if (nested === undefined || op === "rotl" || op === "rotr") return undefined;
      if ((nested % width) + count < width) return make(op, type, a.args[0]!, number((nested % width) + count));
      return op === "shr_s" ? undefined : number(0n);
    default:
      return undefined;
  }
}

/** Sums with addresses of symbols are kept as `x + symbol`. */
function foldSymbol(func: Func, op: Op, a: Value, b: Value): Value | undefined {
  // (x + c) + &s  =  x + (&s + c)
  if (op === "add" && a.op === "symbol" && b.op !== "symbol")
    return makeValue(func, b.block, "add", 64, [b, a], { at: b.at });
  if (op !== "add" || b.op !== "symbol" || a.op !== "add" || !isConst(a.args[1]!)) return undefined;
  const sum = symbolAddress(func, b.symbol, b.imm + signed(64, a.args[1]!.imm));
  return makeValue(func, a.block, "add", 64, [a.args[0]!, sum], { at: a.at });
}

/** Bounds (inclusive) of the unsigned values for which a comparison with a constant holds; undefined for others. */
function rangeOf(compare: Value): readonly [low: bigint, high: bigint] | undefined {
  const [x, limit] = compare.args as [Value, Value];
  if (limit.op !== "const") return undefined;
  const most = truncate(x.type, -1n);
  switch (compare.op) {
    case "eq":
      return [limit.imm, limit.imm];
    case "lt_u":
      return limit.imm === 0n ? undefined : [0n, limit.imm - 1n];
    case "le_u":
      return [0n, limit.imm];
    case "gt_u":
      return limit.imm === most ? undefined : [limit.imm + 1n, most];
    case "ge_u":
      return [limit.imm, most];
    default:
      return undefined;
  }
}

/** Two comparisons of one value with constants as one. */
function foldRange(func: Func, op: "and" | "or", a: Value, b: Value, make: Make): Value | undefined {
  const x = a.args[0]!;
  if (x !== b.args[0]) return undefined;
  const type: IntType = x.type || 64;
  const [r, s] = [rangeOf(a), rangeOf(b)];
  if (r === undefined || s === undefined) return undefined;
  const [inner, outer] = r[0] < s[0] ? [s, r] : [r, s];
  const low = op === "and" ? inner[0] : outer[0];
  const high = op === "and" && outer[1] < inner[1] ? outer[1] : inner[1];
  if (op === "and") {
    if (low > high) return constant(func, 32, 0n);
  } else if (inner[0] > outer[1] + 1n || high < outer[1]) return undefined;
  const shifted = low === 0n ? x : make("add", type, x, constant(func, type, -low));
  return make("le_u", 32, shifted, constant(func, type, high - low));
}

function foldSelect(func: Func, value: Value): Value | undefined {
  const [condition, a, b] = value.args as [Value, Value, Value];
  const type = value.type || 64;
  if (isConst(condition)) return condition.imm !== 0n ? a : b;
  if (a === b || (isConst(a) && isConst(b, a.imm))) return a;
  const make = (op: Op, args: Value[], newType: IntType = type): Value =>
    makeValue(func, value.block, op, newType, args, { at: value.at });
  if (condition.op === "eq" && isConst(condition.args[1]!, 0n) && condition.args[0]!.type === 32)
    return make("select", [condition.args[0]!, b, a]);
  if (condition.op === "ne" && isConst(condition.args[1]!, 0n) && condition.args[0]!.type === 32)
    return make("select", [condition.args[0]!, a, b]);
  if (isCompare(condition.op) && isConst(a, 1n) && isConst(b, 0n))
    return type === 32 ? condition : make("zext32", [condition]);
  if (isCompare(condition.op) && isConst(a, 0n) && isConst(b, 1n)) {
    const inverse = make(INVERSE[condition.op], condition.args, 32);
    return type === 32 ? inverse : undefined;
  }
  return undefined;
}

type Make = (op: Op, type: IntType, ...args: Value[]) => Value;

function foldUnary(value: Value, make: Make, number: (imm: bigint) => Value): Value | undefined {
  const a = value.args[0]!;
  const type = value.type || 64;
  switch (value.op) {
    case "wrap":
      if (a.op === "zext32") return a.args[0]!;
      if (a.op === "sext32" && a.args[0]!.type === 32) return a.args[0]!;
      return undefined;
    case "zext32":
      return a.op === "wrap" && significantBits(a.args[0]!) <= 32 ? a.args[0]! : undefined;
    case "sext8":
    case "sext16":
    case "sext32": {
      const bits = value.op === "sext8" ? 8 : value.op === "sext16" ? 16 : 32;
      if (significantBits(a) < bits) return a.type === type ? a : make("zext32", 64, a);
      return a.op === value.op && a.type === type ? a : undefined;
    }
    case "popcnt":
      return significantBits(a) === 0 ? number(0n) : undefined;
    default:
      return undefined;
  }
}

function foldCompare(func: Func, op: CompareOp, a: Value, b: Value, make: Make): Value | undefined {
  const type: IntType = a.type || 64;
  const flag = (value: boolean): Value => constant(func, 32, value ? 1n : 0n);
  if (a === b) return flag(op === "eq" || op.includes("e_"));
  if (isConst(a)) return make(MIRROR[op], 32, b, a);
  const unsigned = op.replace("_s", "_u") as CompareOp;
  if (a.op === "zext32" && b.op === "zext32") return make(unsigned, 32, a.args[0]!, b.args[0]!);
  if (!isConst(b)) return undefined;
  const { imm } = b;
  if (imm === 0n && op === "eq" && isCompare(a.op)) return make(INVERSE[a.op], 32, ...a.args);
  if (imm === 0n && op === "ne" && isCompare(a.op)) return a;
  if (imm === 0n && op === "lt_u") return flag(false);
  if (imm === 0n && op === "ge_u") return flag(true);
  if (imm === 0n && op === "gt_u") return make("ne", 32, a, b);
  if (imm === 0n && op === "le_u") return make("eq", 32, a, b);
  if (imm === 1n && op === "lt_u") return make("eq", 32, a, constant(func, type, 0n));
  // A value of few bits, which is never negative, against a constant.
  if (significantBits(a) < type && signed(type, imm) > 0n) {
    if (bitLength(imm) > significantBits(a)) return flag(op === "ne" || op.startsWith("l"));
    if (a.op === "zext32") return make(unsigned, 32, a.args[0]!, constant(func, 32, imm));
  }
  if (imm === 0n && a.op === "zext32" && (op === "eq" || op === "ne"))
    return make(op, 32, a.args[0]!, constant(func, 32, 0n));
  // (x + c) = d  →  x = d - c
  if ((op === "eq" || op === "ne") && a.op === "add" && isConst(a.args[1]!))
    return make(op, 32, a.args[0]!, constant(func, type, imm - a.args[1]!.imm));
  return undefined;
}
