/** fcntl(2): the command says what the argument is. */
import type { CallEvent } from "../../../events.ts";
import { IO } from "../../../syscalls/flags/io.ts";
import { type Context, enterPayload, exitPayload } from "../context.ts";
import { address } from "../memory.ts";
import { lock, openFlags } from "../structs/file.ts";
import { choice, flags, hex64, signal } from "../values.ts";

const NONE = new Set([1, 3, 9, 11, 1025, 1032, 1034]);
const LOCK_SIZE = 32;
const OWNER_SIZE = 8;

const F_DUPFD = 0;
const F_SETFD = 2;
const F_SETFL = 4;
const F_SETOWN = 8;
const F_SETSIG = 10;
const F_SETOWN_EX = 15;
const F_GETOWN_EX = 16;
const F_SETLEASE = 1024;
const F_NOTIFY = 1026;
const F_DUPFD_CLOEXEC = 1030;
const F_SETPIPE_SZ = 1031;
const F_ADD_SEALS = 1033;
const GET_LOCK = new Set([5, 36]);
const SET_LOCK = new Set([6, 7, 37, 38]);

/** Whether the command answers through its pointer. */
export function fcntlAnswers(call: CallEvent): boolean {
  return GET_LOCK.has(call.low(1)) || call.low(1) === F_GETOWN_EX;
}

export function fcntlArguments(context: Context): string[] {
  const { call } = context;
  const command = call.low(1);
  const head = [String(call.int(0)), choice(IO.fcntl, command)];
  return NONE.has(command) ? head : [...head, argument(context, command)];
}

function argument(context: Context, command: number): string {
  const { call } = context;
  if (GET_LOCK.has(command) || SET_LOCK.has(command)) return lockArgument(context, GET_LOCK.has(command));
  switch (command) {
    case F_DUPFD:
    case F_DUPFD_CLOEXEC:
    case F_SETOWN:
    case F_SETPIPE_SZ:
      return String(call.int(2));
    case F_SETFD:
      return flags(IO.fd, call.low(2));
    case F_SETFL:
      return openFlags(call.low(2));
    case F_SETSIG:
      return signal(call.int(2));
    case F_SETLEASE:
      return choice(IO.lock_type, call.low(2));
    case F_NOTIFY:
      return flags(IO.dnotify, call.low(2));
    case F_ADD_SEALS:
      return flags(IO.seals, call.low(2));
    case F_SETOWN_EX:
    case F_GETOWN_EX:
      return ownerArgument(context, command === F_GETOWN_EX);
    default:
      return hex64(call.memory, call.at + 16);
  }
}

function lockArgument(context: Context, get: boolean): string {
  const payload = get ? exitPayload(context.call, 2, LOCK_SIZE) : enterPayload(context.call, 2, LOCK_SIZE);
  if (payload === undefined) return address(context, 2);
  return lock(payload.memory, payload.at, get);
}

function ownerArgument(context: Context, get: boolean): string {
  const payload = get ? exitPayload(context.call, 2, OWNER_SIZE) : enterPayload(context.call, 2, OWNER_SIZE);
  if (payload === undefined) return address(context, 2);
  const { memory, at } = payload;
  return `{type=${choice(IO.owner_type, memory.readUInt32LE(at))}, pid=${memory.readInt32LE(at + 4)}}`;
}
