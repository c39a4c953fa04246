/** Instruction selection, one operation of the intermediate representation at a time. */
import { MIRROR } from "./fold.ts";
import { type CompareOp, isCompare, type Op, signed, type Value } from "./ir.ts";
import {
  ARGUMENTS,
  CALL_CLOBBERED,
  imm,
  type MemRef,
  type Operand,
  R8,
  R11,
  RAX,
  RCX,
  RDI,
  RDX,
  type Reg,
  RSI,
  reg,
  SYSCALL_ARGUMENTS,
} from "./machine.ts";
import { MEMORY_COPY, MEMORY_FILL } from "./runtime.ts";
import type { Selection } from "./selection.ts";
import type { AluOp, Cond, ShiftOp, Width } from "./x64.ts";

const CONDITION: Readonly<Record<CompareOp, Cond>> = {
  eq: "e",
  ne: "ne",
  lt_s: "l",
  lt_u: "b",
  gt_s: "g",
  gt_u: "a",
  le_s: "le",
  le_u: "be",
  ge_s: "ge",
  ge_u: "ae",
};

const SHIFTS: Partial<Record<Op, ShiftOp>> = { shl: "shl", shr_u: "shr", shr_s: "sar", rotl: "rol", rotr: "ror" };

/** Copies of small constant size are done in registers; longer ones, and those of unknown size, by a helper. */
const COPY_LIMIT = 32n;
const FILL_LIMIT = 64n;

const widthOf = (value: Value): 32 | 64 => value.type || 64;
const mem = (base: Reg, disp: number): MemRef => ({ kind: "mem", base, disp });

/**
 * Emits the comparison for `condition` and tells which condition code means "not zero". Comparisons that belong
 * to this block, or that only ever decide, become flags; other values are tested.
 */
export function emitCondition(s: Selection, condition: Value, here: boolean): Cond {
  if (isCompare(condition.op) && (here || s.isDecision(condition))) return emitCompare(s, condition);
  if (condition.op === "and" && s.useCount(condition) === 1) {
    emitTest(s, condition);
    return "ne";
  }
  const r = s.useLow(condition);
  s.emit("test", 32, reg(r), reg(r));
  return "ne";
}

/** `test` of the two operands of an `and`. */
function emitTest(s: Selection, and: Value): void {
  const [a, b] = and.args as [Value, Value];
  const width = widthOf(and);
  if (
    b.op === "const" &&
    b.imm < 256n &&
    a.op === "load" &&
    s.canFold(a) &&
    a.bits >= 8 &&
    (!a.signed || b.imm < 128n)
  ) {
    s.absorb(a);
    s.emit("test", 8, s.address(a), imm(b.imm));
    return;
  }
  const constant = s.immediate(width, b);
  if (constant !== undefined) {
    // A mask of 32 bits can be tested by the shorter instruction.
    const narrow: Width = b.imm < 1n << 31n ? 32 : width;
    s.emit("test", narrow, reg(s.useFor(narrow, a)), constant);
  } else s.emit("test", width, reg(s.useFor(width, a)), reg(s.useFor(width, b)));
}

/** A comparison that is done in several places must not read memory in each. */
function emitCompare(s: Selection, compare: Value): Cond {
  return s.useCount(compare) === 1 ? compareOperands(s, compare) : s.withoutFolding(() => compareOperands(s, compare));
}

function compareOperands(s: Selection, compare: Value): Cond {
  const op = compare.op as CompareOp;
  const [a, b] = compare.args as [Value, Value];
  const width = widthOf(a);
  const isZero = b.op === "const" && b.imm === 0n;
  if (isZero && (op === "eq" || op === "ne") && a.op === "and" && s.useCount(a) === 1) {
    emitTest(s, a);
    return CONDITION[op];
  }
  if (
    b.op === "const" &&
    s.canFold(a) &&
    a.bits < width &&
    !a.signed &&
    !op.endsWith("_s") &&
    b.imm < 1n << BigInt(a.bits)
  ) {
    // Bytes and words are compared where they lie.
    const narrow = a.bits;
    s.absorb(a);
    s.emit("cmp", narrow, s.address(a), imm(BigInt.asIntN(narrow, b.imm)));
    return CONDITION[op];
  }
  if (isZero && !s.canFold(a)) {
    const r = s.useFor(width, a);
    s.emit("test", width, reg(r), reg(r));
    return CONDITION[op];
  }
  const constant = s.immediate(width, b);
  if (constant !== undefined) {
    s.emit("cmp", width, s.sourceNoImmediate(width, a), constant);
    return CONDITION[op];
  }
  const folded = s.foldedLoad(width, b);
  if (folded !== undefined) {
    s.emit("cmp", width, reg(s.useFor(width, a)), folded);
    return CONDITION[op];
  }
  const foldedA = s.foldedLoad(width, a);
  if (foldedA !== undefined) {
    s.emit("cmp", width, reg(s.useFor(width, b)), foldedA);
    return CONDITION[MIRROR[op]];
  }
  s.emit("cmp", width, reg(s.useFor(width, a)), reg(s.useFor(width, b)));
  return CONDITION[op];
}

/** Whether `operand` holds a variable of a loop whose next round `value` is: best in the same register. */
function continues(value: Value, operand: Value): boolean {
  let start = operand;
  for (let i = 0; i < 3 && start.op !== "phi" && start.args.length > 0; i++) start = start.args[0]!;
  return start.op === "phi" && start !== operand && isNext(value, start, 0);
}

/** Whether `phi` takes `value`, if by way of other phis. */
const isNext = (value: Value, phi: Value, depth: number): boolean =>
  phi.args.includes(value) ||
  (depth < 2 && phi.args.some((arg) => arg !== phi && arg.op === "phi" && isNext(value, arg, depth + 1)));

/** Two-operand arithmetic: to = a op b. */
function emitAlu(s: Selection, op: AluOp, value: Value, to: Reg): void {
  const width = widthOf(value);
  let [a, b] = value.args as [Value, Value];
  if (op !== "sub" && ((s.canFold(a) && a.bits === width && !s.canFold(b)) || continues(value, b))) [a, b] = [b, a];
  const source = s.source(width, b);
  s.copyOf(width, a, to);
  s.emit("alu", width, reg(to), source, { sub: op });
}

function emitAdd(s: Selection, value: Value, to: Reg): void {
  const width = widthOf(value);
  const [a, b] = value.args as [Value, Value];
  if ([a, b].some((arg) => s.canFold(arg) && arg.bits === width)) {
    emitAlu(s, "add", value, to);
    return;
  }
  if (width === 64) {
    const address = s.addressOf(value, 0n, true);
    s.emit("lea", 64, reg(to), address);
    return;
  }
  const constant = s.immediate(32, b);
  const address: MemRef =
    constant?.kind === "imm"
      ? { kind: "mem", base: s.useLow(a), disp: Number(constant.value) }
      : { kind: "mem", base: s.useLow(a), index: s.useLow(b), scale: 1, disp: 0 };
  s.emit("lea", 32, reg(to), address);
}

function emitMul(s: Selection, value: Value, to: Reg): void {
  const width = widthOf(value);
  const [a, b] = value.args as [Value, Value];
  const constant = s.immediate(width, b);
  if (constant?.kind !== "imm") {
    emitImul(s, width, a, b, to);
    return;
  }
  const factor = Number(constant.value);
  if (factor === 3 || factor === 5 || factor === 9) {
    const r = s.useFor(width, a);
    s.emit("lea", width, reg(to), { kind: "mem", base: r, index: r, scale: (factor - 1) as 2 | 4 | 8, disp: 0 });
  } else s.emit("imul3", width, reg(to), s.sourceNoImmediate(width, a), { imm: constant.value });
}

function emitImul(s: Selection, width: 32 | 64, a: Value, b: Value, to: Reg): void {
  const source = s.sourceNoImmediate(width, b);
  s.copyOf(width, a, to);
  s.emit("imul", width, reg(to), source);
}

function emitDivide(s: Selection, value: Value, to: Reg): void {
  const width = widthOf(value);
  const [a, b] = value.args as [Value, Value];
  const isSigned = value.op === "div_s" || value.op === "rem_s";
  let divisor: Operand;
  if (value.op === "rem_s" && b.op !== "const") {
    // x % -1 is 0, but idiv overflows for the least x: divide by 1 instead.
    const safe = s.copyOf(width, b);
    const one = s.fresh();
    s.emit("mov", 64, reg(one), imm(1));
    s.emit("cmp", width, reg(safe), imm(-1));
    s.emit("cmov", width, reg(safe), reg(one), { cond: "e" });
    divisor = reg(safe);
  } else if (value.op === "rem_s" && signed(b.type, b.imm) === -1n) {
    s.emit("mov", 64, reg(to), imm(0));
    return;
  } else divisor = s.sourceNoImmediate(width, b);
  s.copyOf(width, a, RAX);
  if (isSigned) s.emit("cqo", width, undefined, undefined, { uses: [RAX], defs: [RDX] });
  else s.emit("mov", 64, reg(RDX), imm(0));
  s.emit("divide", width, divisor, undefined, { sub: isSigned ? "idiv" : "div", uses: [RAX, RDX], defs: [RAX, RDX] });
  s.emit("copy", 64, reg(to), reg(value.op.startsWith("div") ? RAX : RDX));
}

function emitShift(s: Selection, op: ShiftOp, value: Value, to: Reg): void {
  const width = widthOf(value);
  const [a, b] = value.args as [Value, Value];
  if (b.op === "const") {
    s.copyOf(width, a, to);
    s.emit("shift", width, reg(to), imm(b.imm % BigInt(width)), { sub: op });
    return;
  }
  const count = s.useLow(b);
  s.copyOf(width, a, to);
  s.emit("copy", 64, reg(RCX), reg(count));
  s.emit("shift", width, reg(to), undefined, { sub: op, uses: [RCX] });
}

function emitSelect(s: Selection, value: Value, to: Reg): void {
  const [condition, a, b] = value.args as [Value, Value, Value];
  const width = widthOf(value);
  const whenTrue = s.useFor(width, a);
  const whenFalse = b.op === "const" || b.op === "symbol" ? undefined : s.useFor(width, b);
  const cond = emitCondition(s, condition, condition.block === value.block);
  if (whenFalse === undefined) s.load(to, b);
  else s.emit("copy", 64, reg(to), reg(whenFalse));
  s.emit("cmov", width, reg(to), reg(whenTrue), { cond });
}

function emitLoad(s: Selection, value: Value, to: Reg): void {
  const width = widthOf(value);
  const address = s.address(value);
  if (value.bits === width || (value.bits === 32 && !value.signed)) s.emit("mov", value.bits, reg(to), address);
  else s.emit(value.signed ? "movsx" : "movzx", width, reg(to), address, { from: value.bits as 8 | 16 | 32 });
}

const RMW_ALU: Partial<Record<Op, AluOp>> = { add: "add", sub: "sub", and: "and", or: "or", xor: "xor" };

/** store(load(p) op x, p) in one instruction. */
function emitUpdate(s: Selection, store: Value): boolean {
  const value = store.args[1]!;
  const sub = RMW_ALU[value.op];
  const load = value.args[0];
  if (
    sub === undefined ||
    load === undefined ||
    s.useCount(value) !== 1 ||
    value.block !== store.block ||
    !s.canFold(load)
  )
    return false;
  const [base] = load.args;
  const same =
    base === store.args[0] ||
    (base!.op === "symbol" &&
      store.args[0]!.op === "symbol" &&
      base!.symbol === store.args[0]!.symbol &&
      base!.imm === store.args[0]!.imm);
  if (!same || load.imm !== store.imm || load.bits !== store.bits) return false;
  const operand = value.args[1]!;
  if (operand === load) return false;
  const source = s.immediate(store.bits, operand) ?? reg(s.useFor(store.bits, operand));
  s.absorb(load);
  s.absorb(value);
  s.emit("alu", store.bits, s.address(store), source, { sub });
  return true;
}

function emitStore(s: Selection, value: Value): void {
  if (emitUpdate(s, value)) return;
  const source = s.immediate(value.bits, value.args[1]!) ?? reg(s.useFor(value.bits, value.args[1]!));
  s.emit("mov", value.bits, s.address(value), source);
}

/** Zero-extends what a narrow atomic left in the low bits of `from`. */
function widen(s: Selection, bits: Width, to: Reg, from: Reg): void {
  if (bits === 8 || bits === 16) s.emit("movzx", 32, reg(to), reg(from), { from: bits });
  else s.emit("copy", 64, reg(to), reg(from));
}

function emitRmw(s: Selection, value: Value, to: Reg): void {
  const { bits, atomic } = value;
  const [, operand, replacement] = value.args as [Value, Value, Value | undefined];
  const address = s.address(value);
  const unused = s.useCount(value) === 0;
  if (atomic === "cmpxchg") {
    const next = s.useFor(bits, replacement!);
    s.copyOf(64, operand, RAX);
    s.emit("cmpxchg", bits, address, reg(next), { uses: [RAX], defs: [RAX] });
    widen(s, bits, to, RAX);
  } else if (atomic === "xchg") {
    const t = s.copyOf(bits, operand);
    s.emit("xchg", bits, address, reg(t));
    widen(s, bits, to, t);
  } else if (unused)
    s.emit("lockalu", bits, address, s.immediate(bits, operand) ?? reg(s.useFor(bits, operand)), {
      sub: atomic as AluOp,
    });
  else if (atomic === "add" || atomic === "sub") {
    const t = s.copyOf(bits, operand);
    if (atomic === "sub") s.emit("unary", 64, reg(t), undefined, { sub: "neg" });
    s.emit("lockxadd", bits, address, reg(t));
    widen(s, bits, to, t);
  } else {
    const source = reg(s.useFor(bits, operand));
    const scratch = s.fresh();
    s.emit("undef", 64, reg(scratch));
    s.emit("undef", 64, reg(RAX));
    s.emit("rmwloop", bits, address, source, { sub: atomic as AluOp, c: scratch, uses: [RAX], defs: [RAX] });
    widen(s, bits, to, RAX);
  }
}

/** A call with the System V convention; `target` is a symbol (as memory) or a register. */
function emitCall(s: Selection, value: Value, args: readonly Value[], target: () => Operand, to: Reg): void {
  const stack = args.slice(ARGUMENTS.length);
  s.machine.outgoing = Math.max(s.machine.outgoing, stack.length);
  stack.forEach((arg, i) => {
    const source = s.immediate(64, arg) ?? reg(s.use(arg));
    s.emit("mov", 64, { kind: "mem", stack: "outgoing", disp: i }, source);
  });
  const fixed = args.slice(0, ARGUMENTS.length);
  const through = target();
  const ready = fixed.map((arg) => (arg.op === "const" || arg.op === "symbol" ? undefined : s.use(arg)));
  fixed.forEach((arg, i) => {
    const source = ready[i];
    if (source === undefined) s.load(ARGUMENTS[i]!, arg);
    else s.emit("copy", 64, reg(ARGUMENTS[i]!), reg(source));
  });
  s.emit("call", 64, through, undefined, { uses: ARGUMENTS.slice(0, fixed.length), defs: CALL_CLOBBERED });
  // Foreign code may leave anything in the upper half of a 32-bit result.
  if (value.type === 32 && value.op === "callptr") s.emit("movzx", 32, reg(to), reg(RAX), { from: 32 });
  else if (value.type !== 0) s.emit("copy", 64, reg(to), reg(RAX));
}

/** A call of one of our helpers, which keep every register but those named here. */
function emitHelper(s: Selection, symbol: string, args: readonly Value[]): void {
  const registers = [RDI, RSI, RDX];
  const ready = args.map((arg) => (arg.op === "const" || arg.op === "symbol" ? undefined : s.use(arg)));
  args.forEach((arg, i) => {
    const source = ready[i];
    if (source === undefined) s.load(registers[i]!, arg);
    else s.emit("copy", 64, reg(registers[i]!), reg(source));
  });
  s.emit("call", 64, { kind: "mem", symbol, disp: 0 }, undefined, {
    uses: registers,
    defs: [RAX, RCX, RDX, RSI, RDI, R8],
  });
}

/** Sizes of the pieces, a power of two each, that make up `length` bytes. */
function pieces(length: number): { at: number; size: 1 | 2 | 4 | 8 }[] {
  const out: { at: number; size: 1 | 2 | 4 | 8 }[] = [];
  for (let at = 0; at < length; ) {
    const left = length - at;
    const size = left >= 8 ? 8 : left >= 4 ? 4 : left >= 2 ? 2 : 1;
    out.push({ at, size });
    at += size;
  }
  return out;
}

function emitCopy(s: Selection, value: Value): void {
  const [to, from, length] = value.args as [Value, Value, Value];
  if (length.op !== "const" || length.imm > COPY_LIMIT) {
    emitHelper(s, MEMORY_COPY, value.args);
    return;
  }
  // Everything is read before anything is written: the two may overlap.
  const source = s.use(from);
  const target = s.use(to);
  const loaded = pieces(Number(length.imm)).map((piece) => ({ ...piece, r: s.fresh() }));
  for (const { at, size, r } of loaded) {
    if (size >= 4) s.emit("mov", (size * 8) as Width, reg(r), mem(source, at));
    else s.emit("movzx", 32, reg(r), mem(source, at), { from: (size * 8) as 8 | 16 });
  }
  for (const { at, size, r } of loaded) s.emit("mov", (size * 8) as Width, mem(target, at), reg(r));
}

function emitFill(s: Selection, value: Value): void {
  const [to, byte, length] = value.args as [Value, Value, Value];
  if (length.op !== "const" || length.imm > FILL_LIMIT || byte.op !== "const") {
    emitHelper(s, MEMORY_FILL, value.args);
    return;
  }
  const word = (byte.imm & 0xffn) * 0x0101010101010101n;
  const target = s.use(to);
  let wide: Reg | undefined;
  for (const { at, size } of pieces(Number(length.imm))) {
    if (size === 8 && word !== 0n && wide === undefined) {
      wide = s.fresh();
      s.emit("mov", 64, reg(wide), imm(word));
    }
    const source = size === 8 && wide !== undefined ? reg(wide) : imm(BigInt.asIntN(size * 8, word));
    s.emit("mov", (size * 8) as Width, mem(target, at), source);
  }
}

const NO_FUNCTION = "call of no function of that type";

function emitCallTable(s: Selection, value: Value, to: Reg): void {
  const args = value.args.slice(0, -1);
  const index = value.args.at(-1)!;
  const table = `table${value.symbol}`;
  emitCall(
    s,
    value,
    args,
    () => {
      // An entry is the address of a function and the number of its type; the first 8 bytes hold the size.
      const t = s.copyOf(64, index);
      const start = s.fresh();
      s.emit("cmp", 64, reg(t), { kind: "mem", symbol: table, disp: 0 });
      s.emit("trapif", 64, undefined, undefined, { cond: "ae", reason: NO_FUNCTION });
      s.emit("lea", 64, reg(start), { kind: "mem", symbol: table, disp: 16 });
      s.emit("shift", 64, reg(t), imm(4), { sub: "shl" });
      s.emit("cmp", 64, { kind: "mem", base: start, index: t, scale: 1, disp: 8 }, imm(value.imm));
      s.emit("trapif", 64, undefined, undefined, { cond: "ne", reason: NO_FUNCTION });
      return { kind: "mem", base: start, index: t, scale: 1, disp: 0 };
    },
    to,
  );
}

function emitSyscall(s: Selection, value: Value, to: Reg): void {
  const ready = value.args.map((arg) => (arg.op === "const" || arg.op === "symbol" ? undefined : s.use(arg)));
  value.args.forEach((arg, i) => {
    const source = ready[i];
    if (source === undefined) s.load(SYSCALL_ARGUMENTS[i]!, arg);
    else s.emit("copy", 64, reg(SYSCALL_ARGUMENTS[i]!), reg(source));
  });
  s.emit("syscall", 64, undefined, undefined, { uses: SYSCALL_ARGUMENTS, defs: [RAX, RCX, R11] });
  s.emit("copy", 64, reg(to), reg(RAX));
}

function emitUnary(s: Selection, value: Value, to: Reg): void {
  const a = value.args[0]!;
  const width = widthOf(value);
  switch (value.op) {
    case "clz": {
      // bsr leaves its target alone when there is no bit (AMD; Intel since 2023 in writing): 2w-1 becomes w.
      const source = reg(s.useFor(width, a));
      s.emit("mov", 64, reg(to), imm(2 * width - 1));
      s.emit("scan", width, reg(to), source, { sub: "bsr" });
      s.emit("alu", width, reg(to), imm(width - 1), { sub: "xor" });
      return;
    }
    case "ctz": {
      // Where tzcnt is not known it is bsf, which leaves its target alone when there is no bit.
      const source = reg(s.useFor(width, a));
      s.emit("mov", 64, reg(to), imm(width));
      s.emit("scan", width, reg(to), source, { sub: "tzcnt" });
      return;
    }
    case "popcnt":
      s.emit("popcnt", width, reg(to), s.sourceNoImmediate(width, a), { sub: "popcnt" });
      return;
    case "sext8":
    case "sext16":
      s.emit("movsx", width, reg(to), reg(s.useLow(a)), { from: value.op === "sext8" ? 8 : 16 });
      return;
    case "sext32":
      s.emit("movsx", 64, reg(to), s.foldedLoad(32, a) ?? reg(s.useLow(a)), { from: 32 });
      return;
    default:
      // wrap: the upper half goes.
      s.emit("movzx", 32, reg(to), reg(s.useLow(a)), { from: 32 });
  }
}

/** Emits the instructions that compute `value` into its register, or do its effect. */
export function emitValue(s: Selection, value: Value): void {
  const { op, args } = value;
  const to = value.type === 0 ? -1 : s.regOf(value);
  const shift = SHIFTS[op];
  if (shift !== undefined) {
    emitShift(s, shift, value, to);
    return;
  }
  if (isCompare(op)) {
    s.emit("mov", 64, reg(to), imm(0));
    const cond = emitCompare(s, value);
    s.emit("setcc", 8, reg(to), undefined, { cond });
    return;
  }
  switch (op) {
    case "add":
      emitAdd(s, value, to);
      return;
    case "sub":
    case "and":
    case "or":
    case "xor":
      if (op === "sub" && args[0]!.op === "const" && args[0]!.imm === 0n) {
        s.copyOf(widthOf(value), args[1]!, to);
        s.emit("unary", widthOf(value), reg(to), undefined, { sub: "neg" });
      } else emitAlu(s, op, value, to);
      return;
    case "mul":
      emitMul(s, value, to);
      return;
    case "div_s":
    case "div_u":
    case "rem_s":
    case "rem_u":
      emitDivide(s, value, to);
      return;
    case "select":
      emitSelect(s, value, to);
      return;
    case "load":
      emitLoad(s, value, to);
      return;
    case "store":
      emitStore(s, value);
      return;
    case "xstore": {
      const t = s.copyOf(value.bits, args[1]!);
      s.emit("xchg", value.bits, s.address(value), reg(t));
      return;
    }
    case "rmw":
      emitRmw(s, value, to);
      return;
    case "call":
      emitCall(s, value, args, () => ({ kind: "mem", symbol: value.symbol, disp: 0 }), to);
      return;
    case "callptr":
      s.machine.aligned = true;
      emitCall(s, value, args.slice(1), () => reg(s.use(args[0]!)), to);
      return;
    case "calltable":
      emitCallTable(s, value, to);
      return;
    case "copy":
      emitCopy(s, value);
      return;
    case "fill":
      emitFill(s, value);
      return;
    case "syscall":
      emitSyscall(s, value, to);
      return;
    case "rdtsc": {
      const high = s.fresh();
      s.emit("rdtsc", 64, undefined, undefined, { defs: [RAX, RDX] });
      s.emit("copy", 64, reg(high), reg(RDX));
      s.emit("shift", 64, reg(high), imm(32), { sub: "shl" });
      s.emit("copy", 64, reg(to), reg(RAX));
      s.emit("alu", 64, reg(to), reg(high), { sub: "or" });
      return;
    }
    case "pause":
      s.emit("pause", 64);
      return;
    case "fence":
      s.emit("mfence", 64);
      return;
    case "wrgsbase":
      s.emit("wrgsbase", 64, reg(s.use(args[0]!)));
      return;
    case "rdfsbase":
      s.emit("rdfsbase", 64, reg(to));
      return;
    case "gsload":
      s.emit("mov", 64, reg(to), { kind: "mem", gs: true, disp: Number(value.imm) });
      return;
    case "gsstore": {
      const source = s.immediate(64, args[0]!) ?? reg(s.use(args[0]!));
      s.emit("mov", 64, { kind: "mem", gs: true, disp: Number(value.imm) }, source);
      return;
    }
    case "gsxadd":
    case "gsxchg":
      s.copyOf(64, args[0]!, to);
      s.emit(op === "gsxadd" ? "xadd" : "xchg", 64, { kind: "mem", gs: true, disp: Number(value.imm) }, reg(to));
      return;
    default:
      emitUnary(s, value, to);
  }
}
