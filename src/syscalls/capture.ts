/** What the guest copies of each call, derived from the shapes of its arguments. */
import * as L from "../image/layout.ts";
import { type Argument, IN, OUT } from "./row.ts";
import { SIZES } from "./sizes.ts";
import { CALLS } from "./table.ts";

interface Capture {
  readonly enter: number;
  readonly exit: number;
}

/** Of these, some is shown also when the call fails and the kernel has filled nothing. */
const SHOWN_ON_FAILURE = new Set(["msghdr", "iovec"]);
const MSGHDR_SIZE = 56;
const IOVEC_SIZE = 16;
/** PR_GET_NAME fills 16 bytes (prctl(2)); the other options that answer through arg2 fill 4. */
const PRCTL_OUT_SIZE = 16;

/**
 * The recording table of a session: RING_ROWS rows of RING_ROW_SIZE bytes. With `selected`, only the calls with these
 * numbers are recorded; numbers that have no call are recorded with six raw arguments.
 */
export function captureRows(selected?: ReadonlySet<number>): Uint8Array {
  const bytes = new Uint8Array(L.RING_ROWS * L.RING_ROW_SIZE);
  const view = new DataView(bytes.buffer);
  for (let nr = 0; nr < L.RING_ROWS; nr++) {
    const at = nr * L.RING_ROW_SIZE;
    const call = CALLS[nr];
    if (selected === undefined || selected.has(nr)) view.setUint16(at, L.ROW_RECORD, true);
    view.setUint16(at + 2, call?.arguments.length ?? 6, true);
    call?.arguments.forEach((argument, i) => {
      const capture = captureOf(argument);
      view.setUint16(at + L.ROW_ENTER + 2 * i, capture.enter, true);
      view.setUint16(at + L.ROW_EXIT + 2 * i, capture.exit, true);
    });
  }
  return bytes;
}

/** The captures of one argument, as they stand in a row. */
export function captureOf(argument: Argument): Capture {
  if (argument.direction === 0) return { enter: L.CAPTURE_NONE, exit: L.CAPTURE_NONE };
  return {
    enter: argument.direction & IN || SHOWN_ON_FAILURE.has(argument.shape) ? enterCapture(argument) : L.CAPTURE_NONE,
    exit: argument.direction & OUT ? exitCapture(argument) : L.CAPTURE_NONE,
  };
}

function enterCapture(argument: Argument): number {
  switch (argument.shape) {
    case "bytes":
    case "value":
    case "cpuset":
    case "sockaddr":
    case "optval":
      return pack(L.CAPTURE_BUFFER, argument.related);
    case "msghdr":
      return argument.direction & IN ? pack(L.CAPTURE_MSGHDR, 0) : pack(L.CAPTURE_STRUCT, MSGHDR_SIZE);
    case "iovec":
      if (argument.direction & IN) return eitherCapture(argument);
      return pack(L.CAPTURE_ARRAY, (IOVEC_SIZE << 3) | argument.related);
    case "prctl":
      return pack(L.CAPTURE_CSTRING, 0);
    default:
      return eitherCapture(argument);
  }
}

function exitCapture(argument: Argument): number {
  switch (argument.shape) {
    case "bytes":
    case "value":
    case "random":
    case "names":
    case "cpuset":
      return pack(L.CAPTURE_RESULT, 0);
    case "dirents":
    case "dirents64":
      return pack(L.CAPTURE_ENTRIES, 0);
    case "sockaddr":
    case "optval":
      return pack(L.CAPTURE_LENGTH_AT, argument.related);
    case "msghdr":
      return pack(L.CAPTURE_MSGHDR, 0);
    case "prctl":
      return pack(L.CAPTURE_STRUCT, PRCTL_OUT_SIZE);
    default:
      return eitherCapture(argument);
  }
}

function eitherCapture(argument: Argument): number {
  switch (argument.shape) {
    case "path":
    case "string":
      return pack(L.CAPTURE_CSTRING, 0);
    case "strings":
      return pack(L.CAPTURE_STRINGS, 0);
    case "count":
      return pack(L.CAPTURE_COUNT, 0);
    case "iovec":
      return pack(L.CAPTURE_IOVEC, argument.related);
    case "sigset":
      return pack(L.CAPTURE_BUFFER, argument.related);
    case "fdset":
      return pack(L.CAPTURE_BITS, argument.related);
    default:
      return structCapture(argument);
  }
}

function structCapture({ shape, count, related }: Argument): number {
  const size = SIZES[shape];
  if (size === undefined) throw new RangeError(`no size is known for the shape ${shape}`);
  if (count === "argument") return pack(L.CAPTURE_ARRAY, (size << 3) | related);
  if (count === "result") return pack(L.CAPTURE_RESULT_ARRAY, size);
  return pack(L.CAPTURE_STRUCT, count === "one" ? size : size * count);
}

function pack(kind: number, parameter: number): number {
  return kind | (parameter << 4);
}
