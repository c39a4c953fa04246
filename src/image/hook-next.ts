/** `zp_next`: what a C hook calls for the original call. Who runs this, and on which stack: see hook-stub.ts. */

import {
  gs,
  indexed,
  type Label,
  mem,
  type Reg,
  r8,
  r9,
  r10,
  r11,
  rax,
  rbp,
  rcx,
  rdi,
  rdx,
  rsi,
  rsp,
  symbol,
} from "../compiler/x64.ts";
import { unlessCancelled } from "./cancel.ts";
import { frameAt, insideFrame, loadArguments, SAVED, STACK_POINTER, type StubAssembler, slot } from "./frame.ts";
import {
  ACTION_FIRST_POINTER,
  ACTION_NUMBERS,
  ACTION_POINTERS,
  ACTION_SECOND_POINTER,
  ACTION_SPECIAL,
  CALL_LEVEL,
  CALL_RAW,
  FRAME_ARGS,
  FRAME_CANCEL,
  FRAME_FLAGS,
  FRAME_IP,
  FRAME_NEXT,
  FRAME_NR,
  FRAME_RESULT,
  FRAME_SIZE,
  FRAME_SP,
  FRAME_THROUGH_HOOK,
  FRAME_TO_PROGRAM,
  FRAME_TSC,
  HANDOVER_LOWERED,
  HANDOVER_THROUGH_HOOK,
  HOOK_STACK_SIZE,
  LEVEL_FRAME,
  LEVEL_SAVED,
  THREAD_HOOK_CALL_SP,
  THREAD_HOOK_IN,
  THREAD_HOOK_LEVEL,
  THREAD_HOOK_NEXT_SP,
  VERDICT_RAW,
  VERDICT_SKIP,
} from "./layout.ts";

/** Size of page 0. */
const PAGE = 4096;

/**
 * The hook waits in the kernel, on the stack pointer that enter.ts has chosen, the frame on the program's stack as a rule:
 * handlers see that stack. The hook's own rsp points to the return address. Ends with a jump there, which costs less than
 * `ret`: the processor has forgotten its return addresses in the kernel.
 */
function realCall(a: StubAssembler): void {
  const stay = a.label();
  leaveStack(a);
  a.test(64, rcx, rcx);
  a.jcc("e", stay);
  a.mov(64, rsp, rcx);
  frameAt(a, STACK_POINTER, 0);
  a.systemCall({ kind: CALL_LEVEL });
  a.mov(64, rsp, gs(THREAD_HOOK_NEXT_SP));
  a.unwind({ reg: STACK_POINTER, offset: 8 }, []);
  a.mov(64, gs(THREAD_HOOK_IN), rsp);
  jumpBack(a);
  a.bind(stay);
  a.systemCall({ kind: CALL_LEVEL });
  a.mov(64, gs(THREAD_HOOK_IN), rsp);
  jumpBack(a);
}

/** The hook waits from here on; rcx is the stack pointer that it waits with, or 0 for its own. */
function leaveStack(a: StubAssembler): void {
  a.mov(64, rcx, gs(THREAD_HOOK_CALL_SP));
  a.mov(64, gs(THREAD_HOOK_NEXT_SP), rsp);
  a.mov(64, gs(THREAD_HOOK_IN), 0); // first: a handler on the program's stack would take the hook for abandoned
}

function jumpBack(a: StubAssembler): void {
  a.pop(rcx);
  a.unwind({ reg: STACK_POINTER, offset: 0 }, []);
  a.jmp(rcx);
  a.unwind({ reg: STACK_POINTER, offset: 8 }, []);
}

/** The same for a call that on_next has looked at, perhaps at a cancellation point; rbp is its caller's frame. */
function realCallOfNext(a: StubAssembler): void {
  leaveStack(a);
  a.test(64, rcx, rcx);
  a.cmov("e", 64, rcx, rsp);
  a.mov(64, rsp, rcx);
  const unchecked = a.bind();
  const usual = a.label();
  const called = a.label();
  a.mov(64, r11, gs(THREAD_HOOK_LEVEL));
  a.mov(64, r11, mem(r11, LEVEL_FRAME + FRAME_CANCEL));
  a.test(64, r11, r11);
  a.jcc("e", usual);
  unlessCancelled(a, () => a.systemCall({ kind: CALL_LEVEL, from: unchecked }));
  a.jmp(called);
  a.bind(usual);
  a.systemCall({ kind: CALL_LEVEL });
  a.bind(called);
  backInHook(a);
}

function backInHook(a: StubAssembler): void {
  a.mov(64, rsp, gs(THREAD_HOOK_NEXT_SP));
  a.mov(64, gs(THREAD_HOOK_IN), rsp);
}

/** `long next(long nr, long a1, …, long a6)` for C code: the original call. */
export function next(a: StubAssembler): void {
  const elsewhere = a.label();
  const special = a.label();
  const plain = a.label();
  const result = a.label();
  const raw = a.label();

  a.mark("zp_next");
  a.unwind({ reg: STACK_POINTER, offset: 8 }, []);
  a.mov(64, rax, gs(THREAD_HOOK_LEVEL));
  a.sub(64, rax, rsp);
  a.cmp(64, rax, HOOK_STACK_SIZE);
  a.jcc("ae", elsewhere);
  a.mov(64, r11, gs(THREAD_HOOK_LEVEL));
  a.cmp(64, mem(r11, LEVEL_FRAME + FRAME_CANCEL), 0);
  a.jcc("ne", special);
  a.mov(32, rax, rdi);
  a.cmp(32, rax, ACTION_NUMBERS);
  a.jcc("ae", plain);
  a.lea(64, r11, symbol("zp_actions"));
  a.movzx(rax, 8, indexed(r11, rax));
  a.test(8, rax, ACTION_SPECIAL);
  a.jcc("ne", special);
  a.test(8, rax, ACTION_POINTERS);
  a.jcc("e", plain);
  onlyPointer(a, ACTION_FIRST_POINTER, rsi, { above: plain, below: special });
  onlyPointer(a, ACTION_SECOND_POINTER, rdx, { above: plain, below: special });
  a.jmp(special);
  a.bind(plain);
  systemCallArguments(a);
  realCall(a);

  // A thread that the hook has made itself, or the hook's start-up: no level belongs to the caller.
  a.bind(elsewhere);
  systemCallArguments(a);
  a.op("syscall");
  a.op("ret");

  // A call that needs care: on_next looks at it in a frame of its own.
  a.bind(special);
  a.push(rbp);
  a.unwind({ reg: STACK_POINTER, offset: 16 }, [[rbp.dwarf, -16]]);
  a.mov(64, rbp, rsp);
  a.unwind({ reg: rbp.dwarf, offset: 16 }, [[rbp.dwarf, -16]]);
  a.lea(64, rsp, slot(-FRAME_SIZE));
  a.mov(64, slot(FRAME_NR), rdi);
  [rsi, rdx, rcx, r8, r9].forEach((register, i) => {
    a.mov(64, slot(FRAME_ARGS + 8 * i), register);
  });
  a.mov(64, rax, mem(rbp, 16));
  a.mov(64, slot(FRAME_ARGS + 40), rax);
  a.mov(64, r11, gs(THREAD_HOOK_LEVEL));
  for (const field of [FRAME_SP, FRAME_NEXT, FRAME_IP, FRAME_FLAGS, FRAME_TSC]) {
    a.mov(64, rax, mem(r11, LEVEL_FRAME + field));
    a.mov(64, slot(field), rax);
  }
  a.mov(64, rdi, rsp);
  a.call("on_next");
  a.cmp(32, rax, VERDICT_SKIP);
  a.jcc("e", result);
  a.cmp(32, rax, VERDICT_RAW);
  a.jcc("e", raw);
  loadArguments(a);
  a.mov(64, rax, slot(FRAME_NR));
  realCallOfNext(a);
  const returned = a.bind();
  a.mov(64, slot(FRAME_RESULT), rax);
  a.mov(64, rdi, rsp);
  a.call("on_next_exit");
  a.bind(result);
  a.mov(64, rax, slot(FRAME_RESULT));
  a.mov(64, rsp, rbp);
  a.pop(rbp);
  a.unwind({ reg: STACK_POINTER, offset: 8 }, []);
  a.op("ret");

  // clone and its like: the child has all registers of the program, and a stack pointer where the program's frame is, or a
  // new one. The frame of on_next lies on the hook's stack, below it the hook's own registers.
  a.bind(raw);
  a.unwind({ reg: rbp.dwarf, offset: 16 }, [[rbp.dwarf, -16]]);
  for (const register of SAVED) a.push(register);
  a.mov(64, gs(THREAD_HOOK_NEXT_SP), rsp);
  a.mov(64, gs(THREAD_HOOK_IN), 0);
  a.mov(64, r11, gs(THREAD_HOOK_LEVEL));
  a.lea(64, rcx, slot(8 * SAVED.length));
  frameAt(a, r11.dwarf, LEVEL_FRAME);
  a.push(mem(rcx, FRAME_NR));
  a.push(mem(r11, LEVEL_FRAME + FRAME_FLAGS));
  SAVED.forEach((register, i) => {
    a.mov(64, register, mem(r11, LEVEL_SAVED + 8 * i));
  });
  [rdi, rsi, rdx, r10, r8, r9].forEach((register, i) => {
    a.mov(64, register, mem(rcx, FRAME_ARGS + 8 * i));
  });
  a.op("popfq");
  a.pop(rax);
  a.mov(64, rsp, mem(r11, LEVEL_FRAME + FRAME_SP));
  a.lea(64, rsp, slot(-FRAME_TO_PROGRAM));
  insideFrame(a);
  a.mov(64, rcx, slot(FRAME_THROUGH_HOOK));
  a.mov(64, slot(HANDOVER_THROUGH_HOOK), rcx);
  a.mov(64, slot(HANDOVER_LOWERED), FRAME_TO_PROGRAM);
  a.systemCall({ kind: CALL_RAW });
  const FAR_JUMP = 5;
  const jrcxzOver = (bytes: number) => a.bytes(0xe3, bytes); // the flags are the program's: nothing here may change them
  a.mov(64, rcx, rax);
  jrcxzOver(FAR_JUMP);
  a.jmp("zp_next_parent");
  a.mov(64, rcx, slot(HANDOVER_THROUGH_HOOK));
  jrcxzOver(FAR_JUMP);
  a.jmp("zp_next_parent");
  a.jmp("zp_raw_returned");
  a.mark("zp_next_parent");
  a.mov(64, rsp, gs(THREAD_HOOK_NEXT_SP));
  const inHook = (words: number) =>
    a.unwind({ reg: STACK_POINTER, offset: 8 * words + FRAME_SIZE + 16 }, [[rbp.dwarf, -16]]);
  inHook(SAVED.length);
  a.mov(64, gs(THREAD_HOOK_IN), rsp);
  a.op("cld");
  SAVED.toReversed().forEach((register, i) => {
    a.pop(register);
    inHook(SAVED.length - 1 - i);
  });
  a.unwind({ reg: rbp.dwarf, offset: 16 }, [[rbp.dwarf, -16]]);
  a.jmp(returned);
}

/** Where eax has the action `kind`: whether the one pointer of the call lies above page 0. */
function onlyPointer(a: StubAssembler, kind: number, pointer: Reg, to: { above: Label; below: Label }): void {
  const other = a.label();
  a.test(8, rax, kind & ~ACTION_POINTERS);
  a.jcc("e", other);
  a.cmp(64, pointer, PAGE);
  a.jcc("ae", to.above);
  a.jmp(to.below);
  a.bind(other);
}

/** C arguments (number first, the seventh on the stack) to those of a system call. */
function systemCallArguments(a: StubAssembler): void {
  a.mov(64, rax, rdi);
  a.mov(64, rdi, rsi);
  a.mov(64, rsi, rdx);
  a.mov(64, rdx, rcx);
  a.mov(64, r10, r8);
  a.mov(64, r8, r9);
  a.mov(64, r9, slot(8));
}
