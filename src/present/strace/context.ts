import type { CallEvent, Payload } from "../../events.ts";
import { PAYLOAD_FAULT } from "../../image/layout.ts";
import { type Argument, OUT } from "../../syscalls/row.ts";

export interface Limits {
  /** Most bytes of a string, or elements of an array, to show. */
  readonly string: number;
  /** Most bytes that the guest copied of one buffer (RING_H_DATA_LIMIT): where one buffer of several ends. */
  readonly data: number;
}

/** A call while it is printed. */
export interface Context {
  readonly call: CallEvent;
  readonly limits: Limits;
}

/** Text of one argument, or undefined when this call has no such argument (the mode of an open without O_CREAT). */
export type ShapePrinter = (context: Context, argument: Argument, index: number) => string | undefined;

/** The bytes copied at enter for argument `index`; undefined when they are fewer than `least` or the pointer was bad. */
export function enterPayload(call: CallEvent, index: number, least = 0): Payload | undefined {
  return find(call.enter, index, least);
}

/** The bytes copied at exit for argument `index` of a call that succeeded; undefined as for enterPayload. */
export function exitPayload(call: CallEvent, index: number, least = 0): Payload | undefined {
  return succeeded(call) ? find(call.exit, index, least) : undefined;
}

/** The bytes that the direction of the argument asks for: of the exit where the kernel fills them, else of the enter. */
export function payloadOf(call: CallEvent, argument: Argument, index: number): Payload | undefined {
  return argument.direction === OUT ? exitPayload(call, index) : enterPayload(call, index);
}

/** The call returned, and not with an error. */
export function succeeded(call: CallEvent): boolean {
  return call.end !== undefined && call.errno === 0;
}

/** Result of a call that succeeded; exact up to 2^53. */
export function resultOf(call: CallEvent): number {
  return Number(call.result ?? 0);
}

function find(payloads: readonly Payload[], index: number, least: number): Payload | undefined {
  for (const payload of payloads) {
    if (payload.arg !== index) continue;
    return payload.kind === PAYLOAD_FAULT || payload.size < least ? undefined : payload;
  }
  return undefined;
}
