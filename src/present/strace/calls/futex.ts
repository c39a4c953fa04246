/** futex(2): the operation says which arguments there are, and whether the fourth is a time or a number. */
import { PROCESS } from "../../../syscalls/flags/process.ts";
import { type Context, enterPayload } from "../context.ts";
import { address } from "../memory.ts";
import { TIME_STRUCTS } from "../structs/time.ts";
import { hex, unnamed } from "../values.ts";

const PRIVATE = 0x80;
const CLOCK_REALTIME = 0x100;
const OPERATION = 0x7f;
const MATCH_ANY = 0xffffffff;
const TIMESPEC_SIZE = 16;

const WAIT = 0;
const FD = 2;
const WAIT_BITSET = 9;
const WAIT_REQUEUE_PI = 11;
/** Operations that take a clock. */
const CLOCKED = new Set([WAIT, WAIT_BITSET, WAIT_REQUEUE_PI]);

/** Arguments after the operation, one letter each: v val, t timeout, 2 val2, u uaddr2, b bit set, 3 val3, o wake operation. */
const ARGUMENTS = ["vt", "v", "v", "v2u", "v2u3", "v2uo", "t", "", "", "vtb", "vb", "vtu", "v2u3", "t"];

export function futexArguments(context: Context): string[] {
  const { call } = context;
  const head = [address(context, 0), operation(call.low(1))];
  const letters = ARGUMENTS[call.low(1) & OPERATION];
  if (letters === undefined) {
    return [...head, String(call.low(2)), address(context, 3), address(context, 4), hex(call.low(5))];
  }
  return [...head, ...[...letters].map((letter) => argument(context, letter))];
}

/** Name of an operation with its modifiers; undefined for a combination that the kernel does not know. */
function operationName(value: number): string | undefined {
  const base = value & ~(PRIVATE | CLOCK_REALTIME);
  const name = PROCESS.futex_op.byValue.get(base);
  const clock = (value & CLOCK_REALTIME) !== 0;
  if (name === undefined || value > 0x1ff || (clock && !CLOCKED.has(base))) return undefined;
  const mark = (value & PRIVATE) === 0 ? "" : base === FD ? "|FUTEX_PRIVATE_FLAG" : "_PRIVATE";
  return `${name}${mark}${clock ? "|FUTEX_CLOCK_REALTIME" : ""}`;
}

function operation(value: number): string {
  return operationName(value) ?? unnamed(hex(value), PROCESS.futex_op);
}

function argument(context: Context, letter: string): string {
  const { call } = context;
  switch (letter) {
    case "v":
      return String(call.low(2));
    case "2":
      return String(call.low(3));
    case "3":
      return String(call.low(5));
    case "u":
      return address(context, 4);
    case "b":
      return call.low(5) === MATCH_ANY ? "FUTEX_BITSET_MATCH_ANY" : hex(call.low(5));
    case "o":
      return wakeOperation(call.low(5));
    default:
      return timeout(context);
  }
}

function timeout(context: Context): string {
  const payload = enterPayload(context.call, 3, TIMESPEC_SIZE);
  if (payload === undefined) return address(context, 3);
  return TIME_STRUCTS["timespec"]!(payload.memory, payload.at, context);
}

/** What FUTEX_WAKE_OP does to the second word, and the comparison that decides whether to wake there too. */
function wakeOperation(value: number): string {
  const shift = value >>> 31 ? "FUTEX_OP_OPARG_SHIFT<<28|" : "";
  const number = (value >>> 28) & 7;
  const name = PROCESS.futex_wake_op.byValue.get(number);
  const change = name === undefined ? `${hex(number)}<<28 /* FUTEX_OP_??? */` : `${name}<<28`;
  const compare = (value >>> 24) & 0xf;
  const compareName = PROCESS.futex_wake_cmp.byValue.get(compare);
  const test = compareName === undefined ? `${hex(compare)}<<24 /* FUTEX_OP_CMP_??? */` : `${compareName}<<24`;
  return `${shift}${change}|${hex((value >>> 12) & 0xfff)}<<12|${test}|${hex(value & 0xfff)}`;
}
