/**
 * The handler of SIGSYS, by which the kernel tells of a system call from outside of our text (Syscall User Dispatch:
 * Documentation/admin-guide/syscall-user-dispatch.rst, kernel/entry/syscall_user_dispatch.c). It makes no call for the
 * program: it changes the instruction pointer of the interrupted context to `zp_jump_entry`, and returns. So a trapped call
 * arrives there as one from a jump patch does: the kernel has put the address after the site into rcx already, and all other
 * registers are the program's.
 *
 * Who runs this: any thread, at any stack depth or on its alternate stack, all signals blocked. The fast path reads aligned
 * words only, because the alignment check (AC) may be on.
 */
import type { CodeUnit, ObjectFile } from "../compiler/object.ts";
import { UC_RIP } from "../compiler/ucontext.ts";
import { Assembler, indexed, mem, r8, rax, rcx, rdi, rdx, rsi, rsp, symbol } from "../compiler/x64.ts";
import { RARE_FLAGS } from "./flags.ts";
import { beginFrame, outsideFrame, StubAssembler } from "./frame.ts";
import { INT80_SIZE, SIGSYS, SYS_USER_DISPATCH, TRAP_CACHE } from "./layout.ts";

/** rt_sigreturn(2) */
const SIGRETURN = 15;
/** AUDIT_ARCH_X86_64 (linux/audit.h), as a sign-extended immediate. */
const ARCH_X86_64 = 0xc000003e - 2 ** 32;

// siginfo_t of SIGSYS (asm-generic/siginfo.h): the first quadword is si_signo, si_errno.
const SI_CODE = 8;
const SI_SYSCALL = 24;
const SI_ARCH = 28;

/**
 * With a `si_errno` other than 0 the signal is one that we have made up ourselves (guest/trap/raise.ts). A site that has been
 * seen before is in a cache, by the last bits of its address; `on_sigsys` looks at everything else.
 */
function handler(): CodeUnit {
  const a = new Assembler();
  const slow = a.label();
  const answered = a.label();
  const known = a.label();
  a.mark("zp_sigsys");
  a.context(8);
  a.cmp(64, mem(rsi), SIGSYS);
  a.jcc("ne", slow);
  a.cmp(32, mem(rsi, SI_CODE), SYS_USER_DISPATCH);
  a.jcc("ne", slow);
  a.cmp(32, mem(rsi, SI_ARCH), ARCH_X86_64);
  a.jcc("ne", slow);
  a.cmp(32, mem(rsi, SI_SYSCALL), SIGRETURN);
  a.jcc("e", known); // on an alternate stack as a rule, which may have no room for more than our frame
  a.mov(64, rax, mem(rdx, UC_RIP));
  a.mov(32, rcx, rax);
  a.and(32, rcx, TRAP_CACHE - 1);
  a.lea(64, r8, symbol("zp_trapped"));
  a.cmp(64, rax, indexed(r8, rcx, 8));
  a.jcc("ne", slow);
  a.bind(known);
  a.lea(64, rax, symbol("zp_jump_entry"));
  a.mov(64, mem(rdx, UC_RIP), rax);
  a.lea(64, rsp, mem(rsp, 8)); // as `ret` to the restorer would leave it, which the processor would not foresee
  a.context(0);
  a.jmp("zp_trap_return");

  // on_sigsys says whether the program's handler gets the signal, in our place. It may use the words of
  // a call by `int $0x80`, which stay untouched until the context that it changes is the thread's.
  a.bind(slow);
  const pushed = [rdi, rsi, rdx] as const;
  const depth = 8 + 8 * pushed.length + INT80_SIZE;
  pushed.forEach((register, i) => {
    a.context(8 + 8 * i);
    a.push(register);
  });
  a.context(depth - INT80_SIZE);
  a.lea(64, rsp, mem(rsp, -INT80_SIZE));
  a.context(depth);
  a.op("pushfq");
  a.context(depth + 8);
  a.and(32, mem(rsp), ~RARE_FLAGS);
  a.op("popfq");
  a.context(depth);
  a.mov(64, rcx, rsp);
  a.call("on_sigsys");
  a.lea(64, rsp, mem(rsp, INT80_SIZE));
  pushed.toReversed().forEach((register, i) => {
    a.context(depth - INT80_SIZE - 8 * i);
    a.pop(register);
  });
  a.context(8);
  a.test(8, rax, rax);
  a.jcc("e", answered);
  a.jmp("zp_signal");
  a.bind(answered);
  a.lea(64, rsp, mem(rsp, 8));
  a.context(0);
  a.jmp("zp_trap_return");
  return a.finish("zp_trap_stub", { align: 64 });
}

/**
 * A call that code of a C hook makes itself: nobody looks at it. Not for one that returns on another stack, or to whoever uses
 * this one meanwhile.
 */
function foreign(): CodeUnit {
  const a = new StubAssembler();
  a.mark("zp_foreign_call");
  outsideFrame(a);
  beginFrame(a);
  a.jmp("zp_jump_bypass");
  return a.finish("zp_foreign", { align: 16 });
}

/** These very bytes, without unwind rows, are what unwinders and debuggers know the frame of a signal handler by. */
function restorer(): CodeUnit {
  const a = new Assembler();
  a.mark("zp_trap_return");
  a.bytes(0x48, 0xc7, 0xc0, SIGRETURN, 0, 0, 0); // mov $15, %rax
  a.op("syscall");
  return a.finish("zp_trap_restorer", { align: 16 });
}

/** Belongs before the text whose calls are our own: what it leads to is a call of the program's. */
export function foreignStub(): ObjectFile {
  return { code: [foreign()], data: [] };
}

export function trapStub(): ObjectFile {
  return {
    code: [handler(), restorer()],
    data: [
      { name: "zp_trapped", bytes: new Uint8Array(0), size: TRAP_CACHE * 8, align: 64, writable: true, relocs: [] },
    ],
  };
}
