/** The linker's input: what the guest compiler and the machine code templates produce. Pure data. */

/** A place to be filled in when addresses are known. `rel32` is relative to the end of the 4-byte field. */
export interface Reloc {
  readonly at: number;
  readonly kind: "rel32" | "abs64";
  readonly symbol: string;
  readonly addend: number;
}

/** From `at` (offset in the unit) on, the code belongs to this source line. Lines and columns count from 1. */
export interface LineRow {
  readonly at: number;
  readonly file: string;
  readonly line: number;
  readonly column: number;
}

/** Number of the return address among the DWARF registers. */
export const RETURN_ADDRESS = 16;

/**
 * Unwind information: from `at` on, the caller's stack pointer (CFA) is register `cfa.reg` + `cfa.offset`, and each
 * saved register lies at CFA + offset. The return address lies at CFA - 8, if `saved` does not name another place for
 * RETURN_ADDRESS, and `returnIn` no register that holds it. Registers by DWARF number
 * (rax 0, rdx 1, rcx 2, rbx 3, rsi 4, rdi 5, rbp 6, rsp 7, r8…r15 8…15).
 */
export interface UnwindRow {
  readonly at: number;
  readonly cfa: { readonly reg: number; readonly offset: number };
  readonly saved: readonly (readonly [reg: number, offset: number])[];
  /** "nowhere": unwinding ends here. */
  readonly returnIn?: number | "nowhere";
}

/**
 * Unwind information of code that runs as the handler of a signal: from `at` on, all registers of the interrupted code lie
 * in the struct ucontext (ucontext.ts) at rsp + `offset`.
 */
export interface ContextRow {
  readonly at: number;
  readonly offset: number;
}

/** A type as debuggers see it. Values of a class are pointers to it. */
export type DebugType =
  | { readonly kind: "number"; readonly size: number; readonly encoding: "signed" | "unsigned" | "boolean" }
  | {
      readonly kind: "class";
      readonly size: number;
      readonly members: readonly { readonly name: string; readonly type: string; readonly offset: number }[];
    };

/** From offset `from` up to `to` in the unit, a variable lies in a register (by DWARF number), or at CFA or rsp + offset. */
export interface VariablePlace {
  readonly from: number;
  readonly to: number;
  readonly base: "register" | "cfa" | "rsp";
  readonly value: number;
}

/** From offset `from` up to `to` a variable has this value and need not lie anywhere. */
export interface VariableConstant {
  readonly from: number;
  readonly to: number;
  readonly base: "constant";
  readonly value: bigint;
}

/** A parameter or a local variable. Where it has no place its value is lost. `type` names one of the object's types. */
export interface Variable {
  readonly name: string;
  readonly type: string;
  readonly places: readonly (VariablePlace | VariableConstant)[];
}

/** One function (or template) of machine code. */
export interface CodeUnit {
  readonly name: string;
  readonly bytes: Uint8Array;
  readonly relocs: readonly Reloc[];
  /** Further entry points and marks inside the unit: symbol name → offset. */
  readonly marks?: Readonly<Record<string, number>>;
  readonly lines?: readonly LineRow[];
  readonly unwind?: readonly UnwindRow[];
  /** In place of `unwind`, in a handler of signals: a signal frame from the first instruction to the last. */
  readonly contexts?: readonly ContextRow[];
  /** The frame interrupts the caller at any instruction (DWARF augmentation "S"). */
  readonly signalFrame?: boolean;
  /** Most bytes of stack used below the return address, callees included, where known. */
  readonly maxStack?: number;
  readonly parameters?: readonly Variable[];
  readonly locals?: readonly Variable[];
  /** Type of the result. */
  readonly result?: string;
  /** Alignment, a power of two; 16 when not given. */
  readonly align?: number;
}

/** One piece of initialised or zero data. `size` ≥ bytes.length; the rest is zero. */
export interface DataUnit {
  readonly name: string;
  readonly bytes: Uint8Array;
  readonly size: number;
  readonly align: number;
  readonly writable: boolean;
  readonly relocs: readonly Reloc[];
  /** Symbols inside the unit: name → offset. */
  readonly marks?: Readonly<Record<string, number>>;
  /** Variables in it, for debuggers. */
  readonly variables?: readonly { readonly name: string; readonly type: string; readonly offset: number }[];
}

export interface ObjectFile {
  readonly code: readonly CodeUnit[];
  readonly data: readonly DataUnit[];
  /** Types by name. */
  readonly types?: ReadonlyMap<string, DebugType>;
}
