/**
 * The x86-64 assembler: one method an instruction, destination first, operand width in bits where there is a choice.
 * Encodings are those of the SDM volume 2. Of the vector and x87 instructions it knows those that save and restore state
 * (compiled code has none of them), and no string instruction.
 */
import { ByteWriter } from "../elf/bytes.ts";
import type { CodeUnit, ContextRow, LineRow, Reloc, UnwindRow } from "./object.ts";
import { CONDITIONS, type Cond, type Label, type Mem, type Reg, type Width } from "./operands.ts";
import { ALIGN_RAW, type Align, BRANCH_RAW, type Branch, relax } from "./relax.ts";

export * from "./operands.ts";

/** Two-operand arithmetic, by its number in opcodes 00–3f and the group of 80/81/83. */
const ALU = ["add", "or", "adc", "sbb", "and", "sub", "xor", "cmp"] as const;
export type AluOp = (typeof ALU)[number];

/** One-operand arithmetic, by its number in the group of f6/f7 (mul, imul, div, idiv: rdx:rax by the operand). */
const UNARY = { not: 2, neg: 3, mul: 4, imul: 5, div: 6, idiv: 7 } as const;
export type UnaryOp = keyof typeof UNARY;

/** Shifts, by their number in the group of c0/c1/d0…d3. */
const SHIFT = { rol: 0, ror: 1, shl: 4, shr: 5, sar: 7 } as const;
export type ShiftOp = keyof typeof SHIFT;

/** Register ← register or memory, 16 to 64 bits: mandatory prefix (0: none), second opcode byte after 0f. */
const SCAN = {
  bsf: [0, 0xbc],
  bsr: [0, 0xbd],
  tzcnt: [0xf3, 0xbc],
  lzcnt: [0xf3, 0xbd],
  popcnt: [0xf3, 0xb8],
} as const;
export type ScanOp = keyof typeof SCAN;

/** Segment base instructions, by their number in group 15 (f3 REX.W 0f ae). */
const SEGMENT_BASE = { rdfsbase: 0, rdgsbase: 1, wrfsbase: 2, wrgsbase: 3 } as const;

/** Instructions that save or restore state, with one operand in memory: operand width, opcode, number in its group. */
const STATE = {
  fldcw: [32, [0xd9], 5],
  fldenv: [32, [0xd9], 4],
  fnstcw: [32, [0xd9], 7],
  fnstsw: [32, [0xdd], 7],
  fxsave64: [64, [0x0f, 0xae], 0],
  fxrstor64: [64, [0x0f, 0xae], 1],
  ldmxcsr: [32, [0x0f, 0xae], 2],
  stmxcsr: [32, [0x0f, 0xae], 3],
  xsave64: [64, [0x0f, 0xae], 4],
} as const;
export type StateOp = keyof typeof STATE;

/**
 * Moves of whole vector and mask registers between a register and aligned memory: encoding, mandatory prefix and vector
 * length as VEX.pp and VEX.L (EVEX.L'L) count them, W, opcode of the load and of the store in map 0f, bytes moved.
 */
const VECTOR_MOVE = {
  movaps: ["legacy", 0, 0, 0, 0x28, 0x29, 16],
  vmovdqa: ["vex", 1, 1, 0, 0x6f, 0x7f, 32],
  vmovdqa64: ["evex", 1, 2, 1, 0x6f, 0x7f, 64],
  kmovq: ["vex", 0, 0, 1, 0x90, 0x91, 8],
} as const;
/** `movaps` moves an xmm register, `vmovdqa` a ymm, `vmovdqa64` a zmm, `kmovq` a mask register. */
export type VectorMove = keyof typeof VECTOR_MOVE;

/** Instructions without operands. */
const PLAIN = {
  cdq: [0x99],
  cld: [0xfc],
  cpuid: [0x0f, 0xa2],
  cqo: [0x48, 0x99],
  endbr64: [0xf3, 0x0f, 0x1e, 0xfa],
  fld1: [0xd9, 0xe8],
  fninit: [0xdb, 0xe3],
  fnstsw_ax: [0xdf, 0xe0],
  ftst: [0xd9, 0xe4],
  fxam: [0xd9, 0xe5],
  int3: [0xcc],
  lahf: [0x9f],
  leave: [0xc9],
  lfence: [0x0f, 0xae, 0xe8],
  mfence: [0x0f, 0xae, 0xf0],
  nop: [0x90],
  pause: [0xf3, 0x90],
  popfq: [0x9d],
  pushfq: [0x9c],
  rdtsc: [0x0f, 0x31],
  ret: [0xc3],
  sahf: [0x9e],
  sfence: [0x0f, 0xae, 0xf8],
  std: [0xfd],
  syscall: [0x0f, 0x05],
  ud2: [0x0f, 0x0b],
  vzeroupper: [0xc5, 0xf8, 0x77],
  xgetbv: [0x0f, 0x01, 0xd0],
} as const;
export type PlainOp = keyof typeof PLAIN;

/** The recommended multi-byte no-operations (SDM, NOP), by length - 1. */
const NOPS = [
  [0x90],
  [0x66, 0x90],
  [0x0f, 0x1f, 0x00],
  [0x0f, 0x1f, 0x40, 0x00],
  [0x0f, 0x1f, 0x44, 0x00, 0x00],
  [0x66, 0x0f, 0x1f, 0x44, 0x00, 0x00],
  [0x0f, 0x1f, 0x80, 0x00, 0x00, 0x00, 0x00],
  [0x0f, 0x1f, 0x84, 0x00, 0x00, 0x00, 0x00, 0x00],
  [0x66, 0x0f, 0x1f, 0x84, 0x00, 0x00, 0x00, 0x00, 0x00],
] as const;

/** Register, memory, or integer (an immediate). */
export type Operand = Reg | Mem | number | bigint;
/** Where a call or jump goes: a place in the unit, a link-time symbol, or through a register or memory. */
export type Target = Label | string | Reg | Mem;

export interface FinishOptions {
  readonly signalFrame?: boolean;
  readonly maxStack?: number;
  readonly align?: number;
}

const isImmediate = (operand: Operand): operand is number | bigint =>
  typeof operand === "number" || typeof operand === "bigint";
const fitsSigned = (value: bigint, bits: number): boolean => BigInt.asIntN(bits, value) === value;

export class Assembler {
  readonly #out = new ByteWriter();
  readonly #items: (Branch | Align)[] = [];
  readonly #labels: (number | undefined)[] = [];
  readonly #relocs: Reloc[] = [];
  readonly #local: { readonly at: number; readonly label: Label; readonly addend: number; readonly size?: 1 }[] = [];
  readonly #marks: (readonly [string, number])[] = [];
  readonly #lines: LineRow[] = [];
  readonly #unwind: UnwindRow[] = [];
  readonly #contexts: ContextRow[] = [];
  #place: ((raw: number) => number) | undefined;

  // ── Places and rows ──────────────────────────────────────────────────────────────────────────────────────────────

  /** A new label, to be bound later. */
  label(): Label {
    this.#labels.push(undefined);
    return { kind: "label", id: this.#labels.length - 1 };
  }

  /** Binds `label` (a new one when not given) to the current offset. */
  bind(label: Label = this.label()): Label {
    if (this.#labels[label.id] !== undefined) throw new Error(`label ${label.id} is bound twice`);
    this.#labels[label.id] = this.#out.length;
    return label;
  }

  /** Exports the current offset as a symbol. */
  mark(name: string): void {
    this.#marks.push([name, this.#out.length]);
  }

  /** From here on the code belongs to this source position. */
  line(file: string, line: number, column: number): void {
    this.#lines.push({ at: this.#out.length, file, line, column });
  }

  /** From here on the caller's frame is found like this (see `UnwindRow`). */
  unwind(cfa: UnwindRow["cfa"], saved: UnwindRow["saved"], returnIn?: NonNullable<UnwindRow["returnIn"]>): void {
    this.#unwind.push({ at: this.#out.length, cfa, saved, ...(returnIn === undefined ? {} : { returnIn }) });
  }

  /** From here on the interrupted registers lie in the context at rsp + `offset` (see `ContextRow`). */
  context(offset: number): void {
    this.#contexts.push({ at: this.#out.length, offset });
  }

  /** Final offset of a bound label; only after `finish`. */
  offsetOf(label: Label): number {
    if (this.#place === undefined) throw new Error("offsets are known after finish()");
    return this.#place(this.#bound(label));
  }

  #bound(label: Label): number {
    const raw = this.#labels[label.id];
    if (raw === undefined) throw new Error(`label ${label.id} is not bound`);
    return raw;
  }

  // ── Moves ────────────────────────────────────────────────────────────────────────────────────────────────────────

  /**
   * `mov`. An immediate for a 64-bit register takes the shortest of `mov r32, imm32` (which zeroes the upper half),
   * the sign-extended imm32 form, and `movabs`; flags are never touched.
   */
  mov(width: Width, to: Reg | Mem, from: Operand): void {
    if (!isImmediate(from)) {
      if (from.kind === "reg") this.#modrm(width, [width === 8 ? 0x88 : 0x89], from, to);
      else if (to.kind === "reg") this.#modrm(width, [width === 8 ? 0x8a : 0x8b], to, from);
      else throw new Error("mov has no form with two memory operands");
      return;
    }
    const value = BigInt(from);
    if (to.kind === "mem") this.#immediate(width, [width === 8 ? 0xc6 : 0xc7], 0, to, value);
    else if (width === 64 && value >= 0n && value < 1n << 32n) this.mov(32, to, value);
    else if (width === 64 && fitsSigned(value, 32)) this.#immediate(64, [0xc7], 0, to, value);
    else if (width === 64) this.movabs(to, value);
    else {
      this.#checkImmediate(width, value);
      this.#short(width, width === 8 ? 0xb0 : 0xb8, to);
      this.#out.int(value, width / 8);
    }
  }

  /** `movabs reg, imm64`: always ten bytes. */
  movabs(to: Reg, value: number | bigint): void {
    this.#short(64, 0xb8, to);
    this.#out.int(value, 8);
  }

  /** Zero-extends `from` (8, 16 or 32 bits) into the whole register. */
  movzx(to: Reg, fromWidth: 8 | 16 | 32, from: Reg | Mem): void {
    if (fromWidth === 32) this.#modrm(32, [0x8b], to, from);
    else this.#modrm(32, [0x0f, fromWidth === 8 ? 0xb6 : 0xb7], to, from, fromWidth);
  }

  /** Sign-extends `from` into `width` bits of the register (the upper half becomes zero for 32). */
  movsx(width: 32 | 64, to: Reg, fromWidth: 8 | 16 | 32, from: Reg | Mem): void {
    if (fromWidth === 32) this.#modrm(width, [0x63], to, from);
    else this.#modrm(width, [0x0f, fromWidth === 8 ? 0xbe : 0xbf], to, from, fromWidth);
  }

  lea(width: 32 | 64, to: Reg, from: Mem): void {
    this.#modrm(width, [0x8d], to, from);
  }

  xchg(width: Width, a: Reg | Mem, b: Reg): void {
    this.#modrm(width, [width === 8 ? 0x86 : 0x87], b, a);
  }

  push(from: Operand): void {
    if (!isImmediate(from)) {
      if (from.kind === "reg") this.#short(32, 0x50, from);
      else this.#modrm(32, [0xff], 6, from);
      return;
    }
    const value = BigInt(from);
    this.#checkImmediate(64, value);
    const short = fitsSigned(value, 8);
    this.#out.u8(short ? 0x6a : 0x68);
    this.#out.int(value, short ? 1 : 4);
  }

  pop(to: Reg | Mem): void {
    if (to.kind === "reg") this.#short(32, 0x58, to);
    else this.#modrm(32, [0x8f], 0, to);
  }

  cmov(cond: Cond, width: 16 | 32 | 64, to: Reg, from: Reg | Mem): void {
    this.#modrm(width, [0x0f, 0x40 + CONDITIONS.indexOf(cond)], to, from);
  }

  /** Sets the byte to 1 if `cond` holds, to 0 otherwise. */
  setcc(cond: Cond, to: Reg | Mem): void {
    this.#modrm(8, [0x0f, 0x90 + CONDITIONS.indexOf(cond)], 0, to);
  }

  // ── Arithmetic ───────────────────────────────────────────────────────────────────────────────────────────────────

  /** Any of `add or adc sbb and sub xor cmp`. */
  alu(op: AluOp, width: Width, to: Reg | Mem, from: Operand): void {
    const group = ALU.indexOf(op);
    const byte = width === 8 ? 0 : 1;
    if (!isImmediate(from)) {
      if (from.kind === "reg") this.#modrm(width, [group * 8 + byte], from, to);
      else if (to.kind === "reg") this.#modrm(width, [group * 8 + 2 + byte], to, from);
      else throw new Error(`${op} has no form with two memory operands`);
      return;
    }
    const value = this.#signed(width, BigInt(from));
    if (width === 8) this.#immediate(8, [0x80], group, to, value);
    else if (fitsSigned(value, 8)) this.#immediate(width, [0x83], group, to, value, 1);
    else this.#immediate(width, [0x81], group, to, value);
  }

  add(width: Width, to: Reg | Mem, from: Operand): void {
    this.alu("add", width, to, from);
  }
  sub(width: Width, to: Reg | Mem, from: Operand): void {
    this.alu("sub", width, to, from);
  }
  and(width: Width, to: Reg | Mem, from: Operand): void {
    this.alu("and", width, to, from);
  }
  or(width: Width, to: Reg | Mem, from: Operand): void {
    this.alu("or", width, to, from);
  }
  xor(width: Width, to: Reg | Mem, from: Operand): void {
    this.alu("xor", width, to, from);
  }
  cmp(width: Width, to: Reg | Mem, from: Operand): void {
    this.alu("cmp", width, to, from);
  }

  test(width: Width, a: Reg | Mem, b: Reg | number | bigint): void {
    if (isImmediate(b)) this.#immediate(width, [width === 8 ? 0xf6 : 0xf7], 0, a, BigInt(b));
    else this.#modrm(width, [width === 8 ? 0x84 : 0x85], b, a);
  }

  inc(width: Width, to: Reg | Mem): void {
    this.#modrm(width, [width === 8 ? 0xfe : 0xff], 0, to);
  }
  dec(width: Width, to: Reg | Mem): void {
    this.#modrm(width, [width === 8 ? 0xfe : 0xff], 1, to);
  }

  /** Any of `not neg mul imul div idiv` with one operand. */
  unary(op: UnaryOp, width: Width, operand: Reg | Mem): void {
    this.#modrm(width, [width === 8 ? 0xf6 : 0xf7], UNARY[op], operand);
  }

  /** `to *= from`, or `to = from * factor` where a factor is given (it must fit in 32 bits, signed). */
  imul(width: 16 | 32 | 64, to: Reg, from: Reg | Mem, factor?: number | bigint): void {
    if (factor === undefined) {
      this.#modrm(width, [0x0f, 0xaf], to, from);
      return;
    }
    const value = this.#signed(width, BigInt(factor));
    if (fitsSigned(value, 8)) this.#immediate(width, [0x6b], to, from, value, 1);
    else this.#immediate(width, [0x69], to, from, value);
  }

  /** Shifts or rotates by a constant, or by cl. */
  shift(op: ShiftOp, width: Width, to: Reg | Mem, count: number | "cl"): void {
    const byte = width === 8 ? 0 : 1;
    if (count === "cl") this.#modrm(width, [0xd2 + byte], SHIFT[op], to);
    else if (count === 1) this.#modrm(width, [0xd0 + byte], SHIFT[op], to);
    else this.#immediate(width, [0xc0 + byte], SHIFT[op], to, BigInt(count), 1);
  }

  /** Any of `bsf bsr tzcnt lzcnt popcnt`. */
  scan(op: ScanOp, width: 16 | 32 | 64, to: Reg, from: Reg | Mem): void {
    const [prefix, opcode] = SCAN[op];
    this.#modrm(width, [0x0f, opcode], to, from, width, prefix);
  }

  bswap(width: 32 | 64, to: Reg): void {
    this.#rex(width, 0, 0, to.code, false);
    this.#out.bytes([0x0f, 0xc8 + (to.code & 7)]);
  }

  // ── Atomics, system ──────────────────────────────────────────────────────────────────────────────────────────────

  /** The lock prefix, for the instruction that follows. */
  lock(): void {
    this.#out.u8(0xf0);
  }

  /** Adds `b` to `a`, and leaves the old value of `a` in `b`. */
  xadd(width: Width, a: Reg | Mem, b: Reg): void {
    this.#modrm(width, [0x0f, width === 8 ? 0xc0 : 0xc1], b, a);
  }

  /** If `a` equals rax it becomes `b`; otherwise rax becomes `a`. ZF tells. */
  cmpxchg(width: Width, a: Reg | Mem, b: Reg): void {
    this.#modrm(width, [0x0f, width === 8 ? 0xb0 : 0xb1], b, a);
  }

  segmentBase(op: keyof typeof SEGMENT_BASE, operand: Reg): void {
    this.#modrm(64, [0x0f, 0xae], SEGMENT_BASE[op], operand, 64, 0xf3);
  }

  /** An instruction without operands. */
  op(op: PlainOp): void {
    this.#out.bytes(PLAIN[op]);
  }

  // ── Vector and x87 state ─────────────────────────────────────────────────────────────────────────────────────────

  /** Saves or restores state; the image of fxsave64 is aligned to 16 bytes. */
  state(op: StateOp, place: Mem): void {
    const [width, opcode, group] = STATE[op];
    this.#modrm(width, opcode, group, place);
  }

  /** Loads vector (or mask) register number `register` from `[base + disp]`, or stores it there. */
  vector(op: VectorMove, direction: "load" | "store", register: number, base: Reg, disp: number): void {
    const [encoding, prefix, length, w, load, store, bytes] = VECTOR_MOVE[op];
    const inverted = (bit: number, shift: number): number => (bit & 1 ? 0 : 1 << shift);
    const rxb = inverted(register >> 3, 7) | inverted(0, 6) | inverted(base.code >> 3, 5);
    const opcode = direction === "load" ? load : store;
    if (encoding === "legacy") {
      this.#rex(32, register, 0, base.code, false);
      this.#out.bytes([0x0f, opcode]);
    } else if (encoding === "vex") this.#out.bytes([0xc4, rxb | 1, (w << 7) | 0x78 | (length << 2) | prefix, opcode]);
    else {
      this.#out.bytes([
        0x62,
        rxb | inverted(register >> 4, 4) | 1,
        (w << 7) | 0x7c | prefix,
        (length << 5) | 8,
        opcode,
      ]);
    }
    this.#memory((register & 7) << 3, { kind: "mem", base, disp }, 0, encoding === "evex" ? bytes : 1);
  }

  /** `vorps`: the ymm register `to` |= the ymm register `from` (numbers). */
  vorps(to: number, from: number): void {
    const prefix = [0xc4, (to & 8 ? 0 : 0x80) | 0x40 | (from & 8 ? 0 : 0x20) | 1, ((~to & 15) << 3) | 4];
    this.#out.bytes([...prefix, 0x56, 0xc0 | ((to & 7) << 3) | (from & 7)]);
  }

  /** `vporq`: the zmm register `to` |= the zmm register `from` (numbers below 16). */
  vporq(to: number, from: number): void {
    const prefix = [0x62, (to & 8 ? 0 : 0x80) | 0x40 | (from & 8 ? 0 : 0x20) | 0x11, 0x85 | ((~to & 15) << 3), 0x48];
    this.#out.bytes([...prefix, 0xeb, 0xc0 | ((to & 7) << 3) | (from & 7)]);
  }

  // ── Control flow ─────────────────────────────────────────────────────────────────────────────────────────────────

  jmp(target: Target): void {
    this.#branch(target, -1, [0xe9], 4);
  }

  jcc(cond: Cond, target: Label | string): void {
    const number = CONDITIONS.indexOf(cond);
    this.#branch(target, number, [0x0f, 0x80 + number], 4);
  }

  /** Jumps when rcx is 0, changes no flag, and reaches 127 bytes. */
  jrcxz(target: Label): void {
    this.#out.u8(0xe3);
    this.#local.push({ at: this.#out.length, label: target, addend: -1, size: 1 });
    this.#out.u8(0);
  }

  call(target: Target): void {
    if (typeof target === "object" && target.kind === "label") {
      this.#out.u8(0xe8);
      this.#local.push({ at: this.#out.length, label: target, addend: -4 });
      this.#out.int(0, 4);
    } else this.#branch(target, -1, [0xe8], 2);
  }

  #branch(target: Target, cond: number, near: readonly number[], indirect: number): void {
    if (typeof target === "string") {
      this.#out.bytes(near);
      this.rel32(target);
    } else if (target.kind === "label") {
      this.#items.push({ raw: this.#out.length, cond, target: () => this.#bound(target) });
      for (let i = 0; i < BRANCH_RAW; i++) this.#out.u8(0);
    } else this.#modrm(32, [0xff], indirect, target);
  }

  // ── Data ─────────────────────────────────────────────────────────────────────────────────────────────────────────

  bytes(...bytes: number[]): void {
    this.#out.bytes(bytes);
  }

  /** Eight bytes: the address `symbol + addend`. */
  abs64(symbol: string, addend = 0): void {
    this.#relocs.push({ at: this.#out.length, kind: "abs64", symbol, addend });
    this.#out.int(0, 8);
  }

  /** Four bytes: the distance from their end to `symbol + addend`. */
  rel32(symbol: string, addend = 0): void {
    this.#relocs.push({ at: this.#out.length, kind: "rel32", symbol, addend });
    this.#out.int(0, 4);
  }

  /** No-operations up to a multiple of `to` (a power of two, at most the unit's own alignment). */
  align(to: number): void {
    this.#items.push({ raw: this.#out.length, to });
    for (let i = 0; i < ALIGN_RAW; i++) this.#out.u8(0);
  }

  // ── Encoding ─────────────────────────────────────────────────────────────────────────────────────────────────────

  #signed(width: Width, value: bigint): bigint {
    this.#checkImmediate(width, value);
    return width === 64 ? value : BigInt.asIntN(width, value);
  }

  /** An immediate has at most 32 bits; in a 64-bit instruction they are sign-extended. */
  #checkImmediate(width: Width, value: bigint): void {
    const fits = fitsSigned(value, Math.min(width, 32)) || (width < 64 && BigInt.asUintN(width, value) === value);
    if (!fits) throw new Error(`immediate ${value} does not fit ${width} bits`);
  }

  /** An instruction that ends in an immediate of `size` bytes (by default the width's, at most 4). */
  #immediate(
    width: Width,
    opcode: readonly number[],
    field: Reg | number,
    rm: Reg | Mem,
    value: bigint,
    size = Math.min(width / 8, 4),
  ): void {
    if (size > 1 || width === 8) this.#checkImmediate(width, value);
    this.#modrm(width, opcode, field, rm, width, 0, size);
    this.#out.int(value, size);
  }

  /** A register in the low bits of the opcode itself. */
  #short(width: Width, opcode: number, operand: Reg): void {
    if (width === 16) this.#out.u8(0x66);
    this.#rex(width, 0, 0, operand.code, width === 8 && operand.code >= 4);
    this.#out.u8(opcode + (operand.code & 7));
  }

  #rex(width: Width, field: number, index: number, base: number, force: boolean): void {
    const rex = (width === 64 ? 8 : 0) | (field & 8 ? 4 : 0) | (index & 8 ? 2 : 0) | (base & 8 ? 1 : 0);
    if (rex !== 0 || force) this.#out.u8(0x40 | rex);
  }

  /**
   * Prefixes, opcode, ModRM, SIB, displacement. `field` is the register operand or the opcode's extension; `rmWidth`
   * the width of `rm` where it differs; `trailing` the number of immediate bytes that follow.
   */
  #modrm(
    width: Width,
    opcode: readonly number[],
    field: Reg | number,
    rm: Reg | Mem,
    rmWidth: Width = width,
    mandatory = 0,
    trailing = 0,
  ): void {
    const fieldCode = typeof field === "number" ? field : field.code;
    const byteField = width === 8 && typeof field !== "number" && field.code >= 4;
    if (rm.kind === "mem" && rm.segment !== undefined) this.#out.u8(rm.segment === "fs" ? 0x64 : 0x65);
    if (width === 16) this.#out.u8(0x66);
    if (mandatory !== 0) this.#out.u8(mandatory);
    if (rm.kind === "reg") {
      this.#rex(width, fieldCode, 0, rm.code, byteField || (rmWidth === 8 && rm.code >= 4));
      this.#out.bytes(opcode);
      this.#out.u8(0xc0 | ((fieldCode & 7) << 3) | (rm.code & 7));
      return;
    }
    this.#rex(width, fieldCode, rm.index?.code ?? 0, rm.base?.code ?? 0, byteField);
    this.#out.bytes(opcode);
    this.#memory((fieldCode & 7) << 3, rm, trailing);
  }

  /** `step`: of what a displacement of one byte counts (SDM volume 2, "Compressed Displacement", for EVEX). */
  #memory(field: number, { base, index, scale, disp, symbol, label }: Mem, trailing: number, step = 1): void {
    if (symbol !== undefined || label !== undefined) {
      if (base !== undefined || index !== undefined) throw new Error("a symbol cannot be combined with a register");
      this.#out.u8(field | 5);
      if (label === undefined) this.rel32(symbol!, disp - trailing);
      else {
        this.#local.push({ at: this.#out.length, label, addend: disp - trailing - 4 });
        this.#out.int(0, 4);
      }
      return;
    }
    if (!fitsSigned(BigInt(disp), 32)) throw new Error(`displacement ${disp} does not fit 32 bits`);
    if (index?.code === 4) throw new Error("rsp cannot be an index");
    // rbp and r13 as a base have no form without displacement; no base at all is SIB base 5 with mod 0.
    const short = disp % step === 0 && fitsSigned(BigInt(disp / step), 8);
    const size = base === undefined ? 4 : disp === 0 && (base.code & 7) !== 5 ? 0 : short ? 1 : 4;
    const mod = base === undefined ? 0 : size === 4 ? 0x80 : size === 1 ? 0x40 : 0;
    if (base !== undefined && index === undefined && (base.code & 7) !== 4) this.#out.u8(mod | field | (base.code & 7));
    else {
      this.#out.u8(mod | field | 4);
      const scaleBits = Math.log2(scale ?? 1) << 6;
      this.#out.u8(
        scaleBits | ((index === undefined ? 4 : index.code & 7) << 3) | (base === undefined ? 5 : base.code & 7),
      );
    }
    this.#out.int(size === 1 ? disp / step : disp, size);
  }

  // ── The end ──────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Chooses branch lengths, resolves labels, and gives the unit. The assembler cannot be used afterwards. */
  finish(name: string, options: FinishOptions = {}): CodeUnit {
    const placement = relax(this.#items, this.#out.length);
    const place = placement.place;
    this.#place = place;
    const out = new ByteWriter();
    let raw = 0;
    this.#items.forEach((item, i) => {
      out.bytes(this.#out.slice(raw, item.raw));
      raw = item.raw + ("to" in item ? ALIGN_RAW : BRANCH_RAW);
      const length = placement.lengths[i]!;
      if ("to" in item) this.#pad(out, length);
      else {
        if (length === BRANCH_RAW) out.u8(item.cond < 0 ? 0xeb : 0x70 + item.cond);
        else out.bytes(item.cond < 0 ? [0xe9] : [0x0f, 0x80 + item.cond]);
        const field = length === BRANCH_RAW ? 1 : 4;
        out.int(place(item.target()) - out.length - field, field);
      }
    });
    out.bytes(this.#out.slice(raw));
    const bytes = out.finish();
    const view = new DataView(bytes.buffer);
    for (const { at, label, addend, size } of this.#local) {
      const distance = place(this.#bound(label)) - place(at) + addend;
      if (size === undefined) view.setInt32(place(at), distance, true);
      else if (fitsSigned(BigInt(distance), 8)) view.setInt8(place(at), distance);
      else throw new Error(`jrcxz does not reach ${distance} bytes`);
    }
    return {
      name,
      bytes,
      relocs: this.#relocs.map((reloc) => ({ ...reloc, at: place(reloc.at) })),
      marks: Object.fromEntries(this.#marks.map(([mark, at]) => [mark, place(at)])),
      lines: this.#lines.map((row) => ({ ...row, at: place(row.at) })),
      unwind: this.#unwind.map((row) => ({ ...row, at: place(row.at) })),
      ...(this.#contexts.length > 0 && { contexts: this.#contexts.map((row) => ({ ...row, at: place(row.at) })) }),
      ...options,
    };
  }

  #pad(out: ByteWriter, length: number): void {
    for (let left = length; left > 0; left -= NOPS.length) out.bytes(NOPS[Math.min(left, NOPS.length) - 1]!);
  }
}
