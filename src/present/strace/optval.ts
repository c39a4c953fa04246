/** Values of socket options: numbers, a few structures, and bytes for what is neither. */
import type { Payload } from "../../events.ts";
import { errorOf } from "../../syscalls/errno.ts";
import { type Argument, IN } from "../../syscalls/row.ts";
import { type Context, enterPayload, exitPayload, payloadOf } from "./context.ts";
import { credentials, ipv4 } from "./structs/network.ts";
import { quoted, quotedHex } from "./text.ts";
import { pointer } from "./values.ts";

const SOL_IP = 0;
const SOL_SOCKET = 1;
const SO_ERROR = 4;
const SO_LINGER = 13;
const SO_PEERCRED = 17;
const SO_ATTACH_FILTER = 26;
const IP_ADD_MEMBERSHIP = 35;
const IP_DROP_MEMBERSHIP = 36;
const INT_SIZE = 4;

/** Options of SOL_SOCKET that are an int, whatever length was given: all but those that have a kind of their own. */
const NOT_INT = new Set([
  3, 4, 13, 17, 20, 21, 22, 23, 24, 25, 26, 28, 31, 38, 39, 47, 48, 50, 51, 52, 54, 55, 57, 58, 59, 61, 62, 66, 67, 71,
  72,
]);

export function optionValue(context: Context, argument: Argument, index: number): string {
  const { call } = context;
  const payload = payloadOf(call, argument, index);
  const text =
    payload &&
    describe(call.low(1), call.low(2), payload, lengthOf(context, argument), argument, context.limits.string);
  return text ?? pointer(call.memory, call.at + 8 * index);
}

function lengthOf({ call }: Context, argument: Argument): number {
  if (argument.direction === IN) return call.int(argument.related);
  const length = exitPayload(call, argument.related, INT_SIZE) ?? enterPayload(call, argument.related, INT_SIZE);
  return length === undefined ? 0 : length.memory.readInt32LE(length.at);
}

function describe(
  level: number,
  option: number,
  { memory, at, size, full }: Payload,
  length: number,
  argument: Argument,
  limit: number,
): string | undefined {
  const number = (): string => `[${memory.readInt32LE(at)}]`;
  const bytes = (): string => quoted(memory, at, size, limit, full);
  if (level === SOL_SOCKET) {
    if (option === SO_LINGER)
      return size >= 8 ? `{l_onoff=${memory.readInt32LE(at)}, l_linger=${memory.readInt32LE(at + 4)}}` : undefined;
    if (option === SO_PEERCRED && size >= 12) return credentials(memory, at);
    if (option === SO_ATTACH_FILTER) {
      return size >= 16 ? `{len=${memory.readUInt16LE(at)}, filter=${pointer(memory, at + 8)}}` : undefined;
    }
    if (option === SO_ERROR && argument.direction !== IN && size >= INT_SIZE) {
      const errno = memory.readInt32LE(at);
      return `[${errorOf(errno)?.name ?? errno}]`;
    }
    if (!NOT_INT.has(option)) {
      if (size >= INT_SIZE) return number();
      return argument.direction === IN ? undefined : quotedHex(memory, at, size, limit, full);
    }
  }
  if (level === SOL_IP && (option === IP_ADD_MEMBERSHIP || option === IP_DROP_MEMBERSHIP)) {
    return size >= 8 ? `{imr_multiaddr=${ipv4(memory, at)}, imr_interface=${ipv4(memory, at + 4)}}` : undefined;
  }
  if (length === INT_SIZE && size >= INT_SIZE) return number();
  if (level === SOL_SOCKET && option === SO_ERROR && size < INT_SIZE) return quotedHex(memory, at, size, limit, full);
  return bytes();
}
