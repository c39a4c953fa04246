/**
 * The kernel's handler for each signal that the program handles (guest/signal/action.ts).
 *
 * Who runs this: any thread, on the stack that the kernel has chosen for the program's handler, with the signals blocked
 * that the program wants. rsp points to an interned action, which the kernel has put there as the restorer; right behind it
 * lies the context (struct ucontext), and everything of the interrupted thread is in there. On the way to the program's
 * handler no register changes, and the restorer becomes the program's, or zp_handler_return: a debugger sees nothing of us. Only
 * where a call was interrupted, the handler returns to us: what it was shown of the call (guest/signal/presentation.ts) becomes true again.
 */
import type { CodeUnit, ObjectFile } from "../compiler/object.ts";
import { UC_R8, UC_RIP } from "../compiler/ucontext.ts";
import {
  Assembler,
  indexed,
  type Label,
  type Mem,
  mem,
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
import { RARE_FLAGS } from "./flags.ts";
import {
  INTERNED_HANDLER,
  INTERNED_RETURN,
  INTERNED_SIZE,
  SHOWN_SIZE,
  SHOWN_WORDS,
  STUB_POOL_END,
  STUB_POOL_SIZE,
  STUB_POOL_START,
} from "./layout.ts";

/** Greater than any signal. */
const SIGNALS = 65;
/** What a guest function may change, and the program's handler is to find as the kernel has left it. */
const VOLATILE = [rdi, rsi, rdx, rcx, r8, r9, r10, r11] as const;
/** The word that a signal frame begins with, then the context. */
const CONTEXT = 8;
/** The copy of the context's registers, taken for a context: its words before UC_R8 are not there. */
const COPY = -UC_R8;

/** Goes on at `looked` where the instruction that was interrupted is one of the templates, or every signal is looked at. */
function ifLookedAt(a: Assembler, looked: Label): void {
  const elsewhere = a.label();
  const kept = mem(rsp, -16);
  a.mov(64, rax, mem(rsp, CONTEXT + UC_RIP));
  a.mov(64, kept, rcx);
  a.lea(64, rcx, symbol("zp_guest_text"));
  a.cmp(64, rax, rcx);
  a.jcc("ae", elsewhere);
  a.lea(64, rcx, symbol("__text_start"));
  a.cmp(64, rax, rcx);
  a.mov(64, rcx, kept);
  a.jcc("ae", looked);
  a.bind(elsewhere);
  ifNearStub(a, looked, kept);
  a.cmp(8, symbol("zp_every_signal"), 0);
  a.jcc("ne", looked);
}

/** The same for the stubs of jump patches: a row of zeros ends their pools. rax is the address; rcx comes back from `kept`. */
function ifNearStub(a: Assembler, looked: Label, kept: Mem): void {
  const next = a.label();
  const none = a.label();
  a.lea(64, rcx, symbol("zp_stub_pools"));
  const again = a.bind();
  a.cmp(64, mem(rcx, STUB_POOL_END), 0);
  a.jcc("e", none);
  a.cmp(64, rax, mem(rcx, STUB_POOL_START));
  a.jcc("b", next);
  a.cmp(64, rax, mem(rcx, STUB_POOL_END));
  a.jcc("ae", next);
  a.mov(64, rcx, kept);
  a.jmp(looked);
  a.bind(next);
  a.add(64, rcx, STUB_POOL_SIZE);
  a.jmp(again);
  a.bind(none);
  a.mov(64, rcx, kept);
}

/** rt_sigreturn(2) */
const SIGRETURN = 15;

/**
 * Where handlers return to that would return by a restorer that is not rewritten: a call of the program's, made as one from a
 * jump patch. rsp points to the context; unwinders look at the byte before, too.
 */
function handlerReturn(): CodeUnit {
  const a = new Assembler();
  a.context(0);
  a.op("nop");
  a.mark("zp_handler_return");
  a.mov(32, rax, SIGRETURN);
  a.lea(64, rcx, symbol("zp_handler_returned"));
  a.jmp("zp_jump_entry");
  a.mark("zp_handler_returned");
  a.op("nop");
  return a.finish("zp_handler_restorer", { align: 16 });
}

/** Pure: the unit with `zp_signal`, and what guest/signal/ keeps of the program's actions. */
export function signalStub(): ObjectFile {
  const a = new Assembler();
  const looked = a.label();
  const usual = a.label();
  const foreign = a.label();
  const nobody = a.label();
  const go = a.label();
  const shown = a.label();

  a.context(CONTEXT);
  a.mov(8, symbol("zp_handled"), 1);
  ifLookedAt(a, looked);
  a.bind(usual);
  a.mov(64, rax, mem(rsp)); // rax is 0 when the kernel calls a handler
  a.cmp(64, mem(rax), rax);
  a.jcc("ne", foreign);
  a.push(mem(rax, INTERNED_HANDLER));
  a.context(CONTEXT + 8);
  a.mov(64, rax, mem(rax, INTERNED_RETURN));
  a.mov(64, mem(rsp, 8), rax);
  a.bind(go);
  a.mov(32, rax, 0);
  a.lea(64, rsp, mem(rsp, 8));
  a.context(CONTEXT);
  a.jmp(mem(rsp, -8));

  // Somebody has set this handler with a restorer of his own.
  a.bind(foreign);
  a.lea(64, rax, symbol("zp_last_actions"));
  a.mov(64, rax, indexed(rax, rdi, 8));
  a.test(64, rax, rax);
  a.jcc("e", nobody);
  a.push(mem(rax, INTERNED_HANDLER));
  a.context(CONTEXT + 8);
  a.jmp(go);
  a.bind(nobody);
  a.context(CONTEXT);
  a.op("ret");

  // What is true is copied first, so that unwinders find it there while the context is changed.
  a.bind(looked);
  a.lea(64, rsp, mem(rsp, -SHOWN_SIZE));
  a.context(CONTEXT + SHOWN_SIZE);
  for (let word = 0; word < SHOWN_WORDS; word++) {
    a.mov(64, rax, mem(rsp, CONTEXT + SHOWN_SIZE + UC_R8 + 8 * word));
    a.mov(64, mem(rsp, 8 * word), rax);
  }
  a.context(COPY);
  VOLATILE.forEach((register, i) => {
    a.push(register);
    a.context(COPY + 8 * (i + 1));
  });
  const pushed = 8 * VOLATILE.length;
  a.mov(32, rdx, rdi);
  a.op("pushfq");
  a.context(COPY + pushed + 8);
  a.and(32, mem(rsp), ~RARE_FLAGS);
  a.op("popfq");
  a.context(COPY + pushed);
  a.lea(64, rdi, mem(rsp, CONTEXT + SHOWN_SIZE + pushed));
  a.lea(64, rsi, mem(rsp, pushed));
  a.call("on_signal");
  VOLATILE.toReversed().forEach((register, i) => {
    a.pop(register);
    a.context(COPY + pushed - 8 * (i + 1));
  });
  a.context(CONTEXT + SHOWN_SIZE);
  a.test(64, rax, rax);
  a.jcc("ne", shown);
  a.lea(64, rsp, mem(rsp, SHOWN_SIZE));
  a.context(CONTEXT);
  a.jmp(usual);

  a.context(CONTEXT + SHOWN_SIZE);
  a.bind(shown);
  a.mov(64, mem(rsp, -16), rax);
  a.mov(32, rax, 0);
  a.call(mem(rsp, -16));
  a.lea(64, rdi, mem(rsp, CONTEXT + SHOWN_SIZE));
  a.mov(64, rsi, rsp);
  a.context(COPY);
  a.call("on_signal_return");
  a.op("nop"); // where on_signal_return returns to, and what is before it, are described alike
  a.context(CONTEXT + SHOWN_SIZE);
  a.lea(64, rsp, mem(rsp, CONTEXT + SHOWN_SIZE));
  a.context(0);
  a.jmp(mem(rsp, -8));

  const zeroed = (name: string, size: number) =>
    ({ name, bytes: new Uint8Array(0), size, align: 64, writable: true, relocs: [] }) as const;
  return {
    code: [a.finish("zp_signal", { align: 16 }), handlerReturn()],
    data: [
      zeroed("zp_interned", INTERNED_SIZE),
      zeroed("zp_last_actions", 8 * SIGNALS),
      // Not 0: on_signal is called for every signal.
      zeroed("zp_every_signal", 1),
      // Not 0: it has run.
      zeroed("zp_handled", 1),
    ],
  };
}
