/** The arguments of a call, in parts: those known when the call was made, and those that the kernel fills. */
import { type Argument, type Call, OUT } from "../../syscalls/row.ts";
import { CALLS } from "../../syscalls/table.ts";
import { fcntlArguments } from "./calls/fcntl.ts";
import { futexArguments } from "./calls/futex.ts";
import { ioctlArguments } from "./calls/ioctl.ts";
import { prctlArguments } from "./calls/prctl.ts";
import {
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

interface Printers {
  readonly list: readonly (readonly [print: ShapePrinter, argument: Argument, index: number])[];
  /** Prints all the arguments, where they depend on one another. */
  readonly whole: ((context: Context) => string[]) | undefined;
  /** Place in the list of the first argument that only the kernel fills. */
  readonly late: number;
}

const WHOLE: Readonly<Record<string, (context: Context) => string[]>> = {
  arch_prctl: archPrctlArguments,
  clone: cloneArguments,
  fcntl: fcntlArguments,
  futex: futexArguments,
  ioctl: ioctlArguments,
  kcmp: kcmpArguments,
  membarrier: membarrierArguments,
  mount: mountArguments,
  prctl: prctlArguments,
  ptrace: ptraceArguments,
  reboot: rebootArguments,
  seccomp: seccompArguments,
  syslog: syslogArguments,
};

/** In calls that print all arguments at once: where what the kernel fills begins. */
const WHOLE_LATE: Readonly<Record<string, number>> = { arch_prctl: 1, clone: 2, ioctl: 2, fcntl: 2, prctl: 1 };

const PRINTERS: (Printers | undefined)[] = CALLS.map((call) => call && printersOf(call));

function printersOf(call: Call): Printers {
  const list = call.arguments
    .map((argument, index) => [printerOf(call, argument), argument, index] as const)
    .filter(([, argument]) => argument.name !== "_");
  const late = list.findIndex(([, argument]) => argument.direction === OUT);
  const whole = WHOLE[call.name];
  if (whole !== undefined) return { list, whole, late: WHOLE_LATE[call.name] ?? list.length };
  return { list, whole, late: late < 0 ? list.length : late };
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
  if (printers.whole !== undefined) return printers.whole(context);
  const texts: string[] = [];
  for (const [print, argument, index] of printers.list) {
    const text = print(context, argument, index);
    if (text !== undefined) texts.push(text);
  }
  return texts;
}

/** How many of these texts were known when the call was made. */
export function earlyArguments(nr: number, count: number): number {
  return Math.min(PRINTERS[nr]?.late ?? count, count);
}
