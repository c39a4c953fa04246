/**
 * Pieces of the machine code templates that work on a frame (FRAME_* in layout.ts): making one, reading it, leaving it, and
 * what unwinders are told meanwhile. Who runs this, and what may change: see stubs.ts.
 */

import { type DataUnit, type ObjectFile, RETURN_ADDRESS } from "../compiler/object.ts";
import {
  Assembler,
  type Label,
  mem,
  type Reg,
  r8,
  r9,
  r10,
  r11,
  r12,
  r13,
  r14,
  r15,
  rax,
  rbp,
  rbx,
  rcx,
  rdi,
  rdx,
  rsi,
  rsp,
} from "../compiler/x64.ts";
import { loadArithmeticFlags, RARE_FLAGS } from "./flags.ts";
import {
  CALL_AT,
  CALL_BACK,
  CALL_DISTANCE,
  CALL_KIND,
  CALL_SIZE,
  FRAME_ARGS,
  FRAME_FLAGS,
  FRAME_IP,
  FRAME_NEXT,
  FRAME_NR,
  FRAME_RESULT,
  FRAME_SIZE,
  FRAME_SP,
  FRAME_TO_PROGRAM,
  FRAME_TSC,
} from "./layout.ts";

export const ARGUMENTS: readonly Reg[] = [rdi, rsi, rdx, r10, r8, r9];
/** What functions keep for their callers, in the order of LEVEL_SAVED. */
export const SAVED = [rbx, rbp, r12, r13, r14, r15] as const;
export const STACK_POINTER = rsp.dwarf;
/** Code that is hardly ever run stands behind all other, where it costs a jump that is not taken. */
export class StubAssembler extends Assembler {
  readonly #rare: (() => void)[] = [];
  readonly #calls: (CallPlace & { readonly at: Label })[] = [];

  /** When `test` has just left NE, `emit` is run, then what follows here. */
  rarely(emit: () => void): void {
    const rare = this.label();
    const back = this.label();
    this.jcc("ne", rare);
    this.bind(back);
    this.#rare.push(() => {
      this.bind(rare);
      emit();
      this.jmp(back);
    });
  }

  placeRare(): void {
    for (const emit of this.#rare) emit();
  }

  /** A `syscall` that handlers of the program see as the one at its call site. */
  systemCall(place: CallPlace): void {
    this.#calls.push({ ...place, at: this.bind() });
    this.op("syscall");
  }

  /** The rows of all of them, after `finish` has made the unit. */
  calls(name: string, unit: string): DataUnit {
    const bytes = new Uint8Array((this.#calls.length + 1) * CALL_SIZE);
    const view = new DataView(bytes.buffer);
    const relocs = this.#calls.map(({ at, kind, distance = 0, from }, i) => {
      const row = i * CALL_SIZE;
      const addend = this.offsetOf(at);
      view.setUint8(row + CALL_KIND, kind);
      view.setUint8(row + CALL_BACK, from === undefined ? 0 : addend - this.offsetOf(from));
      view.setUint16(row + CALL_DISTANCE, distance, true);
      return { at: row + CALL_AT, kind: "rel32", symbol: unit, addend } as const;
    });
    return { name, bytes, size: bytes.length, align: 8, writable: false, relocs };
  }
}

/** Where the program is while a call is made (a row of `zp_calls`, guest/signal/presentation.ts). */
export interface CallPlace {
  /** CALL_SITE and so on. */
  readonly kind: number;
  /** From the frame to rsp, in bytes. */
  readonly distance?: number;
  /** Where a thread goes on that a signal interrupts between there and the call. */
  readonly from?: Label;
}

/** Bytes of a `syscall`. */
export const SYSCALL_SIZE = 2;

export const slot = (offset: number) => mem(rsp, offset);

export function loadArguments(a: StubAssembler): void {
  ARGUMENTS.forEach((register, i) => {
    a.mov(64, register, slot(FRAME_ARGS + 8 * i));
  });
}

/** Hooks run with the rare flags clear. rsp is the frame; the word below it is free. */
function clearRareFlags(a: StubAssembler): void {
  a.test(32, slot(FRAME_FLAGS), RARE_FLAGS);
  a.rarely(() => {
    a.push(slot(FRAME_FLAGS));
    insideFrame(a, 8);
    a.and(32, mem(rsp, 0), ~RARE_FLAGS);
    a.op("popfq");
    insideFrame(a);
  });
}

/**
 * The flags to r11, where the kernel leaves them, and into the flags register. rax and rcx are spent.
 */
export function loadFlags(a: StubAssembler): void {
  a.mov(64, r11, slot(FRAME_FLAGS));
  a.test(32, r11, RARE_FLAGS);
  a.rarely(() => {
    a.push(r11);
    insideFrame(a, 8);
    a.op("popfq");
    insideFrame(a);
  });
  loadArithmeticFlags(a);
}

/** Flags and result as after a real call, rcx the address to go on at; arguments are in place already. */
export function restore(a: StubAssembler): void {
  loadFlags(a);
  a.mov(64, rax, slot(FRAME_RESULT));
  a.mov(64, rcx, slot(FRAME_NEXT));
}

/** rsp moves up from `from` to `to` (offsets in the frame). */
export function moveUp(a: StubAssembler, from: number, to: number): void {
  a.lea(64, rsp, slot(to - from));
  insideFrame(a, -to);
}

/** Pops the registers, whose words lie one after the other from `from` on (an offset in the frame, where rsp is). */
export function popWords(a: StubAssembler, from: number, registers: readonly Reg[]): void {
  registers.forEach((register, i) => {
    a.pop(register);
    insideFrame(a, -(from + 8 * (i + 1)));
  });
}

/** The address to go on at to rcx, and rsp from `from` (an offset in the frame) to `below` bytes below the program's. */
export function dropFrame(a: StubAssembler, from: number, below = 0): void {
  a.mov(64, rcx, slot(FRAME_NEXT - from));
  a.lea(64, rsp, slot(FRAME_TO_PROGRAM - from - below));
}

/** After a kernel entry the processor has forgotten its return addresses: a jump costs less than `ret`. */
export function leave(a: StubAssembler): void {
  loadFlags(a);
  moveUp(a, 0, FRAME_ARGS);
  popWords(a, FRAME_ARGS, [...ARGUMENTS, rax]);
  dropFrame(a, FRAME_FLAGS);
  outsideFrame(a);
  a.jmp(rcx);
  insideFrame(a);
}

/**
 * Without a kernel entry it remembers the `call` at the site, and `ret` keeps the balance, wherever the word below the
 * stack pointer is the address to go on at (not behind a jump patch, which made no call).
 */
export function leaveWithoutCall(a: StubAssembler): void {
  const jumped = a.label();
  a.mov(64, rcx, slot(FRAME_NEXT));
  a.cmp(64, rcx, slot(FRAME_TO_PROGRAM - 8));
  a.jcc("ne", jumped);
  loadFlags(a);
  moveUp(a, 0, FRAME_ARGS);
  popWords(a, FRAME_ARGS, [...ARGUMENTS, rax]);
  dropFrame(a, FRAME_FLAGS, 8);
  atReturnAddress(a);
  a.op("ret");
  insideFrame(a);
  a.bind(jumped);
  leave(a);
}

/** From here on rsp is the frame, which says where the program is; or it is `pushed` bytes below the frame. */
export const insideFrame = (a: StubAssembler, pushed = 0): void =>
  a.unwind({ reg: STACK_POINTER, offset: FRAME_TO_PROGRAM + pushed }, [[RETURN_ADDRESS, FRAME_IP - FRAME_TO_PROGRAM]]);
/** From here on rsp is the program's, or `pushed` bytes below it, and a register says where the program goes on. */
export const outsideFrame = (a: StubAssembler, pushed = 0, { dwarf } = rcx): void =>
  a.unwind({ reg: STACK_POINTER, offset: pushed }, [], dwarf);
/** From here on rsp is the program's, and nobody knows where that is. */
export const lost = (a: StubAssembler): void => a.unwind({ reg: STACK_POINTER, offset: 0 }, [], "nowhere");
/** From here on rsp points to the return address. */
export const atReturnAddress = (a: StubAssembler): void => a.unwind({ reg: STACK_POINTER, offset: 8 }, []);
/** Everything but the stack pointer as the program had it, rax the number, rcx the address after the call site. */
export function asTheProgram(a: StubAssembler): void {
  loadArguments(a);
  loadFlags(a);
  a.mov(64, rax, slot(FRAME_NR));
  a.mov(64, rcx, slot(FRAME_IP));
}

/** From the frame to the program's own stack pointer. */
export function toProgramStack(a: StubAssembler): void {
  a.lea(64, rsp, slot(FRAME_TO_PROGRAM));
  outsideFrame(a);
}

/** The two words of a frame that say where the program is, below the red zone: `ip`, and rcx, where it goes on. */
export function beginFrame(a: StubAssembler, ip: Reg = rcx): void {
  const redZone = FRAME_TO_PROGRAM - FRAME_SIZE;
  a.lea(64, rsp, slot(-redZone));
  outsideFrame(a, redZone, ip);
  a.push(ip); // FRAME_IP
  insideFrame(a, -FRAME_IP);
  a.push(rcx); // FRAME_NEXT
  insideFrame(a, -FRAME_NEXT);
}

/**
 * The rest of a frame; rcx is spent. rax, a number or a result, goes where either belongs. `push` has the shortest code,
 * and the processor's front end is what this path waits for.
 */
export function fillFrame(a: StubAssembler): void {
  a.lea(64, rsp, slot(FRAME_TSC - FRAME_NEXT));
  insideFrame(a, -FRAME_TSC);
  a.op("pushfq"); // FRAME_FLAGS
  insideFrame(a, -FRAME_FLAGS);
  [rax, ...ARGUMENTS.toReversed(), rax].forEach((register, i) => {
    a.push(register); // from FRAME_RESULT down to FRAME_NR
    insideFrame(a, -(FRAME_RESULT - 8 * i));
  });
  clearRareFlags(a);
}

/** A frame below the red zone; rcx, the address after the call site, is spent. */
export function enterFrame(a: StubAssembler): void {
  beginFrame(a);
  fillFrame(a);
}

/** From here on the frame (or its copy) lies `offset` above `reg`, and says where the program is, and where its stack. */
export function frameAt(a: StubAssembler, reg: number, offset: number): void {
  a.unwind({ reg, offset: offset + FRAME_IP + 8 }, [[STACK_POINTER, FRAME_SP - (FRAME_IP + 8)]]);
}

/** Eight writable bytes. */
export function pointer(name: string): ObjectFile["data"][number] {
  return { name, bytes: new Uint8Array(8), size: 8, align: 8, writable: true, relocs: [] };
}
