/** Machine instructions to bytes: frame, prologue and epilogue with their unwind rows, line rows, jump tables. */
import { forwardJumps, layout, loopHeads } from "./blocks.ts";
import type { SourcePlace } from "./diagnostics.ts";
import { Frame } from "./frame.ts";
import type { TrapReason } from "./ir.ts";
import { type Inst, isReg, type MachineBlock, type MachineFunc, type Operand } from "./machine.ts";
import type { CodeUnit, DataUnit } from "./object.ts";
import { copyTails, hoistMoves } from "./tails.ts";
import { type DeclaredVariables, Variables } from "./variables.ts";
import {
  type AluOp,
  Assembler,
  type Label,
  type Mem,
  negate,
  REGISTERS,
  rax,
  rdi,
  type ScanOp,
  type ShiftOp,
  type UnaryOp,
  type Reg as X64Reg,
} from "./x64.ts";

const READS_FLAGS: ReadonlySet<string> = new Set(["setcc", "cmov", "branch", "trapif"]);
const WRITES_FLAGS: ReadonlySet<string> = new Set([
  "alu",
  "cmp",
  "test",
  "imul",
  "imul3",
  "divide",
  "shift",
  "scan",
  "popcnt",
  "xadd",
  "lockxadd",
  "lockalu",
  "cmpxchg",
  "rmwloop",
  "call",
  "syscall",
]);

/** Whether an instruction after number `index` of `insts` reads the flags that are set before it. */
function flagsAreLive(insts: readonly Inst[], index: number): boolean {
  for (const inst of insts.slice(index + 1)) {
    if (READS_FLAGS.has(inst.op)) return true;
    if (WRITES_FLAGS.has(inst.op)) return false;
  }
  return false;
}

/** Of the first instruction of an innermost loop, in bytes; at most that of a function. */
const LOOP_ALIGNMENT = 16;
/** What a trap does before it stops the program: call `handler` with the address of a message. */
export interface TrapCall {
  readonly handler: string;
  readonly message: { readonly symbol: string; readonly disp: number };
}

export interface GenerateOptions {
  /** Source place of a WebAssembly offset. */
  readonly place: (at: number) => SourcePlace | undefined;
  /** Not given, or no answer: the trap is an undefined instruction and nothing else. */
  readonly trap?: (reason: TrapReason, at: number) => TrapCall | undefined;
  /** For debuggers. */
  readonly variables?: DeclaredVariables;
}

/** Whether the flags of instruction number `index`, a test of a register against itself, are those of the one before. */
function isTested(insts: readonly Inst[], index: number): boolean {
  const test = insts[index]!;
  const before = insts[index - 1];
  const isLogic = before?.op === "alu" && (before.sub === "and" || before.sub === "or" || before.sub === "xor");
  return (
    isLogic &&
    before.width === test.width &&
    [before.a, test.b].every((operand) => isReg(operand) && isReg(test.a) && operand.reg === test.a.reg)
  );
}

export interface Generated {
  readonly code: CodeUnit;
  readonly tables: readonly DataUnit[];
  /** Bytes of stack below the return address, callees not included. */
  readonly frame: number;
  /** Offset of the WebAssembly instruction of a trap that calls a handler, if there is one. */
  readonly trapAt: number | undefined;
}

class Generator {
  readonly #a = new Assembler();
  readonly #func: MachineFunc;
  readonly #labels = new Map<MachineBlock, Label>();
  readonly #frame: Frame;
  readonly #traps: { readonly label: Label; readonly inst: Inst; readonly block: MachineBlock }[] = [];
  readonly #options: GenerateOptions;
  #block: MachineBlock | undefined;
  #trapAt: number | undefined;
  #lastPlace: SourcePlace | undefined;

  constructor(func: MachineFunc, options: GenerateOptions) {
    this.#func = func;
    this.#options = options;
    this.#frame = new Frame(this.#a, func);
  }

  run(): Generated {
    forwardJumps(this.#func);
    hoistMoves(this.#func);
    forwardJumps(this.#func);
    copyTails(this.#func);
    const order = layout(this.#func);
    for (const block of order) this.#labels.set(block, this.#a.label());
    const { variables: declared } = this.#options;
    const variables = declared === undefined ? undefined : new Variables(this.#a, this.#func, declared);
    this.#line(order[0]!.insts[0]?.at ?? 0);
    variables?.enter(order[0]!)(0);
    this.#frame.begin();
    const heads = loopHeads(order);
    order.forEach((block, i) => {
      if (heads.has(block)) this.#a.align(LOOP_ALIGNMENT);
      this.#a.bind(this.#labels.get(block)!);
      this.#frame.enter(block);
      this.#block = block;
      const before = variables?.enter(block);
      block.insts.forEach((inst, index) => {
        this.#line(inst.at);
        before?.(index);
        this.#emit(inst, block.insts, index, order[i + 1]);
      });
    });
    variables?.lose();
    for (const trap of this.#traps) {
      this.#line(trap.inst.at);
      this.#a.bind(trap.label);
      this.#frame.enter(trap.block);
      this.#trap(trap.inst);
    }
    const code = this.#a.finish(this.#func.name);
    return {
      code: variables === undefined ? code : { ...code, ...variables.finish(this.#frame.toCfa) },
      tables: this.#tables(),
      frame: this.#frame.bytes,
      trapAt: this.#trapAt,
    };
  }

  #line(at: number): void {
    const place = this.#options.place(at);
    if (place === undefined || place === this.#lastPlace) return;
    const last = this.#lastPlace;
    this.#lastPlace = place;
    if (last?.file === place.file && last.line === place.line && last.column === place.column) return;
    this.#a.line(place.file, place.line, place.column);
  }

  // ── Operands ─────────────────────────────────────────────────────────────────────────────────────────────────────

  #mem(operand: Operand | undefined): Mem {
    if (operand?.kind !== "mem") throw new Error("not a memory operand");
    if (operand.stack !== undefined) return this.#frame.address(operand);
    return {
      kind: "mem",
      disp: operand.disp,
      ...(operand.base === undefined ? {} : { base: REGISTERS[operand.base]! }),
      ...(operand.index === undefined ? {} : { index: REGISTERS[operand.index]!, scale: operand.scale ?? 1 }),
      ...(operand.symbol === undefined ? {} : { symbol: operand.symbol }),
      ...(operand.gs ? { segment: "gs" as const } : {}),
    };
  }

  #reg(operand: Operand | undefined): X64Reg {
    if (!isReg(operand)) throw new Error("not a register operand");
    return REGISTERS[operand.reg]!;
  }

  #placeOf(operand: Operand | undefined): X64Reg | Mem {
    return isReg(operand) ? this.#reg(operand) : this.#mem(operand);
  }

  #source(operand: Operand | undefined): X64Reg | Mem | bigint {
    return operand?.kind === "imm" ? operand.value : this.#placeOf(operand);
  }

  // ── Instructions ─────────────────────────────────────────────────────────────────────────────────────────────────

  #emit(inst: Inst, insts: readonly Inst[], index: number, next: MachineBlock | undefined): void {
    const a = this.#a;
    const { width, sub } = inst;
    switch (inst.op) {
      case "copy":
        a.mov(64, this.#reg(inst.a), this.#reg(inst.b));
        return;
      case "mov":
        if (isReg(inst.a) && inst.b?.kind === "imm" && inst.b.value === 0n && !flagsAreLive(insts, index))
          a.xor(32, this.#reg(inst.a), this.#reg(inst.a));
        else a.mov(width, this.#placeOf(inst.a), this.#source(inst.b));
        return;
      case "movzx":
        a.movzx(this.#reg(inst.a), inst.from!, this.#placeOf(inst.b));
        return;
      case "movsx":
        a.movsx(width === 64 ? 64 : 32, this.#reg(inst.a), inst.from!, this.#placeOf(inst.b));
        return;
      case "lea":
        this.#lea(inst, flagsAreLive(insts, index));
        return;
      case "alu":
        a.alu(sub as AluOp, width, this.#placeOf(inst.a), this.#source(inst.b));
        return;
      case "lockalu":
        a.lock();
        a.alu(sub as AluOp, width, this.#placeOf(inst.a), this.#source(inst.b));
        return;
      case "cmp":
        if (isReg(inst.a) && inst.b?.kind === "imm" && inst.b.value === 0n)
          a.test(width, this.#reg(inst.a), this.#reg(inst.a));
        else a.cmp(width, this.#placeOf(inst.a), this.#source(inst.b));
        return;
      case "test":
        if (isTested(insts, index)) return;
        // The lowest byte alone has the bits of a small mask.
        if (isReg(inst.a) && inst.b?.kind === "imm" && inst.b.value >= 0n && inst.b.value < 128n)
          a.test(8, this.#reg(inst.a), inst.b.value);
        else a.test(width, this.#placeOf(inst.a), inst.b?.kind === "imm" ? inst.b.value : this.#reg(inst.b));
        return;
      case "imul":
        a.imul(width as 32 | 64, this.#reg(inst.a), this.#placeOf(inst.b));
        return;
      case "imul3":
        a.imul(width as 32 | 64, this.#reg(inst.a), this.#placeOf(inst.b), inst.imm!);
        return;
      case "unary":
      case "divide":
        a.unary(sub as UnaryOp, width, this.#placeOf(inst.a));
        return;
      case "cqo":
        a.op(width === 64 ? "cqo" : "cdq");
        return;
      case "shift":
        a.shift(sub as ShiftOp, width, this.#placeOf(inst.a), inst.b?.kind === "imm" ? Number(inst.b.value) : "cl");
        return;
      case "setcc":
        a.setcc(inst.cond!, this.#placeOf(inst.a));
        return;
      case "cmov":
        a.cmov(inst.cond!, width as 32 | 64, this.#reg(inst.a), this.#placeOf(inst.b));
        return;
      case "scan":
      case "popcnt":
        a.scan(sub as ScanOp, width as 32 | 64, this.#reg(inst.a), this.#placeOf(inst.b));
        return;
      case "xchg":
        a.xchg(width, this.#mem(inst.a), this.#reg(inst.b));
        return;
      case "xadd":
      case "lockxadd":
        if (inst.op === "lockxadd") a.lock();
        a.xadd(width, this.#mem(inst.a), this.#reg(inst.b));
        return;
      case "cmpxchg":
        a.lock();
        a.cmpxchg(width, this.#mem(inst.a), this.#reg(inst.b));
        return;
      case "rmwloop":
        this.#rmwLoop(inst);
        return;
      case "call":
        if (inst.a?.kind === "mem" && inst.a.symbol !== undefined) a.call(inst.a.symbol);
        else a.call(this.#placeOf(inst.a));
        return;
      case "syscall":
      case "rdtsc":
      case "pause":
      case "mfence":
        a.op(inst.op);
        return;
      case "wrgsbase":
      case "rdfsbase":
        a.segmentBase(inst.op, this.#reg(inst.a));
        return;
      case "trapif": {
        const label = a.label();
        this.#traps.push({ label, inst, block: this.#block! });
        a.jcc(inst.cond!, label);
        return;
      }
      case "trap":
        this.#trap(inst);
        return;
      case "undef":
        return;
      case "jump":
        if (inst.targets![0] !== next) a.jmp(this.#labels.get(inst.targets![0]!)!);
        return;
      case "branch": {
        const [then, otherwise] = inst.targets as [MachineBlock, MachineBlock];
        if (then === next) a.jcc(negate(inst.cond!), this.#labels.get(otherwise)!);
        else {
          a.jcc(inst.cond!, this.#labels.get(then)!);
          if (otherwise !== next) a.jmp(this.#labels.get(otherwise)!);
        }
        return;
      }
      case "switch":
        a.jmp(this.#reg(inst.a));
        return;
      case "ret":
        this.#frame.leave();
    }
  }

  /** Handlers do not come back; if one does, the undefined instruction stops the program. */
  #trap(inst: Inst): void {
    const call = this.#options.trap?.(inst.reason!, inst.at);
    if (call !== undefined) {
      this.#trapAt = inst.at;
      this.#a.lea(64, rdi, { kind: "mem", ...call.message });
      this.#a.call(call.handler);
    }
    this.#a.op("ud2");
  }

  /** `lea`, or the shorter instruction that does the same where the flags are free. */
  #lea(inst: Inst, flags: boolean): void {
    const a = this.#a;
    const to = this.#reg(inst.a);
    const from = this.#mem(inst.b);
    const width = inst.width === 64 ? 64 : 32;
    const plain = from.symbol === undefined && from.base !== undefined;
    if (plain && from.index === undefined && from.disp === 0) a.mov(width, to, from.base!);
    else if (plain && !flags && from.index === undefined && from.base === to) a.add(width, to, from.disp);
    else if (
      plain &&
      !flags &&
      from.index !== undefined &&
      from.scale === 1 &&
      from.disp === 0 &&
      (from.base === to || from.index === to)
    )
      a.add(width, to, from.base === to ? from.index : from.base!);
    else a.lea(width, to, from);
  }

  /** rax = old value; memory = rax `sub` b, atomically. */
  #rmwLoop(inst: Inst): void {
    const a = this.#a;
    const scratch = REGISTERS[inst.c!]!;
    const memory = this.#mem(inst.a);
    if (inst.width < 32) a.movzx(rax, inst.width as 8 | 16, memory);
    else a.mov(inst.width, rax, memory);
    const again = a.bind();
    a.mov(64, scratch, rax);
    a.alu(inst.sub as AluOp, inst.width, scratch, this.#source(inst.b));
    a.lock();
    a.cmpxchg(inst.width, memory, scratch);
    a.jcc("ne", again);
  }

  #tables(): DataUnit[] {
    return this.#func.tables.map(({ symbol, targets }) => ({
      name: symbol,
      bytes: new Uint8Array(4 * targets.length),
      size: 4 * targets.length,
      align: 4,
      writable: false,
      // An entry is code - table; a relocation counts from the end of its field.
      relocs: targets.map((target, i) => ({
        at: 4 * i,
        kind: "rel32" as const,
        symbol: this.#func.name,
        addend: this.#a.offsetOf(this.#labels.get(target)!) + 4 * i + 4,
      })),
    }));
  }
}

/** Generates the code of `func`, whose registers are allocated. */
export const generate = (func: MachineFunc, options: GenerateOptions): Generated => new Generator(func, options).run();
