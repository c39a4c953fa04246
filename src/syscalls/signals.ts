/** Signals of x86-64 by number (arch/x86/include/uapi/asm/signal.h). */
const SIGNALS = (
  "HUP INT QUIT ILL TRAP ABRT BUS FPE KILL USR1 SEGV USR2 PIPE ALRM TERM STKFLT " +
  "CHLD CONT STOP TSTP TTIN TTOU URG XCPU XFSZ VTALRM PROF WINCH IO PWR SYS"
).split(" ");

export const FIRST_REALTIME = 32;
export const LAST_SIGNAL = 64;

/** Name without "SIG" (`RT_1` for the second real-time signal); undefined for a number that is no signal. */
export function signalName(number: number): string | undefined {
  if (number >= FIRST_REALTIME && number <= LAST_SIGNAL) {
    return number === FIRST_REALTIME ? "RTMIN" : `RT_${number - FIRST_REALTIME}`;
  }
  return SIGNALS[number - 1];
}
