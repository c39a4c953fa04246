/**
 * The kernel's handler for each signal that the program handles (guest/signal/action.ts).
 *
 * Who runs this: any thread, on the stack that the kernel has chosen for the program's handler, with the signals blocked
 * that the program wants. rsp points to an interned action, which the kernel has put there as the restorer; right behind it
 * lies the context (struct ucontext), and everything of the interrupted thread is in there. On the way to the program's
 * handler no register changes, and the restorer becomes the program's: a debugger sees nothing of us.
 */
import type { ObjectFile } from "../compiler/object.ts";
import { Assembler, indexed, mem, rax, rdi, rsp, symbol } from "../compiler/x64.ts";
import { INTERNED_HANDLER, INTERNED_RESTORER, INTERNED_SIZE } from "./layout.ts";

/** Greater than any signal. */
const SIGNALS = 65;

/** Pure: the unit with `zp_signal`, and what guest/signal/ keeps of the program's actions. */
export function signalStub(): ObjectFile {
  const a = new Assembler();
  const foreign = a.label();
  const nobody = a.label();
  const go = a.label();

  a.context(8);
  a.mov(64, rax, mem(rsp)); // rax is 0 when the kernel calls a handler
  a.cmp(64, mem(rax), rax);
  a.jcc("ne", foreign);
  a.push(mem(rax, INTERNED_HANDLER));
  a.context(16);
  a.mov(64, rax, mem(rax, INTERNED_RESTORER));
  a.mov(64, mem(rsp, 8), rax);
  a.bind(go);
  a.mov(32, rax, 0);
  a.lea(64, rsp, mem(rsp, 8));
  a.context(8);
  a.jmp(mem(rsp, -8));

  // Somebody has set this handler with a restorer of his own.
  a.bind(foreign);
  a.lea(64, rax, symbol("zp_last_actions"));
  a.mov(64, rax, indexed(rax, rdi, 8));
  a.test(64, rax, rax);
  a.jcc("e", nobody);
  a.push(mem(rax, INTERNED_HANDLER));
  a.context(16);
  a.jmp(go);
  a.bind(nobody);
  a.context(8);
  a.op("ret");

  const zeroed = (name: string, size: number) =>
    ({ name, bytes: new Uint8Array(0), size, align: 64, writable: true, relocs: [] }) as const;
  return {
    code: [a.finish("zp_signal", { align: 16 })],
    data: [zeroed("zp_interned", INTERNED_SIZE), zeroed("zp_last_actions", 8 * SIGNALS)],
  };
}
