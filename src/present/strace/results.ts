/** What stands after " = ": the result, and what the call changed where strace shows it there. */

import type { Payload } from "../../events.ts";
import { errorOf } from "../../syscalls/errno.ts";
import { IO } from "../../syscalls/flags/io.ts";
import { PRCTL } from "../../syscalls/flags/prctl.ts";
import { PROCESS } from "../../syscalls/flags/process.ts";
import { TIME } from "../../syscalls/flags/time.ts";
import type { Call } from "../../syscalls/row.ts";
import { type Context, exitPayload, resultOf } from "./context.ts";
import { members } from "./memory.ts";
import { ioPriority, personality } from "./scalars.ts";
import { openFlags, pollfd } from "./structs/file.ts";
import { TIME_STRUCTS } from "./structs/time.ts";
import { dateTime, flags, hex, signal } from "./values.ts";

type ResultPrinter = (context: Context) => string;

const POLLFD_SIZE = 8;
/** struct timespec and struct timeval. */
const TIME_SIZE = 16;
const TIMED_OUT = "0 (Timeout)";

/** Text after " = " of a call that returned. */
export function printResult(context: Context, call: Call | undefined): string {
  const { errno, result } = context.call;
  if (errno !== 0) {
    const error = errorOf(errno);
    return error === undefined ? `-1 (errno ${errno})` : `-1 ${error.name} (${error.text})`;
  }
  const print = call === undefined ? undefined : (BY_CALL[call.name] ?? BY_SHAPE[call.result]);
  return print === undefined ? String(result) : print(context);
}

function octal(value: number): string {
  return `0${value.toString(8).padStart(2, "0")}`;
}

/** The sets and the time that select(2) left, in words. */
function select(context: Context): string {
  const { call } = context;
  const count = resultOf(call);
  if (count === 0) return TIMED_OUT;
  const notes: string[] = [];
  let left = count;
  for (const [i, name] of ["in", "out", "except"].entries()) {
    const payload = exitPayload(call, i + 1);
    if (payload === undefined || left <= 0) continue;
    const ready = members(payload, call.int(0)).slice(1, -1);
    if (ready === "") continue;
    const shown = ready.split(" ").slice(0, left);
    left -= shown.length;
    notes.push(`${name} [${shown.join(" ")}]`);
  }
  const time = exitPayload(call, 4, TIME_SIZE);
  const printTime = TIME_STRUCTS[call.nr === SELECT ? "timeval" : "timespec"]!;
  if (time !== undefined) notes.push(`left ${printTime(time.memory, time.at, context)}`);
  return `${count} (${notes.join(", ")})`;
}

const SELECT = 23;

/** The descriptors that are ready, and the time that ppoll(2) left. */
function poll(context: Context): string {
  const { call, limits } = context;
  const count = resultOf(call);
  if (count === 0) return TIMED_OUT;
  const notes: string[] = [];
  const ready = exitPayload(call, 0);
  if (ready !== undefined) {
    const { texts, more } = readyDescriptors(ready, limits.string);
    if (texts.length > 0) notes.push(`[${[...texts, ...(more ? ["..."] : [])].join(", ")}]`);
  }
  const time = call.nr === POLL ? undefined : exitPayload(call, 2, TIME_SIZE);
  if (time !== undefined) notes.push(`left ${TIME_STRUCTS["timespec"]!(time.memory, time.at, context)}`);
  return notes.length === 0 ? String(count) : `${count} (${notes.join(", ")})`;
}

const POLL = 7;

function readyDescriptors({ memory, at, size }: Payload, limit: number): { texts: string[]; more: boolean } {
  const texts: string[] = [];
  for (let p = at; p + POLLFD_SIZE <= at + size; p += POLLFD_SIZE) {
    if (memory.readUInt16LE(p + 6) === 0) continue;
    if (texts.length === limit) return { texts, more: true };
    texts.push(pollfd(memory, p, "revents"));
  }
  return { texts, more: false };
}

function noted(text: string, note: string | undefined): string {
  return note === undefined || note === "" ? text : `${text} (${note})`;
}

const BY_SHAPE: Readonly<Record<string, ResultPrinter>> = {
  pointer: ({ call }) => `0x${BigInt.asUintN(64, BigInt(call.result!)).toString(16)}`.replace(/^0x0$/, "0"),
  octal: ({ call }) => octal(resultOf(call)),
  select,
  poll,
  time: ({ call }) => noted(String(call.result), resultOf(call) === 0 ? "" : dateTime(resultOf(call))),
  timex: ({ call }) => noted(String(call.result), TIME.adjtimex_state.byValue.get(resultOf(call))),
  sched: ({ call }) => noted(String(call.result), PROCESS.sched.byValue.get(resultOf(call))),
  signal: ({ call }) => noted(String(call.result), signal(resultOf(call))),
  personality: ({ call }) => noted(hex(resultOf(call)), personality(resultOf(call))),
};

/** fcntl(2): what the result of a command is. */
const FCNTL: Readonly<Record<number, (result: number) => string>> = {
  1: (result) => (result === 0 ? "0" : `${hex(result)} (flags ${flags(IO.fd, result)})`),
  3: (result) => `${hex(result)} (flags ${openFlags(result)})`,
  11: (result) => noted(String(result), result === 0 ? "" : signal(result)),
  1025: (result) => noted(hex(result), IO.lock_type.byValue.get(result)),
  1034: (result) => (result === 0 ? "0" : `${hex(result)} (seals ${flags(IO.seals, result)})`),
};

/** prctl(2): likewise. */
const PRCTL_RESULTS: Readonly<Record<number, (result: number) => string>> = {
  3: (result) => noted(String(result), PRCTL.dumpable.byValue.get(result)),
  27: (result) => noted(hex(result), result === 0 ? "" : flags(PRCTL.securebits, result)),
  34: (result) => noted(String(result), PRCTL.mce_policy.byValue.get(result)),
  52: (result) => noted(hex(result), flags(PRCTL.speculation_state, result)),
};

function byArgument(index: number, printers: Readonly<Record<number, (result: number) => string>>): ResultPrinter {
  return ({ call }) => printers[call.low(index)]?.(resultOf(call)) ?? String(call.result);
}

const BY_CALL: Readonly<Record<string, ResultPrinter>> = {
  fcntl: byArgument(1, FCNTL),
  prctl: byArgument(0, PRCTL_RESULTS),
  ioprio_get: ({ call }) => `${call.result} (${ioPriority(resultOf(call))})`,
  membarrier: ({ call }) => {
    const query = call.low(0) === 0 && resultOf(call) !== 0;
    return query ? `${hex(resultOf(call))} (${flags(PROCESS.membarrier, resultOf(call))})` : String(call.result);
  },
};
