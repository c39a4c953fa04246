import type { CodeUnit } from "../compiler/object.ts";
import { Assembler, mem, rax, rdi, rdx, rsi, rsp } from "../compiler/x64.ts";

/**
 * The handler of the signals that a crash of a C hook causes (crash.ts). As in `zp_signal`, rsp points to an interned action,
 * behind which the context lies. The program's handler gets the signal by `zp_signal`, if on_fault says so.
 */
export function faultUnit(): CodeUnit {
  const a = new Assembler();
  const answered = a.label();
  const pushed = [rdi, rsi, rdx];
  a.context(8);
  pushed.forEach((register, i) => {
    a.push(register);
    a.context(16 + 8 * i);
  });
  a.call("on_fault");
  pushed.toReversed().forEach((register, i) => {
    a.pop(register);
    a.context(24 - 8 * i);
  });
  a.test(8, rax, rax);
  a.jcc("e", answered);
  a.jmp("zp_signal");
  a.bind(answered);
  a.lea(64, rsp, mem(rsp, 8));
  a.context(0);
  a.jmp("zp_trap_return");
  return a.finish("zp_fault", { align: 16 });
}
