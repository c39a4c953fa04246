/**
 * The richer kind of C hook: `long hook_entry(unsigned long nr, struct user_regs_struct *regs)`, which sees all registers
 * of the program as a debugger does that has stopped it at this call.
 */
import { LEVEL_REGS, LEVEL_SAVED } from "../../src/image/layout";
import { Frame } from "../hook/frame";
import { currentThread } from "../process/thread";
import { call2 } from "../std/raw";
import { ENOSYS } from "../std/sys";

/** struct user_regs_struct (sys/user.h). */
// @ts-ignore: decorator
@unmanaged
class Registers {
  r15: u64;
  r14: u64;
  r13: u64;
  r12: u64;
  rbp: u64;
  rbx: u64;
  r11: u64;
  r10: u64;
  r9: u64;
  r8: u64;
  rax: i64;
  rcx: u64;
  rdx: u64;
  rsi: u64;
  rdi: u64;
  orig_rax: u64;
  rip: u64;
  cs: u64;
  eflags: u64;
  rsp: u64;
  ss: u64;
  fs_base: u64;
  gs_base: u64;
  ds: u64;
  es: u64;
  fs: u64;
  gs: u64;
}

/** Segment selectors of a 64-bit program (arch/x86/include/asm/segment.h). */
const USER_CS: u64 = 0x33;
const USER_SS: u64 = 0x2b;

let entry: usize = 0;

export function setHookEntry(address: usize): void {
  entry = address;
}

/** The hook function, by the C ABI, for a library that has hook_entry. */
export function on_hook_entry(nr: u64, a0: u64, a1: u64, a2: u64, a3: u64, a4: u64, a5: u64): u64 {
  const thread = currentThread();
  const level = thread.hookLevel;
  const f = changetype<Frame>(level);
  const saved = level + LEVEL_SAVED;
  const regs = changetype<Registers>(level + LEVEL_REGS);
  regs.rbx = load<u64>(saved);
  regs.rbp = load<u64>(saved, 8);
  regs.r12 = load<u64>(saved, 16);
  regs.r13 = load<u64>(saved, 24);
  regs.r14 = load<u64>(saved, 32);
  regs.r15 = load<u64>(saved, 40);
  regs.rdi = a0;
  regs.rsi = a1;
  regs.rdx = a2;
  regs.r10 = a3;
  regs.r8 = a4;
  regs.r9 = a5;
  regs.rax = -ENOSYS; // as a tracer sees it at the entry to a system call
  regs.orig_rax = nr;
  regs.rip = regs.rcx = f.ip;
  regs.eflags = regs.r11 = f.flags;
  regs.rsp = f.sp;
  regs.cs = USER_CS;
  regs.ss = USER_SS;
  regs.fs_base = thread.fsBase;
  regs.gs_base = 0;
  regs.ds = regs.es = regs.fs = regs.gs = 0;
  return call2(entry, nr, changetype<usize>(regs));
}
