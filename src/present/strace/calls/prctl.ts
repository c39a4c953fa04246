/** prctl(2): the option says what the other arguments are. */
import type { CallEvent } from "../../../events.ts";
import { PRCTL } from "../../../syscalls/flags/prctl.ts";
import { type Context, enterPayload, exitPayload } from "../context.ts";
import { address } from "../memory.ts";
import { quoted, quotedString } from "../text.ts";
import { choice, flags, hex, hex64, pointer, signal, signed64, unsigned64 } from "../values.ts";

type Printer = (context: Context, index: number) => string;

const NAME_SIZE = 15;
const PTRACER_ANY = "18446744073709551615";

const u: Printer = ({ call }, i) => unsigned64(call.memory, call.at + 8 * i);
const d: Printer = ({ call }, i) => signed64(call.memory, call.at + 8 * i);
const x: Printer = ({ call }, i) => hex64(call.memory, call.at + 8 * i);
const p: Printer = ({ call }, i) => pointer(call.memory, call.at + 8 * i);
const one = (names: Parameters<typeof choice>[0]): Printer => {
  return ({ call }, i) => choice(names, call.low(i));
};
const bits = (names: Parameters<typeof choice>[0]): Printer => {
  return ({ call }, i) => flags(names, call.low(i));
};
/** A number that the kernel writes to where argument `i` points. */
const out = (size: 4 | 8, print: (value: number) => string): Printer => {
  return (context, i) => {
    const payload = exitPayload(context.call, i, size);
    if (payload === undefined) return address(context, i);
    const { memory, at } = payload;
    return `[${print(size === 4 ? memory.readInt32LE(at) : Number(memory.readBigUInt64LE(at)))}]`;
  };
};

const setName: Printer = (context, i) => {
  const payload = enterPayload(context.call, i);
  if (payload === undefined) return address(context, i);
  const { memory, at, size } = payload;
  return quoted(memory, at, Math.min(size, NAME_SIZE), NAME_SIZE, size);
};
const getName: Printer = (context, i) => {
  const payload = exitPayload(context.call, i);
  return payload === undefined ? address(context, i) : quotedString(payload.memory, payload.at, payload.size);
};

/** The name of an anonymous mapping. */
const areaName: Printer = (context, i) => {
  const payload = enterPayload(context.call, i);
  if (payload === undefined) return address(context, i);
  return quoted(payload.memory, payload.at, payload.size, context.limits.string);
};

/** Printers of the arguments after the option. */
const OPTIONS: Readonly<Record<number, readonly Printer[]>> = {
  1: [({ call }, i) => signal(call.int(i))], // PR_SET_PDEATHSIG
  2: [out(4, signal)],
  3: [],
  4: [one(PRCTL.dumpable)],
  7: [],
  8: [u],
  15: [setName],
  16: [getName],
  21: [],
  22: [one(PRCTL.seccomp_mode), p],
  23: [one(PRCTL.cap)], // PR_CAPBSET_READ
  24: [one(PRCTL.cap)],
  25: [out(4, (value) => choice(PRCTL.tsc, value >>> 0))],
  26: [one(PRCTL.tsc)],
  27: [],
  28: [bits(PRCTL.securebits)],
  29: [d],
  30: [],
  31: [],
  32: [],
  33: [one(PRCTL.mce_kill), one(PRCTL.mce_policy), x, x], // PR_MCE_KILL
  34: [x, x, x, x],
  35: [one(PRCTL.mm), x, x, x],
  36: [u], // PR_SET_CHILD_SUBREAPER
  37: [out(4, String)],
  38: [u, x, x, x],
  39: [x, x, x, x],
  40: [out(8, hex)],
  41: [u, x, x, x],
  42: [x, x, x, x],
  47: [one(PRCTL.cap_ambient), one(PRCTL.cap), x, x],
  52: [one(PRCTL.speculation)],
  53: [one(PRCTL.speculation), one(PRCTL.speculation_set)],
  57: [u, x, x, x], // PR_SET_IO_FLUSHER
  58: [x, x, x, x],
  59: [one(PRCTL.dispatch), x, x, p],
  1398164801: [one(PRCTL.vma), x, u, areaName], // PR_SET_VMA
  1499557217: [(context, i) => (u(context, i) === PTRACER_ANY ? "PR_SET_PTRACER_ANY" : d(context, i))],
};
const PR_CAP_AMBIENT = 47;
const CLEAR_ALL = 4;
const UNKNOWN = [x, x, x, x];

/** PR_GET_*: options that answer through the second argument. */
const ANSWERING = new Set([2, 16, 25, 37, 40]);

export function prctlAnswers(call: CallEvent): boolean {
  return ANSWERING.has(call.low(0));
}

export function prctlArguments(context: Context): string[] {
  const option = context.call.low(0);
  const clears = option === PR_CAP_AMBIENT && context.call.low(1) === CLEAR_ALL;
  const printers = clears ? [one(PRCTL.cap_ambient), x, x, x] : (OPTIONS[option] ?? UNKNOWN);
  return [choice(PRCTL.prctl, option), ...printers.map((print, i) => print(context, i + 1))];
}
