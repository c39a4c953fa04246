/**
 * struct ucontext of Linux on x86-64: what the kernel saves of an interrupted thread, and what rt_sigreturn loads again
 * (asm/ucontext.h, asm/sigcontext.h). Offsets in bytes. The guest imports this file, too: only `export const NAME = <integer>`.
 */
export const UC_FLAGS = 0;
export const UC_STACK = 16;
export const UC_R8 = 40;
export const UC_R9 = 48;
export const UC_R10 = 56;
export const UC_R11 = 64;
export const UC_R12 = 72;
export const UC_R13 = 80;
export const UC_R14 = 88;
export const UC_R15 = 96;
export const UC_RDI = 104;
export const UC_RSI = 112;
export const UC_RBP = 120;
export const UC_RBX = 128;
export const UC_RDX = 136;
export const UC_RAX = 144;
export const UC_RCX = 152;
export const UC_RSP = 160;
export const UC_RIP = 168;
export const UC_EFLAGS = 176;
export const UC_SEGMENTS = 184;
export const UC_FPSTATE = 224;
export const UC_SIGMASK = 296;
/** Its size; in a signal frame siginfo_t follows. */
export const UC_SIZE = 304;
