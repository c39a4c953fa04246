/**
 * What comes first at the entry stub: whether a landing in page 0 is the call of a rewritten site. Any other call or jump
 * there (through NULL, as a rule) must die as it would if page 0 were not mapped.
 *
 * Who runs this: every rewritten call, before the entry stub. A site that was used before is found in a small cache of
 * return addresses; `on_unknown` looks at all others. No flag changes, and rcx and r11 are kept below the red zone.
 */
import type { ObjectFile } from "../compiler/object.ts";
import {
  Assembler,
  indexed,
  type Label,
  mem,
  r8,
  r9,
  r10,
  r11,
  r12,
  r13,
  r14,
  r15,
  rax,
  rbp,
  rbx,
  rcx,
  rdi,
  rdx,
  rsi,
  rsp,
  symbol,
} from "../compiler/x64.ts";
import { loadArithmeticFlags, RARE_FLAGS } from "./flags.ts";
import {
  LANDING_FLAGS,
  LANDING_R11,
  LANDING_RCX,
  LANDING_RSP,
  LANDING_TO_SP,
  SITES_BIAS,
  SITES_FACTOR,
  SITES_SIZE,
} from "./layout.ts";

const STACK_POINTER = rsp.dwarf;
/** What on_unknown may change and the rest of the stub needs. */
const NEEDED = [rax, rdi, rsi, rdx, r8, r9, r10] as const;
/** What is the program's own at zp_unknown; rcx and r11 have been stored. */
const REGISTERS = [...NEEDED, rbx, rbp, r12, r13, r14, r15] as const;

/** rsp points to the return address. Goes on at `known` when that is in the cache; rcx and r11 are spent. */
export function checkSite(a: Assembler, known: Label): void {
  a.mov(64, mem(rsp, LANDING_RCX - LANDING_TO_SP), rcx);
  a.mov(64, mem(rsp, LANDING_R11 - LANDING_TO_SP), r11);
  a.movzx(r11, 8, mem(rsp, 0));
  a.movzx(rcx, 8, mem(rsp, 1));
  a.lea(64, r11, indexed(r11, rcx, SITES_FACTOR));
  a.lea(64, rcx, symbol("zp_sites"));
  a.mov(64, r11, indexed(rcx, r11, 8));
  a.mov(64, rcx, mem(rsp, 0));
  a.lea(64, rcx, indexed(rcx, r11, 1, SITES_BIAS));
  a.jrcxz(known);
  a.jmp("zp_unknown");
}

/** From here on rsp is the landing, or `pushed` bytes below it. */
const below = (a: Assembler, pushed = 0): void =>
  a.unwind({ reg: STACK_POINTER, offset: LANDING_TO_SP + 8 + pushed }, []);

/** Where the landing has rare flags, loads its flags, which `change` may change on the stack before. */
function ifRare(a: Assembler, change: () => void): void {
  const none = a.label();
  a.test(32, mem(rsp, LANDING_FLAGS), RARE_FLAGS);
  a.jcc("e", none);
  a.push(mem(rsp, LANDING_FLAGS));
  below(a, 8);
  change();
  a.op("popfq");
  below(a);
  a.bind(none);
}

/** Saves all registers as a landing and asks `on_unknown`, which returns when the site is a rewritten one after all. */
function unknown(a: Assembler): void {
  a.mark("zp_unknown");
  a.unwind({ reg: STACK_POINTER, offset: 8 }, []);
  a.lea(64, rsp, mem(rsp, -LANDING_TO_SP));
  below(a);
  for (const register of REGISTERS) a.mov(64, mem(rsp, 8 * register.code), register);
  a.op("pushfq");
  below(a, 8);
  a.pop(mem(rsp, LANDING_FLAGS)); // the address is that of rsp after the pop
  below(a);
  ifRare(a, () => a.and(32, mem(rsp), ~RARE_FLAGS));
  a.lea(64, rdi, mem(rsp, LANDING_TO_SP));
  a.mov(64, mem(rsp, LANDING_RSP), rdi);
  a.mov(64, rdi, rsp);
  a.call("on_unknown");
  ifRare(a, () => {});
  a.mov(64, r11, mem(rsp, LANDING_FLAGS));
  loadArithmeticFlags(a);
  for (const register of NEEDED) a.mov(64, register, mem(rsp, 8 * register.code));
  a.lea(64, rsp, mem(rsp, LANDING_TO_SP));
  a.unwind({ reg: STACK_POINTER, offset: 8 }, []);
  a.jmp("zp_known");
}

/** rt_sigreturn(2) */
const SIGRETURN = 15;
/** CPUID.1:ECX.OSXSAVE (SDM volume 2, CPUID). */
const OSXSAVE = 1 << 27;

/** `void zp_sigreturn(ucontext)`: never returns. */
function sigreturn(a: Assembler): void {
  a.mark("zp_sigreturn");
  a.mov(64, rsp, rdi);
  a.mov(32, rax, SIGRETURN);
  a.op("syscall");
}

/** `u64 zp_state_components()`: XCR0, or 0 where the system does not use XSAVE. */
function stateComponents(a: Assembler): void {
  const none = a.label();
  a.mark("zp_state_components");
  a.push(rbx);
  a.mov(32, rax, 1);
  a.op("cpuid");
  a.pop(rbx);
  a.mov(32, rax, rcx);
  a.and(32, rax, OSXSAVE);
  a.jcc("e", none);
  a.xor(32, rcx, rcx);
  a.op("xgetbv");
  a.shift("shl", 64, rdx, 32);
  a.or(64, rax, rdx);
  a.bind(none);
  a.op("ret");
}

/** `u64 zp_state_end(component)`: where it ends in the standard form of the XSAVE area (SDM volume 2, CPUID.0DH). */
function stateEnd(a: Assembler): void {
  a.mark("zp_state_end");
  a.push(rbx);
  a.mov(32, rax, 0xd);
  a.mov(32, rcx, rdi);
  a.op("cpuid");
  a.add(64, rax, rbx);
  a.pop(rbx);
  a.op("ret");
}

/** `void zp_save_state(area, components)`: by XSAVE, or FXSAVE when there are none. */
function saveState(a: Assembler): void {
  const legacy = a.label();
  a.mark("zp_save_state");
  a.mov(32, rax, rsi);
  a.mov(64, rdx, rsi);
  a.shift("shr", 64, rdx, 32);
  a.test(64, rsi, rsi);
  a.jcc("e", legacy);
  a.state("xsave64", mem(rdi));
  a.op("ret");
  a.bind(legacy);
  a.state("fxsave64", mem(rdi));
  a.op("ret");
}

/** Pure: the unit with `zp_unknown`, what guest/hook/wild.ts calls, and the cache. */
export function landingStub(): ObjectFile {
  const a = new Assembler();
  unknown(a);
  for (const helper of [sigreturn, stateComponents, stateEnd, saveState]) {
    a.unwind({ reg: STACK_POINTER, offset: 8 }, []);
    helper(a);
  }
  return {
    code: [a.finish("zp_landing", { align: 16 })],
    data: [{ name: "zp_sites", bytes: new Uint8Array(0), size: SITES_SIZE, align: 64, writable: true, relocs: [] }],
  };
}
