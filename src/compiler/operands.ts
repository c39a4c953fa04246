/** Operands of x86-64 instructions: registers, memory references, conditions, labels. Pure data. */

/** A general purpose register; the instruction's width chooses al/ax/eax/rax. */
export interface Reg {
  readonly kind: "reg";
  readonly name: string;
  /** Number in instruction encodings (rax 0, rcx 1, rdx 2, rbx 3, rsp 4, rbp 5, rsi 6, rdi 7, r8…r15). */
  readonly code: number;
  /** Number in DWARF unwind tables (System V ABI for AMD64, figure 3.36). */
  readonly dwarf: number;
}

const reg = (name: string, code: number, dwarf: number): Reg => ({ kind: "reg", name, code, dwarf });

export const rax = reg("rax", 0, 0);
export const rcx = reg("rcx", 1, 2);
export const rdx = reg("rdx", 2, 1);
export const rbx = reg("rbx", 3, 3);
export const rsp = reg("rsp", 4, 7);
export const rbp = reg("rbp", 5, 6);
export const rsi = reg("rsi", 6, 4);
export const rdi = reg("rdi", 7, 5);
export const r8 = reg("r8", 8, 8);
export const r9 = reg("r9", 9, 9);
export const r10 = reg("r10", 10, 10);
export const r11 = reg("r11", 11, 11);
export const r12 = reg("r12", 12, 12);
export const r13 = reg("r13", 13, 13);
export const r14 = reg("r14", 14, 14);
export const r15 = reg("r15", 15, 15);

/** All registers, by encoding number. */
export const REGISTERS: readonly Reg[] = [rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi, r8, r9, r10, r11, r12, r13, r14, r15];

/** Operand width in bits. */
export type Width = 8 | 16 | 32 | 64;
export type Scale = 1 | 2 | 4 | 8;
export type Segment = "fs" | "gs";

/** A place inside the unit under construction; bound once, by `Assembler.bind`. */
export interface Label {
  readonly kind: "label";
  readonly id: number;
}

/**
 * A memory operand: `segment:[base + index*scale + disp]`, or, with `symbol` or `label`, `[rip + that place + disp]`
 * (then without base and index). Without any of them `disp` is an absolute address, sign-extended from 32 bits.
 */
export interface Mem {
  readonly kind: "mem";
  readonly base?: Reg;
  readonly index?: Reg;
  readonly scale?: Scale;
  readonly disp: number;
  readonly symbol?: string;
  readonly label?: Label;
  readonly segment?: Segment;
}

/** `[base + disp]` */
export const mem = (base: Reg, disp = 0): Mem => ({ kind: "mem", base, disp });

/** `[base + index*scale + disp]`; index may be any register but rsp. */
export const indexed = (base: Reg | undefined, index: Reg, scale: Scale = 1, disp = 0): Mem =>
  base === undefined ? { kind: "mem", index, scale, disp } : { kind: "mem", base, index, scale, disp };

/** `[disp]`: absolute, sign-extended from 32 bits. */
export const absolute = (disp: number): Mem => ({ kind: "mem", disp });

/** `[rip + symbol + addend]`: a link-time symbol. */
export const symbol = (name: string, addend = 0): Mem => ({ kind: "mem", symbol: name, disp: addend });

/** `[rip + label + addend]`: a place in the same unit. */
export const at = (label: Label, addend = 0): Mem => ({ kind: "mem", label, disp: addend });

/** `gs:[disp]` */
export const gs = (disp: number): Mem => ({ kind: "mem", segment: "gs", disp });

/** `fs:[disp]` */
export const fs = (disp: number): Mem => ({ kind: "mem", segment: "fs", disp });

/** Condition codes by encoding number (SDM volume 1, appendix B). */
export const CONDITIONS = [
  "o",
  "no",
  "b",
  "ae",
  "e",
  "ne",
  "be",
  "a",
  "s",
  "ns",
  "p",
  "np",
  "l",
  "ge",
  "le",
  "g",
] as const;
export type Cond = (typeof CONDITIONS)[number];

/** The condition that holds exactly when `cond` does not. */
export const negate = (cond: Cond): Cond => CONDITIONS[CONDITIONS.indexOf(cond) ^ 1] as Cond;
