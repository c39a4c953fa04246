import { r11, rax, rdi, rdx, rsi } from "../compiler/x64.ts";
import { STACK_POINTER, type StubAssembler } from "./frame.ts";

/** rt_sigreturn */
const SIGRETURN = 15;

/**
 * The handler of the signals that a crash of a C hook causes (crash.ts): the kernel has called it as the program's own handler would be,
 * and that goes on with exactly this, if on_fault names it.
 */
export function fault(a: StubAssembler): void {
  const answered = a.label();
  a.mark("zp_fault");
  a.unwind({ reg: STACK_POINTER, offset: 8 }, []);
  for (const register of [rdi, rsi, rdx]) a.push(register);
  a.unwind({ reg: STACK_POINTER, offset: 32 }, []);
  a.call("on_fault");
  for (const register of [rdx, rsi, rdi]) a.pop(register);
  a.unwind({ reg: STACK_POINTER, offset: 8 }, []);
  a.test(64, rax, rax);
  a.jcc("e", answered);
  a.mov(64, r11, rax);
  a.xor(32, rax, rax);
  a.jmp(r11);
  a.bind(answered);
  a.op("ret");

  a.mark("zp_restorer");
  a.mov(32, rax, SIGRETURN);
  a.op("syscall");
}
