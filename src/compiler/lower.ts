/** WebAssembly to the intermediate representation: one function at a time, straight into SSA form. */
import { WasmRefusal } from "./diagnostics.ts";
import { INTRINSICS } from "./intrinsics.ts";
import {
  append,
  type BinaryOp,
  type Block,
  constant,
  type Environment,
  type Func,
  type IntType,
  newBlock,
  symbolAddress,
  type TrapReason,
  type Value,
  type ValueFields,
} from "./ir.ts";
import { atomicRmw, isFloat, LOADS, numeric, STORES } from "./opcodes.ts";
import { decodeBody, type FuncType, I32, I64, type Instr, type WasmModule } from "./wasm.ts";

/** What lowering needs to know of the module around a function. */
export interface ModuleContext {
  readonly module: WasmModule;
  /** Added to every address: where the linear memory's address 0 lies. 0 when memory is the address space. */
  readonly memoryBase: bigint;
  /** Traps of divisions and memory accesses are explicit; else the processor's faults stand for them. */
  readonly explicitTraps: boolean;
  /** Bytes of linear memory that may be accessed, from address 0 of the module on; unlimited if not given. */
  readonly memoryLimit: bigint | undefined;
  /** Symbol of a defined function, by function index (imports included). */
  readonly functionSymbol: (index: number) => string;
  readonly isExported: (index: number) => boolean;
  /** A mutable global is a variable; an immutable one a constant or an address. */
  readonly global: (index: number) => GlobalUse;
  /** If the constant at this offset of the module is an address in static data: symbol and addend. */
  readonly address: (instr: Instr) => { readonly symbol: string; readonly addend: bigint } | undefined;
  /** The NUL-terminated copy of the string object at this address of static data. `at`: the call, for messages. */
  readonly cstring: (at: number, addend: bigint) => { readonly symbol: string; readonly addend: bigint };
  /** One number for all equal function types. */
  readonly typeNumber: (index: number) => number;
}

export type GlobalUse =
  | { readonly kind: "variable"; readonly type: IntType; readonly symbol: string }
  | { readonly kind: "constant"; readonly type: IntType; readonly value: bigint }
  | { readonly kind: "address"; readonly symbol: string; readonly addend: bigint };

interface Edge {
  readonly from: Block;
  readonly locals: readonly Value[];
  readonly results: readonly Value[];
}

interface Frame {
  readonly kind: "block" | "loop" | "if" | "function";
  readonly type: FuncType;
  /** Height of the operand stack below the block's parameters. */
  readonly height: number;
  /** Where a branch to this frame goes; for all but loops made when needed. */
  readonly target: Block;
  readonly edges: Edge[];
  /** For a loop: its phis, for the assigned locals and the parameters. */
  readonly loopLocals: readonly number[];
  /** For an if: the block of the else arm, until `else` is seen. */
  elseBlock: Block | undefined;
  readonly elseState: { readonly locals: readonly Value[]; readonly params: readonly Value[] } | undefined;
}

export function intType(type: number | undefined, at: number): IntType {
  if (type === I32) return 32;
  if (type === I64) return 64;
  throw new WasmRefusal(
    "a value that is not an integer (floating point, vector or reference)",
    at,
    "use integers only: a hook must not touch the program's vector registers",
  );
}

/** For each loop (by its index in `code`) the locals that are assigned inside it. */
function assignedInLoops(code: readonly Instr[]): Map<number, Set<number>> {
  const out = new Map<number, Set<number>>();
  const open: (Set<number> | undefined)[] = [];
  code.forEach(({ op, index }, i) => {
    if (op === 0x02 || op === 0x04) open.push(undefined);
    else if (op === 0x03) {
      const assigned = new Set<number>();
      out.set(i, assigned);
      open.push(assigned);
    } else if (op === 0x0b) open.pop();
    else if (op === 0x21 || op === 0x22) for (const assigned of open) assigned?.add(index!);
  });
  return out;
}

class Lowering {
  readonly #context: ModuleContext;
  readonly #module: WasmModule;
  readonly #func: Func;
  readonly #assigned: Map<number, Set<number>>;
  /** The locals that debuggers are told about. */
  readonly #variables: readonly number[];
  /** The zeros that locals have before the first assignment. */
  readonly #initial = new Set<Value>();
  #env: Environment | undefined;
  readonly #frames: Frame[] = [];
  #stack: Value[] = [];
  #locals: Value[] = [];
  /** Undefined in unreachable code. */
  #block: Block | undefined;
  #at = 0;

  constructor(
    context: ModuleContext,
    func: Func,
    type: FuncType,
    localTypes: readonly number[],
    code: readonly Instr[],
    variables: readonly number[],
  ) {
    this.#variables = variables;
    this.#context = context;
    this.#module = context.module;
    this.#func = func;
    this.#assigned = assignedInLoops(code);
    const entry = newBlock(func);
    this.#block = entry;
    this.#locals = func.params.map((param, i) => append(func, entry, "param", param, [], { imm: BigInt(i) }));
    for (const local of localTypes) {
      const zero = this.#const(local === I32 ? 32 : intType(local, code[0]?.at ?? 0), 0n);
      this.#initial.add(zero);
      this.#locals.push(zero);
    }
    this.#open("function", { params: [], results: type.results }, newBlock(func));
    this.#run(code);
  }

  #const(type: IntType, value: bigint): Value {
    return constant(this.#func, type, value);
  }

  #emit(op: Value["op"], type: IntType | 0, args: Value[], fields: ValueFields = {}): Value {
    return append(this.#func, this.#block!, op, type, args, { ...fields, at: this.#at, env: this.#env });
  }

  /** Notes the variables before an instruction. What ends several ways has no one state. */
  #observe(isEnd: boolean): void {
    const now = this.#variables.map((local) => {
      const value = this.#locals[local];
      return isEnd || value === undefined || this.#initial.has(value) ? undefined : value;
    });
    if (!now.every((value, i) => value === this.#env?.[i])) this.#env = now;
  }

  #push(value: Value): void {
    this.#stack.push(value);
  }

  #pop(): Value {
    return this.#stack.pop()!;
  }

  #popMany(count: number): Value[] {
    return count === 0 ? [] : this.#stack.splice(-count);
  }

  #refuse(message: string, fix?: string): never {
    throw new WasmRefusal(message, this.#at, fix);
  }

  // ── Control ──────────────────────────────────────────────────────────────────────────────────────────────────────

  #run(code: readonly Instr[]): void {
    let skipped = 0;
    code.forEach((instr, i) => {
      const { op } = instr;
      this.#at = instr.at;
      if (this.#block === undefined) {
        if (op === 0x02 || op === 0x03 || op === 0x04) skipped++;
        else if (op === 0x0b && skipped > 0) skipped--;
        else if (skipped === 0 && op === 0x0b) this.#end();
        else if (skipped === 0 && op === 0x05) this.#else();
        return;
      }
      this.#observe(op === 0x0b);
      if (!this.#control(instr, i)) this.#plain(instr);
    });
  }

  #control(instr: Instr, index: number): boolean {
    switch (instr.op) {
      case 0x02:
        this.#open("block", instr.block!, newBlock(this.#func));
        return true;
      case 0x03:
        this.#loop(instr.block!, index);
        return true;
      case 0x04:
        this.#if(instr.block!);
        return true;
      case 0x05:
        this.#else();
        return true;
      case 0x0b:
        this.#end();
        return true;
      case 0x00:
        this.#finish("trap", [], []);
        return true;
      case 0x0c:
        this.#jump(instr.index!);
        return true;
      case 0x0d:
        this.#branchIf(instr.index!);
        return true;
      case 0x0e:
        this.#branchTable(instr.targets!);
        return true;
      case 0x0f:
        this.#jump(this.#frames.length - 1);
        return true;
      default:
        return false;
    }
  }

  #open(kind: Frame["kind"], type: FuncType, target: Block, more: Partial<Frame> = {}): void {
    const height = this.#stack.length - type.params.length;
    this.#frames.push({
      kind,
      type,
      height,
      target,
      edges: [],
      loopLocals: [],
      elseBlock: undefined,
      elseState: undefined,
      ...more,
    });
  }

  #loop(type: FuncType, index: number): void {
    const from = this.#block!;
    const header = newBlock(this.#func);
    const loopLocals = [...this.#assigned.get(index)!].sort((a, b) => a - b);
    const params = this.#popMany(type.params.length);
    this.#finish("jump", [], [header]);
    header.preds.push(from);
    this.#block = header;
    const phi = (value: Value): Value => append(this.#func, header, "phi", value.type, [value], { at: this.#at });
    for (const local of loopLocals) this.#locals[local] = phi(this.#locals[local]!);
    for (const param of params) this.#push(phi(param));
    this.#open("loop", type, header, { loopLocals });
  }

  #if(type: FuncType): void {
    const condition = this.#pop();
    const thenBlock = newBlock(this.#func);
    const elseBlock = newBlock(this.#func);
    const from = this.#block!;
    this.#finish("branch", [condition], [thenBlock, elseBlock]);
    thenBlock.preds.push(from);
    elseBlock.preds.push(from);
    this.#block = thenBlock;
    const params = type.params.length === 0 ? [] : this.#stack.slice(-type.params.length);
    this.#open("if", type, newBlock(this.#func), { elseBlock, elseState: { locals: [...this.#locals], params } });
  }

  #else(): void {
    const frame = this.#frames.at(-1)!;
    if (this.#block !== undefined) this.#edge(frame);
    this.#startElse(frame);
  }

  #startElse(frame: Frame): void {
    this.#block = frame.elseBlock;
    this.#locals = [...frame.elseState!.locals];
    this.#stack.length = frame.height;
    this.#stack.push(...frame.elseState!.params);
    frame.elseBlock = undefined;
  }

  #end(): void {
    const frame = this.#frames.at(-1)!;
    if (frame.kind === "loop") {
      this.#frames.pop();
      return;
    }
    if (this.#block !== undefined) this.#edge(frame);
    if (frame.elseBlock !== undefined) {
      this.#startElse(frame);
      this.#edge(frame);
    }
    this.#frames.pop();
    this.#stack.length = frame.height;
    this.#block = undefined;
    if (frame.edges.length === 0) return;
    this.#block = frame.target;
    this.#merge(frame);
    if (frame.kind === "function") this.#finish("return", this.#popMany(frame.type.results.length), []);
  }

  /** The block ends with a jump to `frame`'s target. */
  #edge(frame: Frame): void {
    this.#record(frame, this.#block!);
    this.#finish("jump", [], [frame.target]);
  }

  /** Notes the edge `from` → `frame`'s target, with the state it carries. */
  #record(frame: Frame, from: Block): void {
    const count = frame.kind === "loop" ? frame.type.params.length : frame.type.results.length;
    const results = count === 0 ? [] : this.#stack.slice(-count);
    if (frame.kind === "loop") {
      frame.target.preds.push(from);
      const incoming = [...frame.loopLocals.map((local) => this.#locals[local]!), ...results];
      incoming.forEach((value, i) => {
        frame.target.values[i]!.args.push(value);
      });
    } else frame.edges.push({ from, locals: [...this.#locals], results });
  }

  #merge(frame: Frame): void {
    const { edges, target } = frame;
    target.preds = edges.map((edge) => edge.from);
    const join = (pick: (edge: Edge) => Value): Value => {
      const first = pick(edges[0]!);
      if (edges.every((edge) => pick(edge) === first)) return first;
      return append(this.#func, target, "phi", first.type, edges.map(pick), { at: this.#at });
    };
    this.#locals = edges[0]!.locals.map((_, local) => join((edge) => edge.locals[local]!));
    this.#stack.push(...edges[0]!.results.map((_, i) => join((edge) => edge.results[i]!)));
  }

  #finish(kind: Block["end"]["kind"], args: Value[], targets: Block[], cases: number[] = []): void {
    this.#block!.end = { kind, args, targets, cases, at: this.#at, env: this.#env };
    this.#block = undefined;
  }

  #frame(depth: number): Frame {
    return this.#frames[this.#frames.length - 1 - depth]!;
  }

  #jump(depth: number): void {
    this.#edge(this.#frame(depth));
  }

  #branchIf(depth: number): void {
    const condition = this.#pop();
    const from = this.#block!;
    const next = newBlock(this.#func);
    const side = this.#side(this.#frame(depth), from);
    this.#finish("branch", [condition], [side, next]);
    next.preds.push(from);
    this.#block = next;
  }

  /** A block of its own for one outgoing edge of `from`, so that no two edges join the same two blocks. */
  #side(frame: Frame, from: Block): Block {
    const side = newBlock(this.#func);
    side.preds.push(from);
    const rest = this.#block;
    this.#block = side;
    this.#edge(frame);
    this.#block = rest;
    return side;
  }

  #branchTable(depths: readonly number[]): void {
    const index = this.#pop();
    const from = this.#block!;
    const unique = [...new Set(depths)];
    const sides = unique.map((depth) => this.#side(this.#frame(depth), from));
    this.#finish(
      "switch",
      [index],
      sides,
      depths.map((depth) => unique.indexOf(depth)),
    );
  }

  // ── Everything else ──────────────────────────────────────────────────────────────────────────────────────────────

  #plain(instr: Instr): void {
    const { op } = instr;
    const number = numeric(op);
    if (number !== undefined) {
      this.#numeric(number);
      return;
    }
    const load = LOADS.get(op);
    if (load !== undefined) {
      const [type, bits, signed] = load;
      const address = this.#address(instr, bits);
      this.#push(this.#emit("load", type, [address.base], { imm: address.offset, bits, signed }));
      return;
    }
    const store = STORES.get(op);
    if (store !== undefined) {
      const value = this.#pop();
      const address = this.#address(instr, store[0]);
      this.#emit(store[1] ? "xstore" : "store", 0, [address.base, value], { imm: address.offset, bits: store[0] });
      return;
    }
    const rmw = atomicRmw(op);
    if (rmw !== undefined) {
      const values = this.#popMany(rmw.op === "cmpxchg" ? 2 : 1);
      const address = this.#address(instr, rmw.bits);
      const fields = { imm: address.offset, bits: rmw.bits, atomic: rmw.op };
      this.#push(this.#emit("rmw", rmw.type, [address.base, ...values], fields));
      return;
    }
    if (isFloat(op))
      this.#refuse("floating point", "use integers only: a hook must not touch the program's vector registers");
    this.#other(instr);
  }

  #numeric(number: NonNullable<ReturnType<typeof numeric>>): void {
    switch (number.kind) {
      case "binary": {
        const [a, b] = this.#popMany(2) as [Value, Value];
        if (this.#context.explicitTraps) this.#checkDivision(number.op, number.type, a, b);
        this.#push(this.#emit(number.op, number.type, [a, b]));
        return;
      }
      case "compare": {
        const [a, b] = this.#popMany(2);
        this.#push(this.#emit(number.op, 32, [a!, b!]));
        return;
      }
      case "eqz":
        this.#push(this.#emit("eq", 32, [this.#pop(), this.#const(number.type, 0n)]));
        return;
      case "unary":
        this.#push(this.#emit(number.op, number.type, [this.#pop()]));
    }
  }

  /** Continues only where `condition` is zero. */
  #trapIf(condition: Value, reason: TrapReason): void {
    const from = this.#block!;
    const [trap, next] = [newBlock(this.#func), newBlock(this.#func)];
    trap.end = { kind: "trap", args: [], targets: [], cases: [], at: this.#at, reason };
    this.#finish("branch", [condition], [trap, next]);
    trap.preds.push(from);
    next.preds.push(from);
    this.#block = next;
  }

  #checkDivision(op: BinaryOp, type: IntType, a: Value, b: Value): void {
    if (!/^(div|rem)_/.test(op)) return;
    const equals = (value: Value, number: bigint): Value => this.#emit("eq", 32, [value, this.#const(type, number)]);
    this.#trapIf(equals(b, 0n), "division by zero");
    if (op !== "div_s") return;
    const least = equals(a, -1n << BigInt(type - 1));
    this.#trapIf(this.#emit("and", 32, [equals(b, -1n), least]), "division overflow");
  }

  /** `size` bytes from `base` + `offset` on must lie below the limit. */
  #checkAccess(base: Value, offset: bigint, size: bigint): void {
    const limit = this.#context.memoryLimit;
    if (limit === undefined) return;
    const last = limit - BigInt.asUintN(64, offset) - size;
    const outside = last < 0n ? this.#const(32, 1n) : this.#emit("gt_u", 32, [base, this.#const(64, last)]);
    this.#trapIf(outside, "memory access out of bounds");
  }

  /** `length` bytes from `base` on must lie below the limit. */
  #checkRange(base: Value, length: Value): void {
    const limit = this.#context.memoryLimit;
    if (limit === undefined) return;
    const end = this.#const(64, limit);
    this.#trapIf(this.#emit("gt_u", 32, [length, end]), "memory access out of bounds");
    const last = this.#emit("sub", 64, [end, length]);
    this.#trapIf(this.#emit("gt_u", 32, [base, last]), "memory access out of bounds");
  }

  /** The address on the stack, and the constant to add to it. */
  #address(instr: Instr, bits: number): { base: Value; offset: bigint } {
    const popped = this.#pop();
    const base = this.#wide(popped);
    this.#checkAccess(base, instr.value!, BigInt(bits / 8));
    const fixed = this.#context.address(instr);
    if (fixed !== undefined) {
      const start = symbolAddress(this.#func, fixed.symbol, fixed.addend);
      return { base: this.#emit("add", 64, [base, start]), offset: 0n };
    }
    return { base, offset: this.#context.memoryBase + instr.value! };
  }

  #other(instr: Instr): void {
    const { op } = instr;
    switch (op) {
      case 0x01: // nop
        return;
      case 0x10:
        this.#call(instr);
        return;
      case 0x11:
        this.#callIndirect(instr);
        return;
      case 0x1a: // drop
        this.#pop();
        return;
      case 0x1b: // select
      case 0x1c: {
        const [a, b, condition] = this.#popMany(3);
        this.#push(this.#emit("select", a!.type, [condition!, a!, b!]));
        return;
      }
      case 0x20:
        this.#push(this.#locals[instr.index!]!);
        return;
      case 0x21:
        this.#locals[instr.index!] = this.#pop();
        return;
      case 0x22:
        this.#locals[instr.index!] = this.#stack.at(-1)!;
        return;
      case 0x23:
        this.#globalGet(instr.index!);
        return;
      case 0x24: {
        const use = this.#context.global(instr.index!);
        if (use.kind !== "variable") this.#refuse("assignment to a constant global");
        this.#emit("store", 0, [symbolAddress(this.#func, use.symbol), this.#pop()], { bits: use.type });
        return;
      }
      case 0x41:
      case 0x42: {
        const address = this.#context.address(instr);
        if (address === undefined) this.#push(this.#const(op === 0x41 ? 32 : 64, instr.value!));
        else this.#push(symbolAddress(this.#func, address.symbol, address.addend));
        return;
      }
      case 0xfc0a:
      case 0xfc0b: {
        const [to, second, length] = this.#popMany(3);
        const size = this.#wide(length!);
        const range = (value: Value): Value => this.#range(value, size);
        if (op === 0xfc0a) this.#emit("copy", 0, [range(to!), range(second!), size]);
        else this.#emit("fill", 0, [range(to!), second!, size]);
        return;
      }
      case 0xfe03:
        this.#emit("fence", 0, []);
        return;
      case 0x3f:
      case 0x40:
        this.#refuse("memory.size and memory.grow: there is no heap", "map memory with the mmap system call");
        return;
      default:
        this.#refuse(`WebAssembly instruction 0x${op.toString(16)} is not supported`);
    }
  }

  #wide(value: Value): Value {
    return value.type === 32 ? this.#emit("zext32", 64, [value]) : value;
  }

  /** The address of a range of `length` bytes of linear memory. */
  #range(value: Value, length: Value): Value {
    const wide = this.#wide(value);
    this.#checkRange(wide, length);
    const { memoryBase } = this.#context;
    return memoryBase === 0n ? wide : this.#emit("add", 64, [wide, this.#const(64, memoryBase)]);
  }

  #globalGet(index: number): void {
    const use = this.#context.global(index);
    if (use.kind === "constant") this.#push(this.#const(use.type, use.value));
    else if (use.kind === "address") this.#push(symbolAddress(this.#func, use.symbol, use.addend));
    else this.#push(this.#emit("load", use.type, [symbolAddress(this.#func, use.symbol)], { bits: use.type }));
  }

  #result(type: FuncType): IntType | 0 {
    if (type.results.length > 1) this.#refuse("a function with more than one result");
    return type.results.length === 0 ? 0 : intType(type.results[0], this.#at);
  }

  #call(instr: Instr): void {
    const index = instr.index!;
    const imported = this.#module.imports[index];
    if (imported !== undefined) {
      this.#callImport(imported.module, imported.name, this.#module.types[imported.type]!);
      return;
    }
    const type = this.#module.types[this.#module.functions[index - this.#module.imports.length]!]!;
    const args = this.#popMany(type.params.length);
    const result = this.#result(type);
    const call = this.#emit("call", result, args, { symbol: this.#context.functionSymbol(index) });
    if (result !== 0) this.#push(call);
  }

  #callImport(module: string, name: string, type: FuncType): void {
    const args = this.#popMany(type.params.length);
    if (module === "symbol") {
      this.#push(symbolAddress(this.#func, name));
      return;
    }
    if (module === "zpoline" && name === "cstr") {
      const address = args[0]!;
      if (address.op !== "symbol")
        this.#refuse("the argument of cstr() is not a string literal", "write the literal in the call");
      const { symbol, addend } = this.#context.cstring(this.#at, address.imm);
      this.#push(symbolAddress(this.#func, symbol, addend));
      return;
    }
    const intrinsic = module === "zpoline" ? INTRINSICS.get(name) : undefined;
    if (intrinsic === undefined)
      this.#refuse(`the import "${module}" "${name}" does not exist`, 'import from "zpoline" or "symbol" only');
    const result = this.#result(type);
    let imm = 0n;
    if (intrinsic.offset) {
      const offset = args.shift()!;
      if (offset.op !== "const") this.#refuse(`the offset of ${name} is not a constant`, "write a constant");
      imm = BigInt.asIntN(32, offset.imm);
    }
    const value = this.#emit(intrinsic.op, result, args, { imm });
    if (result !== 0) this.#push(value);
  }

  #callIndirect(instr: Instr): void {
    const type = this.#module.types[instr.index!]!;
    const tableIndex = this.#pop();
    const args = this.#popMany(type.params.length);
    const result = this.#result(type);
    const fields = { imm: BigInt(this.#context.typeNumber(instr.index!) + 1), symbol: String(instr.index2!) };
    const call = this.#emit("calltable", result, [...args, this.#wide(tableIndex)], fields);
    if (result !== 0) this.#push(call);
  }
}

/**
 * Lowers a defined function; `index` counts imports. `variables`: the locals that environments have, in that order.
 * Throws `WasmRefusal`.
 */
export function lowerFunction(context: ModuleContext, index: number, variables: readonly number[] = []): Func {
  const { module } = context;
  const defined = index - module.imports.length;
  const type = module.types[module.functions[defined]!]!;
  const body = module.bodies[defined]!;
  const code = decodeBody(module, body);
  if (type.results.length > 1) throw new WasmRefusal("a function with more than one result", body.start);
  const func: Func = {
    name: context.functionSymbol(index),
    params: type.params.map((param) => intType(param, body.start)),
    result: type.results.length === 0 ? 0 : intType(type.results[0], body.start),
    exported: context.isExported(index),
    blocks: [],
    nextValue: 0,
    nextBlock: 0,
  };
  new Lowering(context, func, type, body.locals, code, variables);
  return func;
}
