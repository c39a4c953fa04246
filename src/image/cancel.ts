/** What the templates do at a cancellation point of the C library (guest/rewrite/cancellation.ts). */
import { mem, r11, rax } from "../compiler/x64.ts";
import type { StubAssembler } from "./frame.ts";

const CANCELED_BIT = 8;
/** close(2) */
const CLOSE = 3;
const EINTR = 4;

/**
 * r11 is the address of the flag of a cancellation point, and rax the number: makes the call, or, where the thread has been
 * cancelled since it looked, answers EINTR: then the caller looks again. (It does not for close, which must be made.) The
 * flag is 1, or has the bit of glibc's CANCELED_BITMASK (nptl/descr.h). r11 and the flags are spent.
 */
export function unlessCancelled(a: StubAssembler, call: () => void): void {
  const usual = a.label();
  const cancelled = a.label();
  const answered = a.label();
  a.mov(32, r11, mem(r11));
  a.test(32, r11, CANCELED_BIT);
  a.jcc("ne", cancelled);
  a.cmp(32, r11, 1);
  a.jcc("e", cancelled);
  a.bind(usual);
  call();
  a.jmp(answered);
  a.bind(cancelled);
  a.cmp(32, rax, CLOSE);
  a.jcc("e", usual);
  a.mov(64, rax, -EINTR);
  a.bind(answered);
}
