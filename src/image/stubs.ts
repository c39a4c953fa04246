/**
 * The machine code between the sled and the compiled guest. One template, written with the assembler; the disassembly is
 * checked by a test.
 *
 * Who runs this: every thread of the program, at every rewritten system call, at any stack depth, also in signal handlers
 * and in a child of vfork. All registers are the program's, but for those of the way in:
 *
 *     zp_entry        [rsp] is the address after the call site, rax is below 4096: it landed in the sled
 *     zp_jump_entry   rcx is the address after the call site; rax may be anything
 *     zp_jump_known   the same, and rax is below 512, as the instruction before the site has set it
 *     zp_jump_tail    r11 is the address after the call site, rcx where to go on: at the rest of the jump patch
 *
 * As after a real `syscall`, only rax, rcx (return address) and r11 (flags) change. Nothing above the frame is written but
 * the return slot; vector registers are never touched. A jump patch gets no word of the stack written above the frame.
 */

import type { ObjectFile } from "../compiler/object.ts";
import { gs, indexed, type Label, mem, r11, rax, rcx, rdi, rsi, rsp, symbol } from "../compiler/x64.ts";
import { unlessCancelled } from "./cancel.ts";
import {
  ARGUMENTS,
  asTheProgram,
  atReturnAddress,
  beginFrame,
  dropFrame,
  enterFrame,
  fillFrame,
  insideFrame,
  leave,
  leaveWithoutCall,
  loadArguments,
  loadFlags,
  lost,
  outsideFrame,
  pointer,
  popWords,
  restore,
  StubAssembler,
  slot,
  toProgramStack,
} from "./frame.ts";
import { checkSite } from "./landing.ts";
import {
  ACTION_FIRST_POINTER,
  ACTION_HOOK,
  ACTION_NUMBERS,
  ACTION_SECOND_POINTER,
  CALL_BEGUN,
  CALL_FRAME,
  CALL_RAW,
  CALL_SITE,
  CANCEL_FLAG,
  FRAME_IP,
  FRAME_NEXT,
  FRAME_NR,
  FRAME_RESULT,
  FRAME_SP,
  FRAME_TO_PROGRAM,
  HANDOVER_LOWERED,
  THREAD_RETURN,
  THREAD_STACK,
  VERDICT_DISPATCH,
  VERDICT_HOOK,
  VERDICT_RAW,
  VERDICT_SKIP,
} from "./layout.ts";

/** The call itself, with nothing but the return address on the stack. */
function bypassed(a: StubAssembler): void {
  a.systemCall({ kind: CALL_SITE });
  a.pop(rcx);
  outsideFrame(a);
  a.jmp(rcx);
  atReturnAddress(a);
}

/** Goes on at `to` when the number is below 512, as all are that the kernel knows; no flag changes, and rcx is spent. */
function ifSmallNumber(a: StubAssembler, to: Label): void {
  const other = a.label();
  const noHighBits = a.label();
  a.mov(32, rcx, rax);
  a.bswap(32, rcx);
  a.movzx(rcx, 16, rcx);
  a.jrcxz(noHighBits);
  a.jmp(other);
  a.bind(noHighBits);
  a.bytes(0x0f, 0xb6, 0xcc); // movzx %ah, %ecx
  a.jrcxz(to);
  a.lea(32, rcx, mem(rcx, -1));
  a.jrcxz(to);
  a.bind(other);
}

/** Asks on_enter; goes on with the verdict in rax. r11: the action. rsp is a frame that beginFrame has begun. */
function ask(a: StubAssembler, hooked: Label): void {
  fillFrame(a);
  a.mov(64, rdi, rsp);
  a.mov(32, rsi, r11);
  a.test(8, rsi, ACTION_HOOK);
  a.jcc("ne", hooked);
  a.call("on_enter");
}

/** Nobody looks at this number: no flags changed, and nothing on the stack but the two words of beginFrame. */
function bypassedJump(a: StubAssembler): void {
  a.systemCall({ kind: CALL_BEGUN, distance: FRAME_NEXT });
  a.pop(rcx);
  insideFrame(a, -FRAME_IP);
  a.lea(64, rsp, slot(FRAME_TO_PROGRAM - FRAME_IP));
  outsideFrame(a);
  a.jmp(rcx);
}

export function entryStub(): ObjectFile {
  const a = new StubAssembler();
  const decided = a.label();
  const called = a.label();
  const hooked = a.label();
  const callExit = a.label();
  const answer = a.label();
  const skip = a.label();
  const made = a.label();
  const raw = a.label();
  const noStack = a.label();

  const known = a.label();
  const bypass = a.label();
  const first = a.label();
  const second = a.label();
  const low = a.label();
  const begun = a.label();
  const any = a.label();

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
  beginFrame(a);
  ask(a, hooked);
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
  a.systemCall({ kind: CALL_FRAME, distance: FRAME_RESULT });
  dropFrame(a, FRAME_RESULT);
  outsideFrame(a);
  a.jmp(rcx);

  // VERDICT_CALL_EXIT
  insideFrame(a);
  a.bind(callExit);
  loadArguments(a);
  a.mov(64, rax, slot(FRAME_NR));
  a.systemCall({ kind: CALL_FRAME });
  a.bind(made);
  a.mov(64, slot(FRAME_RESULT), rax);
  a.mov(64, rdi, rsp);
  a.call("on_exit");
  leave(a);

  // The C hook gets it.
  insideFrame(a);
  a.bind(hooked);
  a.call("on_hook_enter");
  a.cmp(32, rax, VERDICT_HOOK);
  a.jcc("ne", decided);
  a.jmp(symbol("zp_hook_way"));

  outsideFrame(a, 0, r11);
  a.mark("zp_jump_tail");
  beginFrame(a, r11);
  a.jmp(begun);

  outsideFrame(a);
  a.mark("zp_jump_entry");
  beginFrame(a);
  a.bind(begun);
  const small = a.label();
  const bypassJump = a.label();
  ifSmallNumber(a, small);
  a.jmp(any);

  insideFrame(a, -FRAME_NEXT);
  a.mark("zp_jump_bypass");
  a.bind(bypassJump);
  bypassedJump(a);

  // As zp_known, but for the way back: no call has been made at the site.
  a.mark("zp_jump_known");
  beginFrame(a);
  a.bind(small);
  a.lea(64, r11, symbol("zp_actions"));
  a.mov(32, rcx, rax);
  a.movzx(rcx, 8, indexed(r11, rcx));
  a.jrcxz(bypassJump);
  a.mov(32, r11, rcx);
  ask(a, hooked);
  a.cmp(32, rax, VERDICT_SKIP);
  a.jcc("ne", called);
  leave(a);

  insideFrame(a, -FRAME_NEXT);
  a.bind(any);
  fillFrame(a);
  a.mark("zp_frame_ready");
  a.mov(64, rdi, rsp);
  a.call("on_enter_any");
  a.jmp(decided);

  a.bind(answer);
  a.cmp(32, rax, VERDICT_RAW);
  a.jcc("e", raw);
  a.cmp(32, rax, VERDICT_HOOK);
  a.jcc("e", "zp_hook");
  a.cmp(32, rax, VERDICT_DISPATCH);
  a.jcc("e", "zp_dispatch");
  a.jmp(noStack);

  // VERDICT_RAW: the kernel returns here with the frame, which then keeps what is needed (guest/process/clone.ts), or in a
  // child of clone with a new stack. So what follows makes a frame below either, as if we were a call site.
  a.bind(raw);
  a.mov(64, slot(HANDOVER_LOWERED), FRAME_TO_PROGRAM);
  asTheProgram(a);
  a.systemCall({ kind: CALL_RAW });
  a.mark("zp_raw_returned");
  const same = a.label();
  const child = a.label();
  const either = a.label();
  a.mov(64, rcx, rax);
  a.jrcxz(child);
  a.bind(same);
  a.lea(64, rcx, symbol("zp_raw_returned"));
  a.jmp(either);
  a.bind(child);
  a.mov(64, rcx, slot(HANDOVER_LOWERED));
  a.jrcxz(either); // with a new stack: 0, unwinding ends there
  a.jmp(same);
  a.bind(either);
  outsideFrame(a);
  enterFrame(a);
  a.mov(64, rdi, rsp);
  a.call("on_raw_exit");
  loadArguments(a);
  restore(a);
  a.mov(64, rsp, slot(FRAME_SP));
  outsideFrame(a);
  a.jmp(rcx);

  // VERDICT_NOSTACK: the address to go on at waits in the thread block, and a stack for the next call.
  insideFrame(a);
  a.bind(noStack);
  asTheProgram(a);
  toProgramStack(a);
  a.op("syscall");
  lost(a);
  a.mov(64, rcx, rax);
  a.bytes(0xe3, 2); // jrcxz over the next jump: the stack is gone
  a.bytes(0xeb, 9); // jmp over the next instruction
  a.mov(64, rsp, gs(THREAD_STACK));
  a.mov(64, rcx, gs(THREAD_RETURN));
  a.jmp(rcx);

  // A cancellation point of the C library (guest/rewrite/cancellation.ts).
  outsideFrame(a);
  a.mark("zp_cancel_entry");
  enterFrame(a);
  a.mov(64, rdi, rsp);
  a.call("on_cancel_point");
  a.cmp(32, rax, VERDICT_SKIP);
  a.jcc("e", skip);
  a.jcc("a", answer);
  loadArguments(a);
  a.mov(64, rax, slot(FRAME_NR));
  const unchecked = a.bind();
  a.mov(64, r11, slot(FRAME_TO_PROGRAM + CANCEL_FLAG));
  unlessCancelled(a, () => a.systemCall({ kind: CALL_FRAME, from: unchecked }));
  a.jmp(made);

  insideFrame(a);
  a.placeRare();

  const code = a.finish("zp_stub", { align: 64 });
  return {
    code: [code],
    data: [
      a.calls("zp_calls", code.name),
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
