/** The stack frame of a function: how it is made, left, addressed and unwound. */
import { CALLEE_SAVED, type MachineBlock, type MachineFunc, type MemRef, RBP, type Reg, visit } from "./machine.ts";
import type { UnwindRow } from "./object.ts";
import { isFrameLate } from "./shrink.ts";
import { type Assembler, type Mem, mem, REGISTERS, rbp, rsp } from "./x64.ts";

function savedRegisters(func: MachineFunc): Reg[] {
  const defined = new Set<Reg>();
  for (const block of func.blocks)
    for (const inst of block.insts)
      visit(
        inst,
        () => {},
        (r) => defined.add(r),
      );
  // A frame pointer is pushed first.
  if (func.aligned) return [RBP, ...CALLEE_SAVED.filter((r) => r !== RBP && defined.has(r))];
  return CALLEE_SAVED.filter((r) => defined.has(r));
}

export class Frame {
  readonly #a: Assembler;
  readonly #func: MachineFunc;
  readonly #saved: readonly Reg[];
  /** Bytes below the saved registers. */
  readonly #size: number;
  /** Made on the way, not at the function's start. */
  readonly #late: boolean;
  /** The frame exists where code is made now. */
  #isMade = false;

  constructor(a: Assembler, func: MachineFunc) {
    this.#a = a;
    this.#func = func;
    this.#saved = savedRegisters(func);
    this.#size = 8 * (func.outgoing + func.slots);
    this.#late = isFrameLate(func);
  }

  /** Bytes of stack below the return address, callees not included. */
  get bytes(): number {
    return 8 * this.#saved.length + this.#size + (this.#func.aligned ? 8 : 0);
  }

  /** Where there is a frame address, `rbp` is it. With `pushed` registers saved, and `below` bytes more. */
  #unwind(pushed: number, below = 0): void {
    const saved = this.#saved
      .slice(0, pushed)
      .map((r, i): UnwindRow["saved"][number] => [REGISTERS[r]!.dwarf, -16 - 8 * i]);
    const cfa =
      this.#func.aligned && pushed > 0
        ? { reg: rbp.dwarf, offset: 16 }
        : { reg: rsp.dwarf, offset: 8 + 8 * pushed + below };
    this.#a.unwind(cfa, saved);
  }

  /** At the start of the function's code. */
  begin(): void {
    this.#unwind(0);
    if (!this.#late) this.#make();
  }

  /** At the start of a block. */
  enter(block: MachineBlock): void {
    if (!this.#late) return;
    const isMade = !block.frameless && !block.entersFrame;
    if (isMade !== this.#isMade) this.#state(isMade);
    if (block.entersFrame) this.#make();
  }

  /** Unwind rows of code that lies elsewhere than what comes before it. */
  #state(isMade: boolean): void {
    this.#isMade = isMade;
    if (isMade) this.#unwind(this.#saved.length, this.#size);
    else this.#unwind(0);
  }

  #make(): void {
    const a = this.#a;
    const { aligned } = this.#func;
    this.#saved.forEach((r, i) => {
      a.push(REGISTERS[r]!);
      if (aligned && i === 0) {
        a.unwind({ reg: rsp.dwarf, offset: 16 }, [[rbp.dwarf, -16]]);
        a.mov(64, rbp, rsp);
      }
      this.#unwind(i + 1);
    });
    if (this.#size > 0) {
      a.sub(64, rsp, this.#size);
      if (!aligned) this.#unwind(this.#saved.length, this.#size);
    }
    if (aligned) a.and(64, rsp, -16);
    this.#isMade = true;
  }

  /** Returns to the caller; code that follows has the rows of what came before. */
  leave(): void {
    const a = this.#a;
    if (!this.#isMade) {
      a.op("ret");
      return;
    }
    const count = this.#saved.length;
    if (this.#func.aligned) a.lea(64, rsp, mem(rbp, 8 - 8 * count));
    else if (this.#size > 0) {
      a.add(64, rsp, this.#size);
      this.#unwind(count);
    }
    for (let left = count - 1; left >= 0; left--) {
      a.pop(REGISTERS[this.#saved[left]!]!);
      this.#unwind(left);
    }
    a.op("ret");
    this.#state(true);
  }

  /** Bytes from rsp to the CFA, where there is a frame; not known where the stack is aligned. */
  get toCfa(): number {
    return this.#size + 8 * this.#saved.length + 8;
  }

  /** What lies on the stack: see `StackArea`. */
  address({ stack, disp }: MemRef): Mem {
    if (stack === "outgoing") return mem(rsp, 8 * disp);
    if (stack === "slot") return mem(rsp, 8 * (this.#func.outgoing + disp));
    if (this.#func.aligned) return mem(rbp, 16 + 8 * disp);
    return mem(rsp, this.#size + 8 * this.#saved.length + 8 + 8 * disp);
  }
}
