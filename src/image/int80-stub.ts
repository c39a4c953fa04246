/**
 * The way of a system call by `int $0x80` that has trapped: its convention is that of 32-bit programs (number in eax, arguments
 * in ebx ecx edx esi edi ebp), and it changes no register but rax: rcx and r11 stay, too.
 *
 * Who runs this: any thread, sent here by the handler of SIGSYS (guest/trap/int80.ts), with rsp at the two words that say where
 * the program is (INT80_*), which lie where no signal frame will be, and all other registers the program's. It makes a frame
 * below the program's red zone as the entry stub does, and below that keeps what the frame has no room for.
 */
import type { ObjectFile } from "../compiler/object.ts";
import { Assembler, type Mem, mem, r8, r9, r10, r11, rax, rbp, rbx, rcx, rdi, rdx, rsi, rsp } from "../compiler/x64.ts";
import { RARE_FLAGS } from "./flags.ts";
import { STACK_POINTER } from "./frame.ts";
import {
  FRAME_ARGS,
  FRAME_FLAGS,
  FRAME_IP,
  FRAME_NR,
  FRAME_RESULT,
  FRAME_SP,
  FRAME_TO_PROGRAM,
  INT80_IP,
  INT80_RAX,
  INT80_SAVED,
  INT80_SP,
  VERDICT_RAW,
  VERDICT_SKIP,
} from "./layout.ts";

/** The arguments, as they stand in the frame; then what else compiled code may change and the program keeps. */
const ARGUMENTS = [rbx, rcx, rdx, rsi, rdi, rbp] as const;
const KERNEL = [r8, r9, r10, r11] as const;
const SAVED = [...ARGUMENTS, ...KERNEL] as const;

/** Of the frame, when rsp is at the saved registers below it. */
const slot = (offset: number): Mem => mem(rsp, INT80_SAVED + offset);

/** From here on rsp is at the saved registers, or `pushed` bytes below. */
const inside = (a: Assembler, pushed = 0): void =>
  a.unwind({ reg: STACK_POINTER, offset: INT80_SAVED + FRAME_IP + 8 + pushed }, [
    [STACK_POINTER, FRAME_SP - (FRAME_IP + 8)],
  ]);

const INT_80 = [0xcd, 0x80] as const;

function loadFlags(a: Assembler): void {
  a.push(slot(FRAME_FLAGS));
  inside(a, 8);
  a.op("popfq");
  inside(a);
}

function clearRareFlags(a: Assembler): void {
  a.op("pushfq");
  inside(a, 8);
  a.and(32, mem(rsp), ~RARE_FLAGS);
  a.op("popfq");
  inside(a);
}

export function int80Stub(): ObjectFile {
  const a = new Assembler();
  const skip = a.label();
  const raw = a.label();
  a.mark("zp_int80_entry");
  a.unwind({ reg: STACK_POINTER, offset: INT80_IP + 8 }, [[STACK_POINTER, INT80_SP - (INT80_IP + 8)]]);
  a.mov(64, mem(rsp, INT80_RAX), rax);
  a.mov(64, rax, mem(rsp, INT80_SP));
  a.lea(64, rax, mem(rax, -FRAME_TO_PROGRAM - INT80_SAVED));
  SAVED.forEach((register, i) => {
    a.mov(64, mem(rax, 8 * i), register);
  });
  ARGUMENTS.forEach((register, i) => {
    a.mov(64, mem(rax, INT80_SAVED + FRAME_ARGS + 8 * i), register);
  });
  for (const [from, to] of [
    [INT80_RAX, FRAME_NR],
    [INT80_SP, FRAME_SP],
    [INT80_IP, FRAME_IP],
  ] as const) {
    a.mov(64, rcx, mem(rsp, from));
    a.mov(64, mem(rax, INT80_SAVED + to), rcx);
  }
  a.mov(64, rsp, rax);
  inside(a);
  a.op("pushfq");
  inside(a, 8);
  a.pop(slot(FRAME_FLAGS)); // the address is that of rsp after the pop
  inside(a);
  clearRareFlags(a);
  a.lea(64, rdi, slot(0));
  a.call("on_int80");
  a.cmp(32, rax, VERDICT_SKIP);
  a.jcc("e", skip);
  a.cmp(32, rax, VERDICT_RAW);
  a.jcc("e", raw);

  loadAll(a);
  a.bytes(...INT_80);
  a.mov(64, slot(FRAME_RESULT), rax);
  KERNEL.forEach((register, i) => {
    a.mov(64, mem(rsp, 8 * (ARGUMENTS.length + i)), register); // kernels before 4.17 zero them
  });
  clearRareFlags(a);
  a.lea(64, rdi, slot(0));
  a.call("on_int80_exit");
  a.bind(skip);
  loadFlags(a);
  SAVED.forEach((register, i) => {
    a.mov(64, register, mem(rsp, 8 * i));
  });
  a.mov(64, rax, slot(FRAME_RESULT));
  a.lea(64, rsp, slot(FRAME_IP));
  a.unwind({ reg: STACK_POINTER, offset: 8 }, [[STACK_POINTER, FRAME_SP - (FRAME_IP + 8)]]);
  const above = FRAME_TO_PROGRAM - FRAME_IP - 8;
  a.bytes(0xc2, above & 0xff, above >> 8); // ret: rsp is the program's at the same moment

  // sigreturn and rt_sigreturn, which read the stack and do not come back.
  inside(a);
  a.bind(raw);
  loadAll(a);
  a.mov(64, rsp, slot(FRAME_SP));
  a.bytes(...INT_80);
  a.op("ud2");
  return { code: [a.finish("zp_int80", { align: 16 })], data: [] };
}

/** The program's registers, the arguments as on_int80 has left them in the frame. */
function loadAll(a: Assembler): void {
  loadFlags(a);
  KERNEL.forEach((register, i) => {
    a.mov(64, register, mem(rsp, 8 * (ARGUMENTS.length + i)));
  });
  ARGUMENTS.forEach((register, i) => {
    a.mov(64, register, slot(FRAME_ARGS + 8 * i));
  });
  a.mov(64, rax, slot(FRAME_NR));
}
