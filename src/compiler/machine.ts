/**
 * Machine instructions before and after register allocation: x86-64 with any number of registers. Numbers below 16 are
 * the machine's registers (by encoding number), the others are virtual.
 */
import type { TrapReason } from "./ir.ts";
import type { AluOp, Cond, Scale, ScanOp, ShiftOp, UnaryOp, Width } from "./x64.ts";

export type Reg = number;
export const FIRST_VIRTUAL = 16;
export const [RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8, R9, R10, R11, R12, R13, R14, R15] = [
  0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15,
] as const;

/** Integer arguments of a call, and of a system call (number first); System V ABI, AMD64 supplement, 3.2.3 and A.2. */
export const ARGUMENTS: readonly Reg[] = [RDI, RSI, RDX, RCX, R8, R9];
export const SYSCALL_ARGUMENTS: readonly Reg[] = [RAX, RDI, RSI, RDX, R10, R8, R9];
export const CALLEE_SAVED: readonly Reg[] = [RBX, RBP, R12, R13, R14, R15];
export const CALL_CLOBBERED: readonly Reg[] = [RAX, RCX, RDX, RSI, RDI, R8, R9, R10, R11];

/** A stack address is known when the frame is laid out: an outgoing argument, an incoming one, or a spill slot. */
export type StackArea = "outgoing" | "incoming" | "slot";

export interface MemRef {
  readonly kind: "mem";
  base?: Reg;
  index?: Reg;
  readonly scale?: Scale;
  readonly disp: number;
  readonly symbol?: string;
  readonly gs?: boolean;
  /** Then `disp` counts 8-byte words of that area. */
  readonly stack?: StackArea;
}

export type Operand = { readonly kind: "reg"; reg: Reg } | { readonly kind: "imm"; readonly value: bigint } | MemRef;

/**
 * How an instruction treats its operands a and b: `d` defines, `u` uses, `m` modifies, `-` none. Registers in a memory
 * operand are always used, whatever the letter.
 */
const MODES = {
  copy: "du", // mov between registers: may be coalesced
  mov: "du",
  movzx: "du",
  movsx: "du",
  lea: "du",
  alu: "mu",
  cmp: "uu",
  test: "uu",
  imul: "mu",
  imul3: "du",
  unary: "m-", // neg, not
  divide: "u-", // mul, imul, div, idiv: rdx:rax
  cqo: "--",
  shift: "mu", // by an immediate, or by rcx (an implicit use)
  setcc: "m-",
  cmov: "mu",
  scan: "mu",
  popcnt: "du",
  xchg: "um",
  xadd: "um",
  lockxadd: "um",
  lockalu: "uu",
  cmpxchg: "uu",
  rmwloop: "uu", // rax = old value of a; c is scratch
  call: "u-", // a: symbol (as mem) or register
  syscall: "--",
  rdtsc: "--",
  pause: "--",
  mfence: "--",
  wrgsbase: "u-",
  rdfsbase: "d-",
  undef: "d-", // no code: the register holds anything
  trapif: "--",
  jump: "--",
  branch: "--",
  switch: "u-", // a: address of the target
  ret: "--",
  trap: "--",
} as const;
export type MachineOp = keyof typeof MODES;

export interface Inst {
  readonly op: MachineOp;
  readonly width: Width;
  a: Operand | undefined;
  b: Operand | undefined;
  /** Variant of the operation. */
  readonly sub?: AluOp | ShiftOp | UnaryOp | ScanOp;
  readonly cond?: Cond;
  /** Width of the source of movzx and movsx. */
  readonly from?: 8 | 16 | 32;
  /** Factor of imul3. */
  readonly imm?: bigint;
  /** Scratch register of rmwloop; modified. */
  c?: Reg;
  /** Machine registers used and defined beside the operands. */
  readonly uses?: readonly Reg[];
  readonly defs?: readonly Reg[];
  /** Why a trap or trapif traps. */
  readonly reason?: TrapReason;
  /** Blocks: branch [then, else], jump [target], switch: by value, the last for all others. */
  readonly targets?: readonly MachineBlock[];
  /** Offset of the WebAssembly instruction it comes from. */
  readonly at: number;
  /** Where the function's variables are before the instruction, as far as that is known. */
  variables?: readonly VariableAt[] | undefined;
}

/** A register (a number), a spill slot, a constant, the place of a parameter, or nowhere. */
export type VariableAt =
  | Reg
  | { readonly slot: number }
  | { readonly constant: bigint }
  | { readonly parameter: number }
  | undefined;

export interface MachineBlock {
  readonly id: number;
  insts: Inst[];
  readonly succs: MachineBlock[];
  /** How many loops it is in. */
  readonly depth: number;
  /** Runs, for one of the function. */
  readonly frequency: number;
  /** No frame is needed here, and none has been made. */
  frameless?: boolean;
  /** The first block on its way that needs a frame. */
  readonly entersFrame?: boolean;
}

/** Distances from the table's start to code, 4 bytes each. */
export interface JumpTable {
  readonly symbol: string;
  readonly targets: readonly MachineBlock[];
}

export interface MachineFunc {
  readonly name: string;
  readonly exported: boolean;
  /** The first is the entry. */
  readonly blocks: MachineBlock[];
  registers: number;
  readonly tables: JumpTable[];
  /** 8-byte words of outgoing stack arguments. */
  outgoing: number;
  /** Calls foreign code, which expects a stack aligned to 16: rbp is the frame pointer. */
  aligned: boolean;
  /** Spill slots, 8 bytes each. */
  slots: number;
}

export const reg = (r: Reg): Operand => ({ kind: "reg", reg: r });
export const imm = (value: bigint | number): Operand => ({ kind: "imm", value: BigInt(value) });
export const isReg = (operand: Operand | undefined): operand is { readonly kind: "reg"; reg: Reg } =>
  operand?.kind === "reg";

function memoryUses(operand: Operand | undefined, use: (r: Reg) => void): void {
  if (operand?.kind !== "mem") return;
  if (operand.base !== undefined) use(operand.base);
  if (operand.index !== undefined) use(operand.index);
}

/** Calls `use` for each register read and `def` for each written; one that is modified gets both. */
export function visit(inst: Inst, use: (r: Reg) => void, def: (r: Reg) => void): void {
  const modes = MODES[inst.op];
  for (const [operand, mode] of [
    [inst.a, modes[0]],
    [inst.b, modes[1]],
  ] as const) {
    memoryUses(operand, use);
    if (!isReg(operand)) continue;
    if (mode !== "d") use(operand.reg);
    if (mode === "d" || mode === "m") def(operand.reg);
  }
  if (inst.c !== undefined) {
    use(inst.c);
    def(inst.c);
  }
  for (const r of inst.uses ?? []) use(r);
  for (const r of inst.defs ?? []) def(r);
}

/** How operand a or b is treated. */
export const modeOf = (inst: Inst, which: "a" | "b"): "d" | "u" | "m" | "-" =>
  MODES[inst.op][which === "a" ? 0 : 1] as "d" | "u" | "m" | "-";

/** Replaces every register of `inst`. */
export function rename(inst: Inst, to: (r: Reg) => Reg): void {
  for (const operand of [inst.a, inst.b]) {
    if (operand?.kind === "reg") operand.reg = to(operand.reg);
    else if (operand?.kind === "mem") {
      if (operand.base !== undefined) operand.base = to(operand.base);
      if (operand.index !== undefined) operand.index = to(operand.index);
    }
  }
  if (inst.c !== undefined) inst.c = to(inst.c);
}

/** Replaces the registers that hold variables. */
export function renameVariables(inst: Inst, to: (r: Reg) => Reg): void {
  inst.variables = inst.variables?.map((place) => (typeof place === "number" ? to(place) : place));
}

/** A copy whose registers can be replaced by themselves. */
export const copyInst = (inst: Inst): Inst => ({
  ...inst,
  a: inst.a === undefined ? undefined : { ...inst.a },
  b: inst.b === undefined ? undefined : { ...inst.b },
});
