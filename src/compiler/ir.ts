/**
 * The intermediate representation: values in static single assignment form over a graph of basic blocks. A value is 32
 * or 64 bits wide; a 32-bit value is always kept zero-extended in its register.
 */
import type { AtomicOp, BinaryOp, CompareOp, IntType, UnaryOp } from "./opcodes.ts";

export type { BinaryOp, CompareOp, IntType, UnaryOp };
export type Bits = 8 | 16 | 32 | 64;

/**
 * Operations. Pure unless marked: M reads memory, ! has an effect (or traps) and stays where it is.
 * - `const` imm; `symbol` name + imm (an address): both are in no block's list, and made where they are used; `param` number imm; `phi` one argument a predecessor
 * - `select` condition, then, else
 * - `load` (!) address + imm, `bits` read, `signed`; `store` (!) address + imm, value; `xstore` the same, sequentially
 *   consistent; `rmw` (!) `atomic` address + imm, value (cmpxchg: expected, new): the old value
 * - `call` (!) symbol; `calltable` (!) table index last, `imm` its type number + 1; `callptr` (!) address first
 * - `copy` (!) to, from, length; `fill` (!) to, byte, length
 * - `syscall` (!) number and six arguments; `rdtsc` (!), `pause` (!), `fence` (!)
 * - `gsload`, `gsstore`, `gsxadd`, `gsxchg` (!) at gs:imm; `wrgsbase` (!); `rdfsbase` (!)
 */
export type Op =
  | BinaryOp
  | CompareOp
  | UnaryOp
  | "const"
  | "symbol"
  | "param"
  | "phi"
  | "select"
  | "load"
  | "store"
  | "xstore"
  | "rmw"
  | "call"
  | "calltable"
  | "callptr"
  | "copy"
  | "fill"
  | "syscall"
  | "rdtsc"
  | "pause"
  | "fence"
  | "gsload"
  | "gsstore"
  | "gsxadd"
  | "gsxchg"
  | "wrgsbase"
  | "rdfsbase";

export interface Value {
  readonly id: number;
  op: Op;
  /** Width of the result; 0 for none. */
  type: IntType | 0;
  args: Value[];
  imm: bigint;
  bits: Bits;
  signed: boolean;
  atomic: AtomicOp | undefined;
  symbol: string;
  block: Block;
  /** Offset of the WebAssembly instruction it comes from. */
  at: number;
  env: Environment | undefined;
}

/**
 * The values of the function's variables before an instruction, for debuggers. They are no uses: a value that nothing
 * else needs is dropped all the same, and the variable is then lost.
 */
export type Environment = readonly (Value | undefined)[];

/** The end of a block. `targets` has no block twice, except that it may be empty. */
export interface Terminator {
  /** branch: to targets[0] if the argument is not zero, else targets[1]. switch: to targets[cases[argument]]. */
  kind: "jump" | "branch" | "switch" | "return" | "trap";
  args: Value[];
  targets: Block[];
  /** For a switch: index into `targets` by value; the last one is for all greater values. */
  cases: number[];
  at: number;
  env?: Environment | undefined;
  /** For a trap. */
  reason?: TrapReason;
}

/** Why code traps; the text is that of the message. */
export type TrapReason =
  | "unreachable code is reached"
  | "division by zero"
  | "division overflow"
  | "call of no function of that type"
  | "memory access out of bounds";

export interface Block {
  readonly id: number;
  /** Phis first. */
  values: Value[];
  end: Terminator;
  /** Without duplicates; the arguments of phis are in this order. */
  preds: Block[];
}

export interface Func {
  readonly name: string;
  readonly params: readonly IntType[];
  readonly result: IntType | 0;
  /** Called from outside: the upper halves of 32-bit arguments are unknown. */
  readonly exported: boolean;
  /** The first is the entry; it has no predecessors. */
  blocks: Block[];
  nextValue: number;
  nextBlock: number;
}

const EFFECTS: ReadonlySet<Op> = new Set<Op>([
  "load",
  "store",
  "xstore",
  "rmw",
  "call",
  "calltable",
  "callptr",
  "copy",
  "fill",
  "syscall",
  "rdtsc",
  "pause",
  "fence",
  "gsload",
  "gsstore",
  "gsxadd",
  "gsxchg",
  "wrgsbase",
  "rdfsbase",
]);

const DIVISIONS: ReadonlySet<Op> = new Set<Op>(["div_s", "div_u", "rem_s", "rem_u"]);

export const isCompare = (op: Op): op is CompareOp => op === "eq" || op === "ne" || /^[lg][te]_[su]$/.test(op);

/** A division traps where its divisor may be zero, or -1 (signed quotient). */
export function isPure(value: Value): boolean {
  if (EFFECTS.has(value.op)) return false;
  if (!DIVISIONS.has(value.op)) return true;
  const divisor = value.args[1]!;
  return (
    divisor.op === "const" &&
    divisor.imm !== 0n &&
    (value.op !== "div_s" || BigInt.asIntN(divisor.type || 64, divisor.imm) !== -1n)
  );
}

export function newBlock(func: Func): Block {
  const block: Block = {
    id: func.nextBlock++,
    values: [],
    end: { kind: "trap", args: [], targets: [], cases: [], at: 0 },
    preds: [],
  };
  func.blocks.push(block);
  return block;
}

export type ValueFields = Partial<Pick<Value, "imm" | "bits" | "signed" | "atomic" | "symbol" | "at" | "env">>;

/** A value that is not yet in its block's list. */
export function makeValue(
  func: Func,
  block: Block,
  op: Op,
  type: IntType | 0,
  args: Value[],
  fields: ValueFields = {},
): Value {
  return {
    id: func.nextValue++,
    op,
    type,
    args,
    imm: fields.imm ?? 0n,
    bits: fields.bits ?? 64,
    signed: fields.signed ?? false,
    atomic: fields.atomic,
    symbol: fields.symbol ?? "",
    block,
    at: fields.at ?? 0,
    env: fields.env,
  };
}

export function append(
  func: Func,
  block: Block,
  op: Op,
  type: IntType | 0,
  args: Value[],
  fields?: ValueFields,
): Value {
  const value = makeValue(func, block, op, type, args, fields);
  block.values.push(value);
  return value;
}

/** A constant; it belongs to no block's list. */
export const constant = (func: Func, type: IntType, imm: bigint | number): Value =>
  makeValue(func, func.blocks[0]!, "const", type, [], { imm: truncate(type, BigInt(imm)) });

/** The address of a symbol; it belongs to no block's list. */
export const symbolAddress = (func: Func, symbol: string, addend = 0n): Value =>
  makeValue(func, func.blocks[0]!, "symbol", 64, [], { symbol, imm: addend });

/** Constants are kept as unsigned numbers of their width. */
export const truncate = (type: IntType | 0, value: bigint): bigint => BigInt.asUintN(type === 32 ? 32 : 64, value);
export const signed = (type: IntType | 0, value: bigint): bigint => BigInt.asIntN(type === 32 ? 32 : 64, value);

export const phis = (block: Block): Value[] => {
  const end = block.values.findIndex((value) => value.op !== "phi");
  return end < 0 ? block.values : block.values.slice(0, end);
};

/** Removes the edge `from` → `to` on the side of `to`. */
export function removePred(to: Block, from: Block): void {
  const index = to.preds.indexOf(from);
  to.preds.splice(index, 1);
  for (const phi of phis(to)) phi.args.splice(index, 1);
}

/** Text of a function, for tests and for looking at it. */
export function print(func: Func): string {
  const ref = (value: Value): string =>
    value.op === "const"
      ? `${signed(value.type, value.imm)}`
      : value.op === "symbol"
        ? `&${value.symbol}+${value.imm}`
        : `v${value.id}`;
  const line = (v: Value): string => {
    const memory = v.op === "load" || v.op === "store" || v.op === "xstore" || v.op === "rmw";
    const detail = [
      v.op === "phi" || v.type === 0 ? "" : `i${v.type}`,
      v.atomic ?? "",
      memory ? `${v.signed ? "s" : "u"}${v.bits}` : "",
      v.imm !== 0n ? `#${v.imm}` : "",
      v.symbol,
    ].filter((part) => part !== "");
    return `  ${v.type === 0 ? "" : `v${v.id} = `}${[v.op, ...detail].join(" ")} ${v.args.map(ref).join(", ")}`.trimEnd();
  };
  const blocks = func.blocks.map((block) => {
    const { kind, args, targets, cases } = block.end;
    const end = [
      kind,
      ...args.map(ref),
      ...targets.map((t) => `b${t.id}`),
      ...(kind === "switch" ? [`[${cases}]`] : []),
    ];
    return [
      `b${block.id}: ; from ${block.preds.map((p) => `b${p.id}`).join(" ")}`,
      ...block.values.map(line),
      `  ${end.join(" ")}`,
    ].join("\n");
  });
  return `${func.name}(${func.params.map((t) => `i${t}`).join(", ")})${func.result ? `: i${func.result}` : ""}\n${blocks.join("\n")}\n`;
}
