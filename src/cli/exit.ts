import * as fs from "node:fs";
import * as os from "node:os";
import type { ZpolineError } from "../errors.ts";

/** zpoline itself failed; the command was found but cannot be run; it was not found (as env(1), timeout(1)). */
export const EXIT_FAILURE = 125;
export const EXIT_NOT_RUNNABLE = 126;
export const EXIT_NOT_FOUND = 127;

/** What a shell makes of death by signal N: 128 + N. */
const SIGNALLED = 128;

const { SIGQUIT, SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGFPE, SIGSEGV, SIGXCPU, SIGXFSZ, SIGSYS } = os.constants.signals;
/** Signals that dump core (signal(7)). */
const DUMPS: readonly number[] = [SIGQUIT, SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGFPE, SIGSEGV, SIGXCPU, SIGXFSZ, SIGSYS];

export function exitStatusOf({ code }: ZpolineError): number {
  if (code === "PROGRAM_NOT_FOUND") return EXIT_NOT_FOUND;
  return /^(PROGRAM|SCRIPT|ELF)_/.test(code) ? EXIT_NOT_RUNNABLE : EXIT_FAILURE;
}

/**
 * Ends this process as the program ended: by the same signal, so that a shell sees the same. Where that would dump a
 * core of this process over the program's, it exits with 128 + N instead.
 */
export function endLike(status: { readonly code?: number; readonly signal?: number }): void {
  if (status.signal === undefined) {
    process.exit(status.code ?? EXIT_FAILURE);
  }
  if (!DUMPS.includes(status.signal) || !dumpsCore()) dieBy(status.signal);
  // Still here for a moment, or for good: an init does not die by signals.
  setTimeout(() => process.exit(SIGNALLED + (status.signal ?? 0)), 100);
}

/** Node ignores SIGPIPE and handles SIGUSR1; a handler that is taken off again leaves the default behind. */
function dieBy(signal: number): void {
  const name = (Object.keys(os.constants.signals) as NodeJS.Signals[]).find(
    (key) => os.constants.signals[key] === signal,
  );
  if (name !== undefined && signal !== os.constants.signals.SIGKILL) {
    const handler = (): void => {};
    process.on(name, handler);
    process.off(name, handler);
  }
  process.kill(process.pid, signal);
}

/** core(5): a limit of 0 forbids a core file, but not a core that is piped to a program. */
function dumpsCore(): boolean {
  const limit = /^Max core file size\s+(\S+)/m.exec(read("/proc/self/limits"))?.[1];
  return limit !== "0" || read("/proc/sys/kernel/core_pattern").startsWith("|");
}

function read(file: string): string {
  try {
    return fs.readFileSync(file, "latin1");
  } catch {
    return "";
  }
}
