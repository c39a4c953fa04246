/** What SIGSYS tells (asm-generic/siginfo.h, linux/audit.h). */

/** siginfo_t of SIGSYS. */
// @ts-ignore: decorator
@unmanaged
export class Info {
  signal: i32;
  /** MADE_UP, or 0 as always from the kernel. */
  errno: i32;
  code: i32;
  padding: u32;
  /** After the instruction. */
  callAddress: usize;
  number: i32;
  arch: u32;
}
export const INFO_SIZE: usize = 128;

/** In a signal that we have queued ourselves, and that is for the program. */
export const MADE_UP: i32 = 0x5a50;

export const AUDIT_ARCH_X86_64: u32 = 0xc000003e;
export const AUDIT_ARCH_I386: u32 = 0x40000003;
