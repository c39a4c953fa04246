/** clone, ptrace, seccomp and others whose first argument says what the others are. */
import type { CallEvent } from "../../../events.ts";
import { DEBUG } from "../../../syscalls/flags/debug.ts";
import { PROCESS } from "../../../syscalls/flags/process.ts";
import { SYSTEM } from "../../../syscalls/flags/system.ts";
import { type Context, enterPayload, exitPayload } from "../context.ts";
import { address } from "../memory.ts";
import { mountFlags } from "../scalars.ts";
import {
  CLONE_CHILD_CLEARTID,
  CLONE_CHILD_SETTID,
  CLONE_PARENT_SETTID,
  CLONE_PIDFD,
  CLONE_SETTLS,
  PROCESS_STRUCTS,
} from "../structs/process.ts";
import { quoted } from "../text.ts";
import { choice, flags, hex, hex64, signal } from "../values.ts";

const SIGNAL_BITS = 0xff;

/** clone(2): the stack first, the exit signal among the flags, then what the flags ask for. */
export function cloneArguments(context: Context): string[] {
  const { call } = context;
  const value = call.low(0);
  const bits = (value & ~SIGNAL_BITS) >>> 0;
  const parts = [bits === 0 ? "" : flags(PROCESS.clone, bits)];
  if (value & SIGNAL_BITS) parts.push(signal(value & SIGNAL_BITS));
  const shown = [`child_stack=${address(context, 1)}`, `flags=${parts.filter((part) => part !== "").join("|") || "0"}`];
  if (value & (CLONE_PARENT_SETTID | CLONE_PIDFD)) shown.push(`parent_tid=${written(context, 2)}`);
  if (value & CLONE_SETTLS) shown.push(`tls=${address(context, 4)}`);
  if (value & (CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID)) shown.push(`child_tidptr=${address(context, 3)}`);
  return shown;
}

function written(context: Context, index: number): string {
  const payload = exitPayload(context.call, index);
  return payload === undefined || payload.size < 4
    ? address(context, index)
    : `[${payload.memory.readInt32LE(payload.at)}]`;
}

/** ARCH_GET_*: these answer through the pointer. */
const ARCH_OUT = new Set([0x1003, 0x1004, 0x1021, 0x1022, 0x1024]);
const ARCH_GET_CPUID = 0x1011;

export function archPrctlAnswers(call: CallEvent): boolean {
  return ARCH_OUT.has(call.low(0));
}

export function archPrctlArguments(context: Context): string[] {
  const { call } = context;
  const code = choice(PROCESS.arch_prctl, call.low(0));
  if (call.low(0) === ARCH_GET_CPUID) return [code];
  const payload = ARCH_OUT.has(call.low(0)) ? exitPayload(call, 1) : undefined;
  if (payload !== undefined && payload.size >= 8) return [code, `[${hex64(payload.memory, payload.at)}]`];
  return [code, ARCH_OUT.has(call.low(0)) ? address(context, 1) : hex64(call.memory, call.at + 8)];
}

const KCMP_FILE = 0;
const KCMP_EPOLL_TFD = 7;

export function kcmpArguments(context: Context): string[] {
  const { call } = context;
  const head = [String(call.int(0)), String(call.int(1)), choice(DEBUG.kcmp, call.low(2))];
  if (call.low(2) === KCMP_FILE) return [...head, String(call.int(3)), String(call.int(4))];
  if (call.low(2) === KCMP_EPOLL_TFD) return [...head, String(call.int(3)), address(context, 4)];
  if (call.low(2) < KCMP_EPOLL_TFD) return head;
  return [...head, hex64(call.memory, call.at + 24), hex64(call.memory, call.at + 32)];
}

const SECCOMP_FILTER = 1;
const SECCOMP_ACTION = 2;

export function seccompArguments(context: Context): string[] {
  const { call } = context;
  const operation = call.low(0);
  const head = choice(DEBUG.seccomp, operation);
  const bits = operation === SECCOMP_FILTER ? flags(DEBUG.seccomp_filter, call.low(1)) : undefined;
  const payload = enterPayload(call, 2);
  if (operation === SECCOMP_FILTER) {
    const filter = payload === undefined || payload.size < 16 ? undefined : PROCESS_STRUCTS["seccomp_args"];
    return [head, bits!, filter === undefined ? address(context, 2) : filter(payload!.memory, payload!.at, context)];
  }
  if (operation === SECCOMP_ACTION && payload !== undefined && payload.size >= 4) {
    return [head, hex(call.low(1)), `[${choice(DEBUG.seccomp_action, payload.memory.readUInt32LE(payload.at))}]`];
  }
  return [head, hex(call.low(1)), address(context, 2)];
}

const MEMBARRIER_FLAG_CPU = 1;

export function membarrierArguments({ call }: Context): string[] {
  const head = [choice(PROCESS.membarrier, call.low(0)), flags(PROCESS.membarrier_flags, call.low(1))];
  return call.low(1) & MEMBARRIER_FLAG_CPU ? [...head, String(call.int(2))] : head;
}

const TRACEME = 0;
const WITH_SIGNAL = new Set([7, 9, 0x11, 0x18]);
const PID_ONLY = new Set([8, 0x10, 0x4207]);
const WITH_OPTIONS = new Set([0x4200, 0x4206]);

export function ptraceArguments(context: Context): string[] {
  const { call } = context;
  const request = call.low(0);
  const name = choice(DEBUG.ptrace, request);
  if (request === TRACEME) return [name];
  const head = [name, String(call.int(1))];
  if (PID_ONLY.has(request)) return head;
  if (WITH_SIGNAL.has(request)) return [...head, address(context, 2), signal(call.int(3))];
  if (WITH_OPTIONS.has(request)) return [...head, address(context, 2), flags(DEBUG.ptrace_options, call.low(3))];
  return [...head, address(context, 2), address(context, 3)];
}

const SYSLOG_CONSOLE_LEVEL = 8;
const LEVELS = "EMERG ALERT CRIT ERR WARNING NOTICE INFO DEBUG".split(" ").map((name) => `LOGLEVEL_${name}`);
/** Actions of syslog(2) without buffer and length. */
const SYSLOG_ALONE = new Set([0, 1, 5, 6, 7, 9, 10]);

export function syslogArguments(context: Context): string[] {
  const { call } = context;
  const action = `${call.int(0)} /* ${SYSTEM.syslog.byValue.get(call.low(0)) ?? SYSTEM.syslog.unknown} */`;
  if (SYSLOG_ALONE.has(call.low(0))) return [action];
  const level = call.low(0) === SYSLOG_CONSOLE_LEVEL ? ` /* ${LEVELS[call.low(2)] ?? "LOGLEVEL_???"} */` : "";
  return [action, address(context, 1), `${call.int(2)}${level}`];
}

const RESTART2 = 0xa1b2c3d4;

export function rebootArguments(context: Context): string[] {
  const { call } = context;
  const head = [
    choice(SYSTEM.reboot_magic1, call.low(0)),
    choice(SYSTEM.reboot_magic2, call.low(1)),
    choice(SYSTEM.reboot_cmd, call.low(2)),
  ];
  if (call.low(2) !== RESTART2) return head;
  const command = enterPayload(call, 3);
  if (command === undefined) return [...head, address(context, 3)];
  return [...head, quoted(command.memory, command.at, command.size, context.limits.string)];
}

/** Bind, move, remount of propagation: the kernel ignores type and data, which may then point anywhere. */
const MS_REMOUNT = 0x20;
const MS_MAGIC = 0xc0ed;
const MS_NO_TYPE = 0x1000 | 0x2000 | 0x20000 | 0x40000 | 0x80000 | 0x100000;

export function mountArguments(context: Context): string[] {
  const { call, limits } = context;
  const text = (index: number, limit: number): string => {
    const payload = enterPayload(call, index);
    if (payload === undefined) return address(context, index);
    return quoted(payload.memory, payload.at, payload.size, limit);
  };
  const value = call.low(3);
  const bits = value >>> 16 === MS_MAGIC ? value & 0xffff : value;
  const noType = (bits & MS_NO_TYPE) !== 0 && (bits & MS_REMOUNT) === 0;
  const noTypeAtAll = (bits & (MS_NO_TYPE | MS_REMOUNT)) !== 0;
  return [
    text(0, 4096),
    text(1, 4096),
    noTypeAtAll ? address(context, 2) : text(2, limits.string),
    mountFlags(value),
    noType ? address(context, 4) : text(4, limits.string),
  ];
}
