/**
 * The machine code between a system call and a C hook, and back: `zp_hook` calls the hook, `zp_next` is what the hook calls
 * for the original call.
 *
 * Who runs this: any thread, with a frame of the entry stub. The hook is C code that knows nothing of us: it gets a stack
 * of its own (or goes on below the frame: enter.ts decides), and all vector, x87 and MXCSR state comes back. What the stub
 * needs after it lies in a level (LEVEL_* in layout.ts) on that stack; a frame on the program's stack would be written
 * over by a child of vfork.
 *
 * Signals: a handler may interrupt this anywhere and make hooked calls. It finds the THREAD_HOOK_* words either as they
 * were or as they will be, and leaves them as it found them.
 */

import type { CodeUnit, ObjectFile } from "../compiler/object.ts";
import { gs, mem, r8, r9, r11, rax, rcx, rdi, rdx, rsi, rsp, symbol } from "../compiler/x64.ts";
import {
  ARGUMENTS,
  atReturnAddress,
  frameAt,
  loadArguments,
  outsideFrame,
  pointer,
  restore,
  SAVED,
  STACK_POINTER,
  StubAssembler,
  slot,
} from "./frame.ts";
import { faultUnit } from "./hook-fault.ts";
import { next } from "./hook-next.ts";
import {
  FRAME_ARGS,
  FRAME_CANCEL,
  FRAME_COOKIE,
  FRAME_FLAGS,
  FRAME_IP,
  FRAME_NEXT,
  FRAME_NR,
  FRAME_PLAN,
  FRAME_RESULT,
  FRAME_SP,
  FRAME_TO_PROGRAM,
  FRAME_TSC,
  LEVEL_FRAME,
  LEVEL_SAVED,
  LEVEL_SIZE,
  LEVEL_VECTORS,
  LEVEL_WORD_COUNT,
  LEVEL_WORDS,
  THREAD_HOOK_CALL_SP,
  THREAD_HOOK_IN,
  THREAD_HOOK_LEVEL,
  THREAD_HOOK_NEXT_SP,
  THREAD_HOOK_OWNER,
} from "./layout.ts";
import {
  cpuLevel,
  LEVEL_AVX,
  LEVEL_AVX512,
  LEVEL_SSE,
  restoreVectors,
  saveVectors,
  type VectorLevel,
} from "./vector-state.ts";

/** The argument of the hook that goes on the stack, with what keeps the stack aligned. */
const STACK_ARGUMENT = 16;

function copyWords(
  a: StubAssembler,
  count: number,
  to: (offset: number) => ReturnType<typeof mem>,
  from: typeof to,
): void {
  for (let i = 0; i < count; i++) {
    a.mov(64, rax, from(8 * i));
    a.mov(64, to(8 * i), rax);
  }
}

/** What of the frame is still needed when the hook has been called. */
const NEEDED_WORDS = [
  FRAME_NR,
  ...ARGUMENTS.map((_, i) => FRAME_ARGS + 8 * i),
  FRAME_FLAGS,
  FRAME_TSC,
  FRAME_CANCEL,
  FRAME_SP,
  FRAME_NEXT,
  FRAME_IP,
];

/**
 * Calls the hook, with the vector state of `level` kept around it (undefined: none). rsp is the frame, and the program's
 * registers but rax, rcx and r11 are in it or untouched.
 */
function hook(a: StubAssembler, level: VectorLevel | undefined): void {
  frameAt(a, STACK_POINTER, 0);
  a.mov(64, rcx, rsp);
  frameAt(a, rcx.dwarf, 0);
  a.mov(64, rsp, mem(rcx, FRAME_COOKIE));
  a.lea(64, rsp, mem(rsp, -LEVEL_SIZE));
  for (const at of NEEDED_WORDS) {
    a.mov(64, rax, mem(rcx, at));
    a.mov(64, slot(LEVEL_FRAME + at), rax);
  }
  a.mov(64, rcx, mem(rcx, FRAME_PLAN));
  frameAt(a, STACK_POINTER, LEVEL_FRAME);
  SAVED.forEach((register, i) => {
    a.mov(64, slot(LEVEL_SAVED + 8 * i), register);
  });
  copyWords(
    a,
    LEVEL_WORD_COUNT,
    (at) => slot(LEVEL_WORDS + at),
    (at) => gs(THREAD_HOOK_IN + at),
  );
  a.lea(64, rdi, slot(LEVEL_VECTORS));
  if (level !== undefined) saveVectors(a, level, rdi);
  a.mov(64, gs(THREAD_HOOK_CALL_SP), rcx);
  const onProgramStack = a.label();
  a.test(64, rcx, rcx);
  a.jcc("e", onProgramStack);
  a.mov(64, gs(THREAD_HOOK_OWNER), rcx); // the frame itself
  a.bind(onProgramStack);
  a.mov(64, gs(THREAD_HOOK_NEXT_SP), 0); // no real call yet
  a.mov(64, gs(THREAD_HOOK_LEVEL), rsp);
  a.mov(64, gs(THREAD_HOOK_IN), rsp);

  a.mov(64, rdi, slot(FRAME_NR));
  [rsi, rdx, rcx, r8, r9].forEach((register, i) => {
    a.mov(64, register, slot(FRAME_ARGS + 8 * i));
  });
  a.mov(64, rax, slot(FRAME_ARGS + 40));
  a.lea(64, rsp, slot(-STACK_ARGUMENT));
  frameAt(a, STACK_POINTER, STACK_ARGUMENT + LEVEL_FRAME);
  a.mov(64, slot(0), rax);
  a.call(symbol("zp_hook_function"));
  a.lea(64, rsp, slot(STACK_ARGUMENT));
  frameAt(a, STACK_POINTER, LEVEL_FRAME);
  a.mov(64, slot(LEVEL_FRAME + FRAME_RESULT), rax);

  a.lea(64, rdi, slot(LEVEL_VECTORS));
  if (level !== undefined) restoreVectors(a, level, rdi);
  const answered = a.label();
  a.cmp(64, gs(THREAD_HOOK_NEXT_SP), 0);
  a.jcc("e", answered);
  const goOn = a.bind();
  backToProgram(a);
  a.mov(64, rsp, slot(FRAME_SP));
  outsideFrame(a);
  a.jmp(rcx);

  // Without a real call the processor remembers the `call` at the site, if it was one: `ret` keeps the balance.
  frameAt(a, STACK_POINTER, LEVEL_FRAME);
  a.bind(answered);
  a.mov(64, rax, slot(FRAME_SP));
  a.mov(64, rcx, slot(FRAME_NEXT));
  a.cmp(64, rcx, mem(rax, -8));
  a.jcc("ne", goOn);
  backToProgram(a);
  a.mov(64, rsp, slot(FRAME_SP));
  outsideFrame(a);
  a.lea(64, rsp, slot(-8));
  atReturnAddress(a);
  a.op("ret");
}

/** All but rsp as after a real call, from the level that rsp is; rcx the address to go on at. */
function backToProgram(a: StubAssembler): void {
  leaveLevel(a);
  const unrecorded = a.label();
  a.cmp(64, slot(FRAME_TSC), 0);
  a.jcc("e", unrecorded);
  a.mov(64, rdi, rsp);
  a.call("on_hook_exit");
  a.bind(unrecorded);
  loadArguments(a);
  restore(a);
}

/** rsp is the level: the thread's words as they were before it. */
function leaveLevel(a: StubAssembler): void {
  copyWords(
    a,
    LEVEL_WORD_COUNT,
    (at) => gs(THREAD_HOOK_IN + at),
    (at) => slot(LEVEL_WORDS + at),
  );
}

/**
 * The hook has crashed, and the program goes on without it: crash.ts has set rsp to the level, and has taken the hook out of
 * the action table. The frame on the program's stack is as it was, but for a child of vfork, which has other ways.
 */
function abandon(a: StubAssembler): void {
  a.mark("zp_hook_abandon");
  frameAt(a, STACK_POINTER, LEVEL_FRAME);
  a.op("cld");
  a.lea(64, rdi, slot(LEVEL_VECTORS));
  a.call(symbol("zp_vectors_restore"));
  leaveLevel(a);
  SAVED.forEach((register, i) => {
    a.mov(64, register, slot(LEVEL_SAVED + 8 * i));
  });
  a.mov(64, r11, slot(FRAME_SP));
  a.lea(64, rsp, mem(r11, -FRAME_TO_PROGRAM));
  frameAt(a, STACK_POINTER, 0);
  a.jmp("zp_frame_ready");
}

/** Pure: the unit with `zp_hook`, `zp_next` and `zp_hook_abandon`. */
export function hookStub(): ObjectFile {
  const a = new StubAssembler();
  a.mark("zp_hook");
  frameAt(a, STACK_POINTER, 0);
  a.jmp(symbol("zp_hook_way"));
  abandon(a);
  next(a);
  vectorsLeave(a);
  a.placeRare();
  const code = a.finish("zp_hook_stub", { align: 64 });
  return {
    code: [code, faultUnit(), vectorsKept(), cpuLevel()],
    data: [
      a.calls("zp_hook_calls", code.name),
      // Filled in by the dynamic loader with the addresses of libc's functions, or 0.
      ...["zp_dlmopen", "zp_dlopen", "zp_dlsym", "zp_dlerror"].map(pointer),
      // Filled in at start-up, when a hook is loaded.
      ...["zp_hook_function", "zp_hook_way", "zp_vectors_restore"].map(pointer),
    ],
  };
}

/** The ways to a hook that uses no vector or x87 registers, and its `zp_vectors_restore`: nothing to keep. */
function vectorsLeave(a: StubAssembler): void {
  a.mark("zp_hook_leave");
  hook(a, undefined);
  a.mark("zp_vectors_leave");
  a.unwind({ reg: STACK_POINTER, offset: 8 }, []);
  a.op("ret");
}

/**
 * The ways to any other hook, `zp_hook_N` (N is what `zp_cpu_level` answers), and `zp_vectors_restore_N`, a function whose
 * argument is the area, for a hook that has crashed.
 */
function vectorsKept(): CodeUnit {
  const a = new StubAssembler();
  for (const level of [LEVEL_SSE, LEVEL_AVX, LEVEL_AVX512] as const) {
    a.mark(`zp_hook_${level}`);
    hook(a, level);
    a.mark(`zp_vectors_restore_${level}`);
    a.unwind({ reg: STACK_POINTER, offset: 8 }, []);
    restoreVectors(a, level, rdi);
    a.op("ret");
  }
  frameAt(a, STACK_POINTER, LEVEL_FRAME);
  a.placeRare();
  return a.finish("zp_vectors");
}
