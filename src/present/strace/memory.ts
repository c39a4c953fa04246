/** Arguments that point to data. */
import type { Payload } from "../../events.ts";
import type { Argument } from "../../syscalls/row.ts";
import { IN } from "../../syscalls/row.ts";
import { SIZES } from "../../syscalls/sizes.ts";
import { type Context, enterPayload, exitPayload, payloadOf, resultOf, type ShapePrinter } from "./context.ts";
import { optionValue } from "./optval.ts";
import type { StructPrinter, StructPrinters } from "./struct.ts";
import { FILE_STRUCTS } from "./structs/file.ts";
import { message, socketAddress, vectors } from "./structs/network.ts";
import { PROCESS_STRUCTS } from "./structs/process.ts";
import { SIGNAL_STRUCTS } from "./structs/signal.ts";
import { TIME_STRUCTS } from "./structs/time.ts";
import { quoted, quotedHex } from "./text.ts";
import { pointer, signalSet } from "./values.ts";

const STRUCTS: StructPrinters = { ...TIME_STRUCTS, ...FILE_STRUCTS, ...PROCESS_STRUCTS, ...SIGNAL_STRUCTS };
const SIGNAL_SET_SIZE = 8;
const INT_SIZE = 4;
const LONG_SIZE = 8;
const MSGHDR_SIZE = 56;
const PATH_LIMIT = 4096;
const O_CREAT = 0x40;

/** The pointer itself: what is left when its data are not known. */
export function address({ call }: Context, index: number): string {
  return pointer(call.memory, call.at + 8 * index);
}

/** Printer of an argument with data: `print` is asked when there are some. */
function withData(
  print: (context: Context, payload: Payload, argument: Argument, index: number) => string | undefined,
) {
  return (context: Context, argument: Argument, index: number): string => {
    const payload = payloadOf(context.call, argument, index);
    return (payload && print(context, payload, argument, index)) ?? address(context, index);
  };
}

const path = withData(({ limits }, { memory, at, size, full }) =>
  quoted(memory, at, size, Math.max(PATH_LIMIT, limits.string), Math.max(full, size)),
);

const bytes = withData(({ limits }, { memory, at, size, full }) => quoted(memory, at, size, limits.string, full));

/** As bytes, but one NUL at the end of what is shown whole is not worth showing. */
const value = withData(({ limits }, { memory, at, size, full }) => {
  const ends = size === full && size <= limits.string && size > 0 && memory[at + size - 1] === 0;
  return ends ? quoted(memory, at, size - 1, limits.string) : quoted(memory, at, size, limits.string, full);
});

const strings = withData(({ limits }, { memory, at, size, full }) => {
  const texts: string[] = [];
  let p = at;
  while (p < at + size && texts.length < limits.string) {
    const nul = memory.indexOf(0, p);
    const end = nul < 0 || nul > at + size ? at + size : nul;
    texts.push(quoted(memory, p, end - p, limits.string));
    p = end + 1;
  }
  if (full > texts.length) texts.push("...");
  return `[${texts.join(", ")}]`;
});

/** A structure, or an array of them. */
export const structure: ShapePrinter = withData((context, payload, argument) => {
  const [print, size] = [STRUCTS[argument.shape], SIZES[argument.shape]];
  if (print === undefined || size === undefined) return undefined;
  if (argument.count === "one") return payload.size < size ? undefined : print(payload.memory, payload.at, context);
  const count = typeof argument.count === "number" ? argument.count : payload.full;
  return array(context, payload, print, size, count);
});

/** `count` elements of `size` bytes in brackets, as many as were copied and as the limit allows. */
function array(context: Context, payload: Payload, print: StructPrinter, size: number, count: number): string {
  const shown = Math.min(count, Math.floor(payload.size / size), context.limits.string);
  const texts: string[] = [];
  for (let i = 0; i < shown; i++) texts.push(print(payload.memory, payload.at + i * size, context));
  if (shown < count) texts.push("...");
  return `[${texts.join(", ")}]`;
}

const signals = withData((_context, { memory, at, size, full }) =>
  size < SIGNAL_SET_SIZE || full !== SIGNAL_SET_SIZE ? undefined : signalSet(memory, at),
);

/** Members of a bit set of descriptors or processors below `end`. */
export function members({ memory, at, size }: Payload, end: number): string {
  const found: number[] = [];
  for (let bit = 0; bit < Math.min(end, size * 8); bit++) {
    if ((memory[at + (bit >> 3)]! >> (bit & 7)) & 1) found.push(bit);
  }
  return `[${found.join(" ")}]`;
}

function vectorArgument(context: Context, argument: Argument, index: number): string {
  const { call } = context;
  const payload = payloadOf(call, argument, index);
  if (payload === undefined) return unfilled(context, index);
  const returned = argument.direction === IN ? undefined : resultOf(call);
  return vectors(payload.memory, payload.at, payload.size, payload.full, context, returned);
}

/** Where the data would have gone. */
function unfilled(context: Context, index: number): string {
  const payload = context.call.end === undefined ? undefined : enterPayload(context.call, index);
  if (payload === undefined) return address(context, index);
  return array(context, payload, STRUCTS["iov"]!, SIZES["iov"]!, payload.full);
}

function messageArgument(context: Context, argument: Argument, index: number): string {
  const { call } = context;
  const payload = payloadOf(call, argument, index);
  if (payload !== undefined && payload.size >= MSGHDR_SIZE) {
    return message(payload, context, argument.direction === IN ? undefined : resultOf(call));
  }
  const before = call.end === undefined ? undefined : enterPayload(call, index, MSGHDR_SIZE);
  return before === undefined ? address(context, index) : `{msg_namelen=${before.memory.readInt32LE(before.at + 8)}}`;
}

/** An address that the kernel filled is as long as it says at exit, but no longer than the room that was given. */
function addressArgument(context: Context, argument: Argument, index: number): string {
  const payload = payloadOf(context.call, argument, index);
  if (payload === undefined) return address(context, index);
  const { memory, at, size } = payload;
  return socketAddress(memory, at, Math.min(size, room(context, argument))) ?? address(context, index);
}

function room({ call }: Context, argument: Argument): number {
  if (argument.direction === IN) return call.int(argument.related);
  const before = enterPayload(call, argument.related, INT_SIZE);
  return before === undefined ? Number.POSITIVE_INFINITY : before.memory.readUInt32LE(before.at);
}

function lengthArgument(context: Context, _argument: Argument, index: number): string {
  const { call } = context;
  const before = enterPayload(call, index, INT_SIZE);
  if (before === undefined) return address(context, index);
  const given = before.memory.readInt32LE(before.at);
  const after = exitPayload(call, index, INT_SIZE);
  const got = after === undefined ? given : after.memory.readInt32LE(after.at);
  return got === given ? `[${given}]` : `[${given} => ${got}]`;
}

function countArgument(context: Context, argument: Argument, index: number): string {
  const payload = payloadOf(context.call, argument, index);
  const text = address(context, index);
  if (payload === undefined) return text;
  return `${text} /* ${payload.full} ${payload.full === 1 ? "var" : "vars"} */`;
}

/** The offset before and after (sendfile). */
function offsetArgument(context: Context, argument: Argument, index: number): string {
  const after = exitPayload(context.call, index, LONG_SIZE);
  const text = structure(context, argument, index)!;
  return after === undefined || text === "NULL" ? text : `${text} => [${after.memory.readBigInt64LE(after.at)}]`;
}

const HANDLE_HEADER = 8;
/** MAX_HANDLE_SZ of include/linux/exportfs.h. */
const MOST_HANDLE = 128;

/** What the program asked for; with the handle when it was given one (name_to_handle_at), or gives one. */
function fileHandle(context: Context, argument: Argument, index: number): string {
  const { call } = context;
  const before = enterPayload(call, index, HANDLE_HEADER);
  if (before === undefined) return address(context, index);
  const handle = argument.direction === IN ? before : exitPayload(call, index, HANDLE_HEADER);
  if (handle === undefined) return `{handle_bytes=${before.memory.readUInt32LE(before.at)}}`;
  const { memory, at, size } = handle;
  const length = memory.readUInt32LE(at);
  const shown = Math.min(length, size - HANDLE_HEADER, MOST_HANDLE);
  const text = quotedHex(memory, at + HANDLE_HEADER, shown, shown);
  return `{handle_bytes=${length}, handle_type=${memory.readInt32LE(at + 4)}, f_handle=${text}}`;
}

/** Before the call only the program's wishes count. */
function ringParameters(context: Context, _argument: Argument, index: number): string {
  const size = SIZES["io_uring_params"]!;
  const after = exitPayload(context.call, index, size);
  const payload = after ?? enterPayload(context.call, index, size);
  if (payload === undefined) return address(context, index);
  const text = PROCESS_STRUCTS["io_uring_params"]!(payload.memory, payload.at, context);
  return after === undefined ? text.replace(/, sq_entries=.*/, "}") : text;
}

/** How many directory entries there are. */
const entries: ShapePrinter = (context, argument, index) => {
  const text = address(context, index);
  const payload = payloadOf(context.call, argument, index);
  if (payload === undefined) return text;
  return `${text} /* ${payload.full} ${payload.full === 1 ? "entry" : "entries"} */`;
};

/** Where there was no child, nothing was written: a result of 0 (WNOHANG). */
const ofChild: ShapePrinter = (context, argument, index) =>
  resultOf(context.call) === 0 ? address(context, index) : structure(context, argument, index);

const EPOLL_CTL_DEL = 2;

/** The event that a descriptor is watched for; the kernel does not look at it to stop watching. */
const epollChange: ShapePrinter = (context, argument, index) =>
  context.call.low(argument.related) === EPOLL_CTL_DEL ? address(context, index) : structure(context, argument, index);

/** Attributes of a message queue: those of mq_open count only when it makes the queue. */
const queueAttributes: ShapePrinter = (context, argument, index) => {
  const ignored = argument.related >= 0 && (context.call.low(argument.related) & O_CREAT) === 0;
  return ignored ? undefined : structure(context, argument, index);
};

/** Printers by shape; what is not here is a structure of SIZES. */
export const MEMORY: Readonly<Record<string, ShapePrinter>> = {
  path,
  string: bytes,
  bytes,
  value,
  names: bytes,
  random: withData(({ limits }, { memory, at, size, full }) => quotedHex(memory, at, size, limits.string, full)),
  strings,
  count: countArgument,
  iovec: vectorArgument,
  msghdr: messageArgument,
  sockaddr: addressArgument,
  optval: optionValue,
  socklen: lengthArgument,
  sigset: signals,
  fdset: withData(({ call }, payload, { related }) =>
    call.int(related) < 0 ? undefined : members(payload, call.int(related)),
  ),
  cpuset: withData((_context, payload) => members(payload, payload.size * 8)),
  off_in: offsetArgument,
  wstatus: ofChild,
  wait_rusage: ofChild,
  epoll_change: epollChange,
  mq_attr: queueAttributes,
  file_handle: fileHandle,
  io_uring_params: ringParameters,
  dirents: entries,
  dirents64: entries,
};
