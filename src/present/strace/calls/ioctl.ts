/** ioctl(2): requests that programs make of terminals and sockets all the time; others show their number taken apart. */

import type { CallEvent, Payload } from "../../../events.ts";
import { IOCTLS } from "../../../syscalls/ioctls.ts";
import { type Context, enterPayload, exitPayload } from "../context.ts";
import { address } from "../memory.ts";
import { terminal, windowSize } from "../structs/terminal.ts";
import { hex } from "../values.ts";

const SIZES = { int: 4, long: 8, winsize: 8, termios: 36 };
const DIRECTIONS = ["_IOC_NONE", "_IOC_WRITE", "_IOC_READ", "_IOC_READ|_IOC_WRITE"];

/** Whether the request answers through its pointer. */
export function ioctlAnswers(call: CallEvent): boolean {
  return IOCTLS[call.low(1)]?.direction === "out";
}

export function ioctlArguments(context: Context): string[] {
  const { call } = context;
  const request = call.low(1);
  const known = IOCTLS[request];
  const head = [String(call.int(0)), known?.name ?? numberOf(request)];
  if (known === undefined) return [...head, raw(context)];
  if (known.argument === "none") return head;
  if (known.argument === "value") return [...head, String(call.low(2))];
  if (known.argument === "hex") return [...head, raw(context)];
  if (known.argument === "pointer") return [...head, address(context, 2)];
  const size = SIZES[known.argument];
  const payload = known.direction === "out" ? exitPayload(call, 2, size) : enterPayload(call, 2, size);
  if (payload === undefined) return [...head, address(context, 2)];
  return [...head, data(known.argument, payload)];
}

function data(kind: keyof typeof SIZES, { memory, at }: Payload): string {
  switch (kind) {
    case "int":
      return `[${memory.readInt32LE(at)}]`;
    case "long":
      return `[${memory.readBigUInt64LE(at)}]`;
    case "winsize":
      return windowSize(memory, at);
    case "termios":
      return terminal(memory, at);
  }
}

/** _IOC(direction, type, number, size) of include/uapi/asm-generic/ioctl.h. */
function numberOf(request: number): string {
  const direction = DIRECTIONS[request >>> 30]!;
  return `_IOC(${direction}, ${hex((request >>> 8) & 0xff)}, ${hex(request & 0xff)}, ${hex((request >>> 16) & 0x3fff)})`;
}

function raw({ call }: Context): string {
  return hex(call.low(2) + call.high(2) * 4294967296);
}
