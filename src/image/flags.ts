/** The program's flags, put back by the machine code templates. */
import { type Assembler, r11, rax, rcx } from "../compiler/x64.ts";

/** Bit of OF in rflags. */
const OVERFLOW_BIT = 11;
/**
 * DF and AC in rflags. Hooks run with both clear, as the ABI has it for DF: copies would run backwards, and reads that
 * are not aligned be SIGBUS. Only where one of them was set are the flags loaded by popfq, which costs ten times as much
 * as all else, and would load TF as well: a debugger that steps over `pushfq` leaves it in the saved flags, where it
 * would trap again after the debugger has gone.
 */
export const RARE_FLAGS = (1 << 10) | (1 << 18);

/**
 * The arithmetic flags in r11 become the processor's: `sahf` takes SF ZF AF PF CF from ah (the low byte of rflags), `add`
 * makes OF (1 + 127 overflows). rax and rcx are spent.
 */
export function loadArithmeticFlags(a: Assembler): void {
  a.mov(32, rax, r11);
  a.mov(32, rcx, r11);
  a.shift("shr", 32, rax, OVERFLOW_BIT);
  a.and(32, rax, 1);
  a.bytes(0x88, 0xcc); // mov %cl, %ah
  a.add(8, rax, 0x7f);
  a.op("sahf");
}
