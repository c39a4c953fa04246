/**
 * A page fault that did not happen: the thread gets the SIGSEGV of a fetch from an address that is not mapped, with all its
 * registers as at the landing, though page 0 is mapped.
 *
 * The signal is queued with a siginfo of our own while it is blocked; then rt_sigreturn sets the registers and the signal
 * mask in one step, and the kernel delivers it before the next instruction. What the handler finds in its context is what
 * the kernel has saved of the registers themselves. (Only err, trapno and cr2 in it stem from the thread's last real fault.)
 *
 * Who runs this: any thread, on the program's stack below its red zone, all signals blocked while the thread's page of
 * signal frames is in use.
 */
import { flagsOf, Landing, registerOf, stackOf } from "../hook/landing";
import { usesTrap } from "../rewrite/kinds";
import { call0, call1, call2, syscall6 } from "../std/raw";
import {
  SEGV_MAPERR,
  SI_ADDR,
  SI_CODE,
  SIG_BLOCK,
  SIG_DFL,
  SIG_IGN,
  SIGSEGV,
  SIGSET_SIZE,
  SIGSYS,
  UC_EFLAGS,
  UC_FLAGS,
  UC_FPSTATE,
  UC_R8,
  UC_RAX,
  UC_RBP,
  UC_RBX,
  UC_RCX,
  UC_RDI,
  UC_RDX,
  UC_RIP,
  UC_RSI,
  UC_RSP,
  UC_SEGMENTS,
  UC_SIGMASK,
  UC_STACK,
} from "../std/signals";
import { failed, mapPages, SYS_GETPID, SYS_GETTID, SYS_RT_SIGACTION, SYS_RT_SIGPROCMASK, SYS_RT_TGSIGQUEUEINFO, SYS_SIGALTSTACK } from "../std/sys";
import { own } from "./own";
import { currentThread } from "./thread";

// @ts-ignore: decorator
@external("symbol", "zp_sigreturn")
declare function zp_sigreturn(): usize;
// @ts-ignore: decorator
@external("symbol", "zp_state_components")
declare function zp_state_components(): usize;
// @ts-ignore: decorator
@external("symbol", "zp_state_end")
declare function zp_state_end(): usize;
// @ts-ignore: decorator
@external("symbol", "zp_save_state")
declare function zp_save_state(): usize;

/** UC_FP_XSTATE, UC_SIGCONTEXT_SS, UC_STRICT_RESTORE_SS. */
const UC_ALL_FLAGS: u64 = 7;
/** cs 0x33, ss 0x2b: user code and data (asm/segment.h). */
const USER_SEGMENTS: u64 = 0x002b_0000_0000_0033;
/** Set by every fault in an instruction fetch: the instruction is to be tried again (SDM volume 3, 19.3.1.1). */
const RESUME_FLAG: u64 = 1 << 16;

// struct _fpx_sw_bytes (asm/sigcontext.h): where FXSAVE leaves room, what XSAVE has left behind it.
const SW_BYTES: usize = 464;
const FP_XSTATE_MAGIC1: u32 = 0x46505853;
const FP_XSTATE_MAGIC2: u32 = 0x46505845;
const FXSAVE_SIZE: usize = 512;
const XSAVE_HEADER_SIZE: usize = 64;
/** AMX tiles are in a signal frame only of threads that asked for them (arch_prctl ARCH_REQ_XCOMP_PERM). */
const TILE_DATA: u64 = 1 << 18;

// The pages of a fault: the context, room for one thing after the other, and the XSAVE area, aligned to 64 bytes.
const FAULT_SIZE: usize = 32768;
export const FAULT_ROOM: usize = 512;
const STATE_AT: usize = 1024;
// siginfo_t: si_signo, si_errno, si_code, si_addr.
const INFO_SIZE: usize = 128;

/** Fetching here faults: the last page of user space is never mapped (TASK_SIZE_MAX, asm/page_64_types.h). */
const NEVER_MAPPED: usize = 0x0000_7fff_ffff_f000;

/** Blocks all signals and gives the pages of a fault, whose room at FAULT_ROOM the caller may use until raiseFault. */
export function beginFault(): usize {
  const thread = currentThread();
  if (!thread.faultPages) {
    const pages = mapPages(FAULT_SIZE);
    if (failed(pages)) unreachable();
    own(<usize>pages, FAULT_SIZE);
    thread.faultPages = <usize>pages;
  }
  const fault = thread.faultPages;
  store<u64>(fault + FAULT_ROOM, <u64>-1);
  syscall6(SYS_RT_SIGPROCMASK, SIG_BLOCK, fault + FAULT_ROOM, fault + UC_SIGMASK, SIGSET_SIZE, 0, 0);
  return fault;
}

/** SIGSEGV of a fetch from `address`. Never returns: the signal kills, or its handler goes on. */
export function raiseFault(fault: usize, landing: Landing, address: usize): void {
  const info = fault + FAULT_ROOM;
  memory.fill(info, 0, INFO_SIZE);
  store<u32>(info, <u32>SIGSEGV);
  store<u32>(info, SEGV_MAPERR, SI_CODE);
  store<u64>(info, address, SI_ADDR);
  raiseSignal(fault, landing, address, flagsOf(landing) | RESUME_FLAG);
  store<u64>(fault, NEVER_MAPPED + address, UC_RIP);
  call1(zp_sigreturn(), fault);
}

/**
 * The signal whose siginfo lies at FAULT_ROOM, with the registers of the landing, at `ip`. Returns only when it cannot be queued
 * (a seccomp filter): the context is ready then.
 */
export function raiseSignal(fault: usize, landing: Landing, ip: usize, flags: u64): bool {
  const info = fault + FAULT_ROOM;
  const signal = <u64>load<u32>(info);
  if (!usesTrap || signal != <u64>SIGSYS) forceSignal(signal, fault + UC_SIGMASK, info + INFO_SIZE);
  saveContext(fault, landing);
  store<u64>(fault, flags, UC_EFLAGS);
  store<u64>(fault, ip, UC_RIP);
  const pid = syscall6(SYS_GETPID, 0, 0, 0, 0, 0, 0);
  const tid = syscall6(SYS_GETTID, 0, 0, 0, 0, 0, 0);
  if (failed(syscall6(SYS_RT_TGSIGQUEUEINFO, pid, tid, signal, info, 0, 0))) return false;
  call1(zp_sigreturn(), fault);
  return true;
}

/** As force_sig_fault of the kernel: where the signal is blocked or ignored it kills. `action`: room for one. */
function forceSignal(signal: u64, mask: usize, action: usize): void {
  const bit: u64 = 1 << (signal - 1);
  const blocked = (load<u64>(mask) & bit) != 0;
  if (failed(syscall6(SYS_RT_SIGACTION, signal, 0, action, SIGSET_SIZE, 0, 0))) return;
  if (!blocked && load<usize>(action) != SIG_IGN) return;
  store<u64>(mask, load<u64>(mask) & ~bit);
  store<usize>(action, SIG_DFL);
  syscall6(SYS_RT_SIGACTION, signal, action, 0, SIGSET_SIZE, 0, 0);
}

/** Everything but rip, the flags and the signal mask. */
function saveContext(context: usize, landing: Landing): void {
  store<u64>(context, UC_ALL_FLAGS, UC_FLAGS);
  syscall6(SYS_SIGALTSTACK, 0, context + UC_STACK, 0, 0, 0, 0);
  for (let n: u32 = 8; n < 16; n++) store<u64>(context + UC_R8 + (<usize>(n - 8) << 3), registerOf(landing, n));
  store<u64>(context, registerOf(landing, 0), UC_RAX);
  store<u64>(context, registerOf(landing, 1), UC_RCX);
  store<u64>(context, registerOf(landing, 2), UC_RDX);
  store<u64>(context, registerOf(landing, 3), UC_RBX);
  store<u64>(context, registerOf(landing, 5), UC_RBP);
  store<u64>(context, registerOf(landing, 6), UC_RSI);
  store<u64>(context, registerOf(landing, 7), UC_RDI);
  store<u64>(context, stackOf(landing), UC_RSP);
  store<u64>(context, USER_SEGMENTS, UC_SEGMENTS);
  saveVectors(context + STATE_AT);
  store<usize>(context, context + STATE_AT, UC_FPSTATE);
}

/** The x87 and vector state, in the form that the kernel gives it in a signal frame. */
function saveVectors(area: usize): void {
  const components = call0(zp_state_components()) & ~TILE_DATA;
  call2(zp_save_state(), area, components);
  if (!components) return;
  let size = FXSAVE_SIZE + XSAVE_HEADER_SIZE;
  for (let i: u64 = 2; i < 63; i++) {
    if (!((components >> i) & 1)) continue;
    const end = <usize>call1(zp_state_end(), i);
    if (end > size) size = end;
  }
  const words = area + SW_BYTES;
  store<u32>(words, FP_XSTATE_MAGIC1);
  store<u32>(words, <u32>size + 4, 4);
  store<u64>(words, components, 8);
  store<u32>(words, <u32>size, 16);
  store<u32>(area + size, FP_XSTATE_MAGIC2);
}
