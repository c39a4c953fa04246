/** The arguments of a call, in parts: those known when the call was made, and those that the kernel fills. */
import type { CallEvent } from "../../events.ts";
import { type Argument, type Call, OUT } from "../../syscalls/row.ts";
import { CALLS } from "../../syscalls/table.ts";
import { fcntlAnswers, fcntlArguments } from "./calls/fcntl.ts";
import { futexArguments } from "./calls/futex.ts";
import { ioctlAnswers, ioctlArguments } from "./calls/ioctl.ts";
import { prctlAnswers, prctlArguments } from "./calls/prctl.ts";
import {
  archPrctlAnswers,
  archPrctlArguments,
  cloneArguments,
  kcmpArguments,
  membarrierArguments,
  mountArguments,
  ptraceArguments,
  rebootArguments,
  seccompArguments,
  syslogArguments,
} from "./calls/process.ts";
import type { Context, ShapePrinter } from "./context.ts";
import { MEMORY, structure } from "./memory.ts";
import { SCALARS } from "./scalars.ts";
import { hex64 } from "./values.ts";

/** All arguments of a call that depend on one another. */
interface Whole {
  readonly print: (context: Context) => string[];
  /** How many are known when the call is made; all when not given. */
  readonly early?: (call: CallEvent) => number;
}

const WHOLE: Readonly<Record<string, Whole>> = {
  arch_prctl: { print: archPrctlArguments, early: (call) => (archPrctlAnswers(call) ? 1 : ALL) },
  clone: { print: cloneArguments, early: () => CLONE_EARLY },
  fcntl: { print: fcntlArguments, early: (call) => (fcntlAnswers(call) ? 2 : ALL) },
  futex: { print: futexArguments },
  ioctl: { print: ioctlArguments, early: (call) => (ioctlAnswers(call) ? 2 : ALL) },
  kcmp: { print: kcmpArguments },
  membarrier: { print: membarrierArguments },
  mount: { print: mountArguments },
  prctl: { print: prctlArguments, early: (call) => (prctlAnswers(call) ? 1 : ALL) },
  ptrace: { print: ptraceArguments },
  reboot: { print: rebootArguments },
  seccomp: { print: seccompArguments },
  syslog: { print: syslogArguments },
};
const ALL = Number.POSITIVE_INFINITY;
/** The stack and the flags; strace writes what follows, comma included, when the call has returned. */
const CLONE_EARLY = 2;

/** Calls whose last argument is shown after the call, although nothing is read through it. */
const EARLY: Readonly<Record<string, number>> = { nanosleep: 1, clock_nanosleep: 3 };

interface Printers {
  readonly list: readonly (readonly [print: ShapePrinter, argument: Argument, index: number])[];
  /** How many arguments are known when the call is made. */
  readonly early: number;
}

const PRINTERS: (Printers | Whole | undefined)[] = CALLS.map((call) => call && (WHOLE[call.name] ?? printersOf(call)));

function printersOf(call: Call): Printers {
  const list = call.arguments
    .map((argument, index) => [printerOf(call, argument), argument, index] as const)
    .filter(([, argument]) => argument.name !== "_");
  const late = list.findIndex(([, argument]) => argument.direction === OUT);
  return { list, early: EARLY[call.name] ?? (late < 0 ? ALL : late) };
}

function printerOf(call: Call, argument: Argument): ShapePrinter {
  const printer = argument.direction === 0 ? SCALARS[argument.shape] : (MEMORY[argument.shape] ?? structure);
  if (printer === undefined) throw new RangeError(`${call.name}: no printer for the shape ${argument.shape}`);
  return printer;
}

/** Text of each argument of the call; six in hexadecimal for a number that is no call. */
export function printArguments(context: Context): string[] {
  const { call } = context;
  const printers = PRINTERS[call.nr];
  if (printers === undefined) return [0, 1, 2, 3, 4, 5].map((i) => hex64(call.memory, call.at + 8 * i));
  if ("print" in printers) return printers.print(context);
  const texts: string[] = [];
  for (const [print, argument, index] of printers.list) {
    const text = print(context, argument, index);
    if (text !== undefined) texts.push(text);
  }
  return texts;
}

/** How many of `count` texts were known when the call was made. */
export function earlyArguments(call: CallEvent, count: number): number {
  const printers = PRINTERS[call.nr];
  if (printers === undefined) return count;
  const early = "print" in printers ? printers.early?.(call) : printers.early;
  return Math.min(early ?? count, count);
}
