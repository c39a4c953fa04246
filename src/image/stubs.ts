/**
 * The machine code between the sled and the compiled guest. One template, written with the assembler; the disassembly is
 * checked by a test.
 *
 * Who runs this: every thread of the program, at every rewritten system call, at any stack depth, also in signal handlers
 * and in a child of vfork. On entry rax is the number (below 4096: it landed in the sled), [rsp] is the address after the
 * call site, all other registers are the program's. As after a real `syscall`, only rax, rcx (return address) and r11
 * (flags) change. Nothing above the frame is written but the return slot; vector registers are never touched.
 */

import type { ObjectFile } from "../compiler/object.ts";
import {
  Assembler,
  gs,
  indexed,
  mem,
  type Reg,
  r8,
  r9,
  r10,
  r11,
  rax,
  rcx,
  rdi,
  rdx,
  rsi,
  rsp,
  symbol,
} from "../compiler/x64.ts";
import { loadArithmeticFlags, RARE_FLAGS } from "./flags.ts";
import { checkSite } from "./landing.ts";
import {
  ACTION_FIRST_POINTER,
  ACTION_HOOK,
  ACTION_NUMBERS,
  ACTION_SECOND_POINTER,
  CANCEL_RETURN,
  CANCEL_SP,
  FRAME_ARGS,
  FRAME_FLAGS,
  FRAME_IP,
  FRAME_NR,
  FRAME_RESULT,
  FRAME_SIZE,
  FRAME_SP,
  FRAME_TO_PROGRAM,
  FRAME_TSC,
  THREAD_RETURN,
  THREAD_STACK,
  VERDICT_HOOK,
  VERDICT_RAW,
  VERDICT_SKIP,
} from "./layout.ts";

export const ARGUMENTS: readonly Reg[] = [rdi, rsi, rdx, r10, r8, r9];
const STACK_POINTER = rsp.dwarf;
/** Code that is hardly ever run stands behind all other, where it costs a jump that is not taken. */
export class StubAssembler extends Assembler {
  readonly #rare: (() => void)[] = [];

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
}

/** Bytes of a `syscall`. */
const SYSCALL_SIZE = 2;

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

/** Flags, result and stack pointer as after a real call, rcx the address to go on at; arguments are in place already. */
export function restore(a: StubAssembler): void {
  loadFlags(a);
  a.mov(64, rax, slot(FRAME_RESULT));
  a.mov(64, rcx, slot(FRAME_IP));
}

/** rsp moves up from `from` to `to` (offsets in the frame). */
function moveUp(a: StubAssembler, from: number, to: number): void {
  a.lea(64, rsp, slot(to - from));
  insideFrame(a, -to);
}

/** Pops the registers, whose words lie one after the other from `from` on (an offset in the frame, where rsp is). */
function popWords(a: StubAssembler, from: number, registers: readonly Reg[]): void {
  registers.forEach((register, i) => {
    a.pop(register);
    insideFrame(a, -(from + 8 * (i + 1)));
  });
}

/** The address to go on at to rcx, and rsp from `from` (an offset in the frame) to `below` bytes below the program's. */
function dropFrame(a: StubAssembler, from: number, below = 0): void {
  a.mov(64, rcx, slot(FRAME_IP - from));
  a.lea(64, rsp, slot(FRAME_TO_PROGRAM - from - below));
}

/** After a kernel entry the processor has forgotten its return addresses: a jump costs less than `ret`. */
function leave(a: StubAssembler): void {
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
function leaveWithoutCall(a: StubAssembler): void {
  const jumped = a.label();
  a.mov(64, rcx, slot(FRAME_IP));
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

/**
 * From here on rsp is the frame, which says where the program is and where its stack pointer was; or it is `pushed` bytes
 * below the frame.
 */
export const insideFrame = (a: StubAssembler, pushed = 0): void =>
  a.unwind({ reg: STACK_POINTER, offset: FRAME_IP + 8 + pushed }, [[STACK_POINTER, FRAME_SP - (FRAME_IP + 8)]]);
/**
 * From here on rsp is the program's, or `pushed` bytes below it; the word below the program's is still the return address,
 * if the site was a `call`.
 */
export const outsideFrame = (a: StubAssembler, pushed = 0): void =>
  a.unwind({ reg: STACK_POINTER, offset: pushed }, []);
/** From here on rsp points to the return address. */
export const atReturnAddress = (a: StubAssembler): void => a.unwind({ reg: STACK_POINTER, offset: 8 }, []);
/** rsp is right above the word that the function at the site has returned by; the rest is where on_cancel_point put it. */
const cancelReturn = (a: StubAssembler): void =>
  a.unwind({ reg: STACK_POINTER, offset: CANCEL_RETURN }, [[STACK_POINTER, CANCEL_SP - 8 - CANCEL_RETURN]]);

/**
 * Everything as the program had it, rax the number, and the program's own stack pointer; `last` is emitted while rsp is
 * still the frame.
 */
function asTheProgram(a: StubAssembler, last = (): void => {}): void {
  loadArguments(a);
  loadFlags(a);
  a.mov(64, rax, slot(FRAME_NR));
  last();
  a.lea(64, rsp, mem(rsp, FRAME_TO_PROGRAM));
  outsideFrame(a);
}

/**
 * A frame below the red zone; rcx, the address after the call site, is spent. rax, a number or a result, goes where either
 * belongs. `push` has the shortest code, and the processor's front end is what this path waits for.
 */
function enterFrame(a: StubAssembler): void {
  const redZone = FRAME_TO_PROGRAM - FRAME_SIZE;
  a.lea(64, rsp, slot(-redZone));
  outsideFrame(a, redZone);
  a.push(rcx); // FRAME_IP
  outsideFrame(a, redZone + 8);
  a.lea(64, rcx, slot(redZone + 8));
  a.push(rcx); // FRAME_SP
  insideFrame(a, -FRAME_SP);
  a.lea(64, rsp, slot(FRAME_TSC - FRAME_SP));
  insideFrame(a, -FRAME_TSC);
  a.op("pushfq"); // FRAME_FLAGS
  insideFrame(a, -FRAME_FLAGS);
  [rax, ...ARGUMENTS.toReversed(), rax].forEach((register, i) => {
    a.push(register); // from FRAME_RESULT down to FRAME_NR
    insideFrame(a, -(FRAME_RESULT - 8 * i));
  });
  clearRareFlags(a);
}

/** The call itself, with nothing but the return address on the stack. */
function bypassed(a: StubAssembler): void {
  a.op("syscall");
  a.pop(rcx);
  outsideFrame(a);
  a.jmp(rcx);
  atReturnAddress(a);
}

export function entryStub(): ObjectFile {
  const a = new StubAssembler();
  const decided = a.label();
  const called = a.label();
  const hooked = a.label();
  const callExit = a.label();
  const answer = a.label();
  const done = a.label();
  const skip = a.label();
  const raw = a.label();
  const noStack = a.label();

  const known = a.label();
  const bypass = a.label();
  const first = a.label();
  const second = a.label();
  const low = a.label();

  a.mark("zp_entry");
  atReturnAddress(a);
  checkSite(a, known);

  // Nobody looks at this number: five bytes, and no flags changed on the way here.
  a.mark("zp_bypass");
  a.bind(bypass);
  bypassed(a);

  // Nobody looks at it, but at its one pointer argument: one beyond 4 GiB does not lead into page 0.
  for (const [name, label, register] of [
    ["first", first, rdi],
    ["second", second, rsi],
  ] as const) {
    a.mark(`zp_${name}_pointer`);
    a.bind(label);
    a.mov(64, rcx, register);
    a.bswap(64, rcx);
    a.mov(32, rcx, rcx);
    a.jrcxz(low);
    bypassed(a);
  }

  a.mark("zp_known");
  a.bind(known);
  a.lea(64, r11, symbol("zp_actions"));
  a.movzx(rcx, 8, indexed(r11, rax));
  a.jrcxz(bypass);
  a.mov(32, r11, rcx);
  a.lea(64, rcx, mem(rcx, -ACTION_FIRST_POINTER));
  a.jrcxz(first);
  a.lea(64, rcx, mem(rcx, ACTION_FIRST_POINTER - ACTION_SECOND_POINTER));
  a.jrcxz(second);
  a.bind(low);
  a.pop(rcx);
  outsideFrame(a);
  enterFrame(a);
  a.mov(64, rdi, rsp);
  a.mov(32, rsi, r11);
  a.test(8, rsi, ACTION_HOOK);
  a.jcc("ne", hooked);
  a.call("on_enter");
  a.bind(decided);
  a.cmp(32, rax, VERDICT_SKIP);
  a.jcc("ne", called);

  // VERDICT_SKIP
  a.bind(skip);
  leaveWithoutCall(a);

  a.bind(called);
  a.jcc("a", answer);
  a.test(32, rax, rax);
  a.jcc("ne", callExit);

  // VERDICT_CALL: the kernel leaves flags and r11 as they must be.
  loadFlags(a);
  popWords(a, FRAME_NR, [rax, ...ARGUMENTS]);
  a.op("syscall");
  dropFrame(a, FRAME_RESULT);
  outsideFrame(a);
  a.jmp(rcx);

  // VERDICT_CALL_EXIT
  insideFrame(a);
  a.bind(callExit);
  loadArguments(a);
  a.mov(64, rax, slot(FRAME_NR));
  a.op("syscall");
  a.mov(64, slot(FRAME_RESULT), rax);
  a.mov(64, rdi, rsp);
  a.call("on_exit");
  a.bind(done);
  leave(a);

  // The C hook gets it.
  insideFrame(a);
  a.bind(hooked);
  a.call("on_hook_enter");
  a.cmp(32, rax, VERDICT_HOOK);
  a.jcc("ne", decided);
  a.jmp(symbol("zp_hook_way"));

  // A jump patch comes here, with any number, and the address after its call site in rcx; it has not touched the stack.
  outsideFrame(a);
  a.mark("zp_jump_entry");
  enterFrame(a);
  a.mark("zp_frame_ready");
  a.mark("zp_frame_ready");
  a.mov(64, rdi, rsp);
  a.call("on_enter_any");
  a.jmp(decided);

  a.bind(answer);
  a.cmp(32, rax, VERDICT_RAW);
  a.jcc("e", raw);
  a.cmp(32, rax, VERDICT_HOOK);
  a.jcc("e", "zp_hook");
  a.jmp(noStack);

  // VERDICT_RAW: the kernel returns here, or in a child of clone on another stack, whose red zone holds what is needed.
  a.bind(raw);
  asTheProgram(a);
  a.op("syscall");
  a.mark("zp_raw_returned");
  enterFrame(a); // on_raw_exit knows the address that rcx does not hold any more
  a.mov(64, rdi, rsp);
  a.call("on_raw_exit");
  a.jmp(done);

  // VERDICT_NOSTACK: the return address waits in the thread block, and a stack for the `call` at the next site.
  insideFrame(a);
  a.bind(noStack);
  asTheProgram(a);
  a.op("syscall");
  a.mov(64, rcx, rax);
  a.bytes(0xe3, 2); // jrcxz over the next jump: the stack is gone
  a.bytes(0xeb, 9); // jmp over the next instruction
  a.mov(64, rsp, gs(THREAD_STACK));
  a.mov(64, rcx, gs(THREAD_RETURN));
  a.jmp(rcx);

  // A cancellation point (guest/process/cancel.ts): the call is made by the instruction at the site itself.
  a.mark("zp_cancel_entry");
  enterFrame(a);
  a.mov(64, rdi, rsp);
  a.call("on_cancel_point");
  a.cmp(32, rax, VERDICT_SKIP);
  a.jcc("e", skip);
  a.jcc("a", answer);
  asTheProgram(a, () => {
    a.mov(64, rcx, slot(FRAME_IP));
    a.lea(64, rcx, mem(rcx, -SYSCALL_SIZE));
  });
  a.jmp(rcx);

  // Where the function at the site returns to when its call has an exit hook.
  cancelReturn(a);
  a.op("nop");
  a.mark("zp_cancel_return");
  a.lea(64, rsp, mem(rsp, -8));
  enterFrame(a);
  a.mov(64, rdi, rsp);
  a.call("on_cancel_return");
  loadArguments(a);
  restore(a);
  a.lea(64, rsp, mem(rsp, FRAME_TO_PROGRAM));
  atReturnAddress(a);
  a.op("ret");

  insideFrame(a);
  a.placeRare();

  return {
    code: [a.finish("zp_stub", { align: 64 })],
    data: [
      {
        name: "zp_actions",
        bytes: new Uint8Array(0),
        size: ACTION_NUMBERS + 1,
        align: 64,
        writable: true,
        relocs: [],
      },
      // Filled in by the dynamic loader with the address of libc's `environ`, or 0.
      pointer("zp_environ"),
    ],
  };
}

/** Eight writable bytes. */
export function pointer(name: string): ObjectFile["data"][number] {
  return { name, bytes: new Uint8Array(8), size: 8, align: 8, writable: true, relocs: [] };
}
