/** Signals by number, and the structures of the calls about them (signal(7), rt_sigaction(2), linux/signal.h). */
export {
  UC_EFLAGS,
  UC_FLAGS,
  UC_FPSTATE,
  UC_R11,
  UC_R12,
  UC_R13,
  UC_R14,
  UC_R15,
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
  UC_SIZE,
  UC_STACK,
} from "../../src/compiler/ucontext";

export const SIGILL: u32 = 4;
export const SIGABRT: u32 = 6;
export const SIGBUS: u32 = 7;
export const SIGFPE: u32 = 8;
export const SIGSEGV: u32 = 11;
export const SIGSYS: u32 = 31;
/** In a sigset_t. */
export const SIGSYS_BIT: u64 = 1 << 30;
/** Greater than any signal: they count from 1. */
export const SIGNALS: u32 = 65;

export const SIG_DFL: usize = 0;
/** Greater numbers are addresses of handlers. */
export const SIG_IGN: usize = 1;

export const SA_SIGINFO: u64 = 4;
export const SA_RESTORER: u64 = 0x04000000;
export const SA_ONSTACK: u64 = 0x08000000;
export const SA_RESTART: u64 = 0x10000000;
export const SA_NODEFER: u64 = 0x40000000;
export const SA_RESETHAND: u64 = 0x80000000;

/** Bytes of a sigset_t of the kernel, which all calls with one want to be told. */
export const SIGSET_SIZE: u64 = 8;

/** How of rt_sigprocmask. */
export const SIG_BLOCK: u64 = 0;
export const SIG_UNBLOCK: u64 = 1;
export const SIG_SETMASK: u64 = 2;

/** struct kernel_sigaction. */
// @ts-ignore: decorator
@unmanaged
export class Action {
  handler: usize;
  flags: u64;
  restorer: usize;
  mask: u64;
}

// siginfo_t: si_signo comes first.
export const SIGINFO_SIZE: usize = 128;
export const SI_ERRNO: usize = 4;
export const SI_CODE: usize = 8;
/** si_code of a SIGSYS by which a seccomp filter answers a call. */
export const SYS_SECCOMP: u32 = 1;
/** Of a signal that was sent. */
export const SI_PID: usize = 16;
/** Of a fault. */
export const SI_ADDR: usize = 16;
export const SI_TKILL: i32 = -6;
export const SEGV_MAPERR: u32 = 1;

/** stack_t (sigaltstack(2)). */
// @ts-ignore: decorator
@unmanaged
export class AlternateStack {
  address: usize;
  flags: u32;
  unused: u32;
  size: usize;
}
export const SS_DISABLE: u32 = 2;
