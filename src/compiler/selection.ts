/** The state of instruction selection, and the matching of operands: registers, constants, memory, addresses. */
import type { Block, Environment, Func, Value } from "./ir.ts";
import { isPure, signed } from "./ir.ts";
import {
  type Inst,
  imm,
  type MachineFunc,
  type MachineOp,
  type MemRef,
  type Operand,
  type Reg,
  reg,
  type VariableAt,
} from "./machine.ts";
import type { Scale, Width } from "./x64.ts";

const MEMORY_OPS: ReadonlySet<string> = new Set(["load", "store", "xstore", "rmw"]);

export const fitsInt32 = (value: bigint): boolean => BigInt.asIntN(32, value) === value;

export class Selection {
  readonly func: Func;
  readonly machine: MachineFunc;
  readonly #regs = new Map<Value, Reg>();
  readonly #needed = new Set<Value>();
  readonly #folded = new Set<Value>();
  readonly #uses = new Map<Value, { readonly by: Value | undefined; readonly index: number }[]>();
  /** Number of effects before a value in its block. */
  readonly #effects = new Map<Value, number>();
  #group: Inst[] = [];
  /** The block, and the number of effects in it, before the place for which code is made. */
  #block: Block | undefined;
  #effectsBefore = 0;
  #env: Environment | undefined;
  readonly #environments = new Map<Inst, Environment>();
  #foldLoads = true;
  at = 0;

  constructor(func: Func, machine: MachineFunc) {
    this.func = func;
    this.machine = machine;
    for (const block of func.blocks) {
      let effects = 0;
      for (const value of block.values) {
        this.#effects.set(value, effects);
        if (value.op !== "phi" && !isPure(value)) effects++;
        value.args.forEach((arg, index) => {
          this.#note(arg, value, index);
        });
      }
      block.end.args.forEach((arg, index) => {
        this.#note(arg, undefined, index);
      });
    }
  }

  #note(value: Value, by: Value | undefined, index: number): void {
    const uses = this.#uses.get(value);
    if (uses === undefined) this.#uses.set(value, [{ by, index }]);
    else uses.push({ by, index });
  }

  // ── Where we are ─────────────────────────────────────────────────────────────────────────────────────────────────

  /** Starts a group of instructions for `value`, or for the end of `block`. */
  begin(block: Block, value: Value | undefined): void {
    this.#group = [];
    this.#block = block;
    this.at = value?.at ?? block.end.at;
    this.#env = (value ?? block.end).env;
    this.#effectsBefore =
      value === undefined ? block.values.filter((v) => v.op !== "phi" && !isPure(v)).length : this.#effects.get(value)!;
  }

  /** The instructions of the group. */
  take(): Inst[] {
    return this.#group;
  }

  /** Goes back to an earlier group. */
  resume(group: Inst[]): void {
    this.#group = group;
  }

  emit(op: MachineOp, width: Width, a?: Operand, b?: Operand, more: Partial<Inst> = {}): void {
    const inst = { op, width, a, b, at: this.at, ...more };
    this.#group.push(inst);
    if (this.#env !== undefined) this.#environments.set(inst, this.#env);
  }

  /** Tells the instructions where the variables are, as far as they have got registers. */
  settle(): void {
    const done = new Map<Environment, VariableAt[]>();
    for (const [inst, env] of this.#environments) {
      const places = done.get(env) ?? env.map((value) => value && this.#placeOf(value));
      done.set(env, places);
      inst.variables = places;
    }
  }

  #placeOf(value: Value): VariableAt {
    if (value.op === "const") return { constant: value.imm };
    if (value.op === "param") return { parameter: Number(value.imm) };
    if (value.op === "wrap" || value.op === "zext32") return this.#regs.get(value) ?? this.#placeOf(value.args[0]!);
    return this.#regs.get(value);
  }

  fresh(): Reg {
    return this.machine.registers++;
  }

  // ── Values ───────────────────────────────────────────────────────────────────────────────────────────────────────

  useCount(value: Value): number {
    return this.#uses.get(value)?.length ?? 0;
  }

  /** `value` only ever decides: branches and selects. */
  isDecision(value: Value): boolean {
    return this.#uses.get(value)!.every(({ by, index }) => by === undefined || (by.op === "select" && index === 0));
  }

  /** Somebody wants `value` in its register, or it has an effect that no other instruction includes. */
  isWanted(value: Value): boolean {
    return !this.#folded.has(value) && (this.#needed.has(value) || (value.op !== "phi" && !isPure(value)));
  }

  /** The instruction made for the current place does the work of `value` too. */
  absorb(value: Value): void {
    this.#folded.add(value);
  }

  /** The register that holds `value` (not a constant). */
  regOf(value: Value): Reg {
    this.#needed.add(value);
    let r = this.#regs.get(value);
    if (r === undefined) {
      r = this.fresh();
      this.#regs.set(value, r);
    }
    return r;
  }

  /** A register that holds `value`, zero-extended. */
  use(value: Value): Reg {
    if (value.op === "zext32") return this.use(value.args[0]!);
    if (value.op !== "const" && value.op !== "symbol") return this.regOf(value);
    const r = this.fresh();
    this.load(r, value);
    return r;
  }

  /** Puts `value` into register `r`. */
  load(r: Reg, value: Value): void {
    if (value.op === "const") this.emit("mov", 64, reg(r), imm(value.imm));
    else if (value.op === "symbol")
      this.emit("lea", 64, reg(r), { kind: "mem", symbol: value.symbol, disp: Number(value.imm) });
    else this.emit("copy", 64, reg(r), reg(this.use(value)));
  }

  /** A register whose low 32 bits are those of `value`; for instructions of 32 bits and less. */
  useLow(value: Value): Reg {
    return value.op === "wrap" || value.op === "zext32" ? this.useLow(value.args[0]!) : this.use(value);
  }

  useFor(width: Width, value: Value): Reg {
    return width === 64 ? this.use(value) : this.useLow(value);
  }

  /** A copy of `value` that may be modified. */
  copyOf(width: Width, value: Value, to: Reg = this.fresh()): Reg {
    if (value.op === "const" || value.op === "symbol") this.load(to, value);
    else this.emit("copy", 64, reg(to), reg(this.useFor(width, value)));
    return to;
  }

  /** A constant that an instruction of `width` can hold, or undefined. */
  immediate(width: Width, value: Value): Operand | undefined {
    if (value.op !== "const") return undefined;
    // In 64 bits an i32 is zero-extended: the upper half of a negative one cannot come from a sign-extended immediate.
    const number = width === 64 && value.type === 32 ? BigInt.asUintN(32, value.imm) : BigInt.asIntN(width, value.imm);
    return fitsInt32(number) ? imm(number) : undefined;
  }

  /** `value` as a source operand of `width` bits: constant, memory or register. */
  source(width: Width, value: Value): Operand {
    return this.immediate(width, value) ?? this.foldedLoad(width, value) ?? reg(this.useFor(width, value));
  }

  /** As `source`, but no constant. */
  sourceNoImmediate(width: Width, value: Value): Operand {
    return this.foldedLoad(width, value) ?? reg(this.useFor(width, value));
  }

  /** Runs `make`, whose code may be made more than once: it must not do the work of loads. */
  withoutFolding<T>(make: () => T): T {
    this.#foldLoads = false;
    const result = make();
    this.#foldLoads = true;
    return result;
  }

  /** Whether the load `value` may be done by the instruction made for the current place. */
  canFold(value: Value): boolean {
    return (
      this.#foldLoads &&
      value.op === "load" &&
      this.useCount(value) === 1 &&
      value.block === this.#block &&
      this.#effects.get(value)! + 1 === this.#effectsBefore
    );
  }

  /** The memory that `value` is loaded from, if the current instruction can read it itself at `width`. */
  foldedLoad(width: Width, value: Value): MemRef | undefined {
    const load = width < 64 && value.op === "wrap" && this.useCount(value) === 1 ? value.args[0]! : value;
    if (!this.canFold(load) || load.bits !== width) return undefined;
    this.absorb(load);
    return this.address(load);
  }

  // ── Addresses ────────────────────────────────────────────────────────────────────────────────────────────────────

  /** All uses of `value` are as the address of a load or store. */
  #isAddressOnly(value: Value): boolean {
    return this.#uses.get(value)!.every(({ by, index }) => by !== undefined && index === 0 && MEMORY_OPS.has(by.op));
  }

  #mayMerge(value: Value): boolean {
    return this.useCount(value) === 1 || this.#isAddressOnly(value);
  }

  /** The address of a load, store or read-modify-write. */
  address(access: Value): MemRef {
    return this.addressOf(access.args[0]!, signed(64, access.imm));
  }

  addressOf(value: Value, offset: bigint, top = false): MemRef {
    let disp = offset;
    let rest = value;
    for (let first = top; rest.op === "add" && (first || this.#mayMerge(rest)); first = false) {
      const constant = rest.args[1]!;
      if (constant.op !== "const" || !fitsInt32(disp + signed(64, constant.imm))) break;
      disp += signed(64, constant.imm);
      rest = rest.args[0]!;
    }
    if (rest.op === "const" && fitsInt32(signed(64, rest.imm) + disp))
      return { kind: "mem", disp: Number(signed(64, rest.imm) + disp) };
    if (!fitsInt32(disp)) {
      const big = this.fresh();
      this.emit("mov", 64, reg(big), imm(disp));
      return { kind: "mem", base: this.use(rest), index: big, scale: 1, disp: 0 };
    }
    if (rest.op === "symbol" && fitsInt32(rest.imm + disp))
      return { kind: "mem", symbol: rest.symbol, disp: Number(rest.imm + disp) };
    if (rest.op === "add" && rest.type === 64 && ((top && rest === value) || this.#mayMerge(rest))) {
      const [x, y] = rest.args as [Value, Value];
      const scaledY = this.#scaled(y);
      const scaledX = scaledY === undefined ? this.#scaled(x) : undefined;
      const [base, index] = scaledX === undefined ? [x, y] : [y, x];
      const scaled = scaledX ?? scaledY;
      const inner = this.#constantPart(base, disp);
      return {
        kind: "mem",
        base: this.use(inner.rest),
        index: this.use(scaled?.value ?? index),
        scale: scaled?.scale ?? 1,
        disp: Number(inner.disp),
      };
    }
    const scaled = this.#scaled(rest);
    if (scaled !== undefined && this.#mayMerge(rest))
      return { kind: "mem", index: this.use(scaled.value), scale: scaled.scale, disp: Number(disp) };
    return { kind: "mem", base: this.use(rest), disp: Number(disp) };
  }

  /** Splits `x + constant`, where that helps. */
  #constantPart(value: Value, disp: bigint): { rest: Value; disp: bigint } {
    const constant = value.args[1];
    if (value.op !== "add" || constant?.op !== "const" || !this.#mayMerge(value)) return { rest: value, disp };
    const sum = disp + signed(64, constant.imm);
    return fitsInt32(sum) ? { rest: value.args[0]!, disp: sum } : { rest: value, disp };
  }

  #scaled(value: Value): { value: Value; scale: Scale } | undefined {
    const count = value.args[1];
    if (value.op !== "shl" || value.type !== 64 || count?.op !== "const" || count.imm > 3n || count.imm === 0n)
      return undefined;
    return { value: value.args[0]!, scale: (1 << Number(count.imm)) as Scale };
  }
}
