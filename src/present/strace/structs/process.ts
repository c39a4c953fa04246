/** Processes, their limits and credentials, and the machine (include/uapi/linux/sched.h, resource.h, utsname.h, …). */
import { DEBUG } from "../../../syscalls/flags/debug.ts";
import { FILE } from "../../../syscalls/flags/file.ts";
import { IO } from "../../../syscalls/flags/io.ts";
import { IPC } from "../../../syscalls/flags/ipc.ts";
import { PRCTL } from "../../../syscalls/flags/prctl.ts";
import { PROCESS } from "../../../syscalls/flags/process.ts";
import { SYSTEM } from "../../../syscalls/flags/system.ts";
import { NUMBERS } from "../../../syscalls/numbers.ts";
import { type Context, enterPayload } from "../context.ts";
import type { StructPrinters } from "../struct.ts";
import { quotedString } from "../text.ts";
import { choice, flags, hex, hex64, id, pointer, signal, signed64, unsigned64 } from "../values.ts";

const NAME_SIZE = 65;
const LIMIT_INFINITY = 0xffffffffffffffffn;
const FUTEX_32 = 2;

/** rlim_t: a multiple of 1024 is written as such, as people think of stack and memory sizes. */
function limit(memory: Buffer, at: number): string {
  const value = memory.readBigUInt64LE(at);
  if (value === LIMIT_INFINITY) return "RLIM64_INFINITY";
  return value > 1024n && value % 1024n === 0n ? `${value / 1024n}*1024` : String(value);
}

function rusage(memory: Buffer, at: number): string {
  const time = (from: number): string => `{tv_sec=${signed64(memory, from)}, tv_usec=${signed64(memory, from + 8)}}`;
  return `{ru_utime=${time(at)}, ru_stime=${time(at + 16)}, ...}`;
}

/** Status of a child as wait(2) gives it, in terms of the macros that take it apart. */
function waitStatus(memory: Buffer, at: number): string {
  const status = memory.readUInt32LE(at);
  if (status === 0xffff) return "{WIFCONTINUED(s)}";
  const event = status >>> 16;
  if ((status & 0xff) === 0x7f) {
    const text = `{WIFSTOPPED(s) && WSTOPSIG(s) == ${signal((status >>> 8) & 0xff)}}`;
    return event === 0 ? text : `${text}|${choice(DEBUG.ptrace_event, event)}<<16`;
  }
  if (event !== 0) return hex(status);
  const number = status & 0x7f;
  if (number === 0) return `{WIFEXITED(s) && WEXITSTATUS(s) == ${(status >>> 8) & 0xff}}`;
  return `{WIFSIGNALED(s) && WTERMSIG(s) == ${signal(number)}${status & 0x80 ? " && WCOREDUMP(s)" : ""}}`;
}

/** struct clone_args: what the flags do not ask for is left out. */
function cloneArgs(memory: Buffer, at: number, { call }: Context): string {
  const size = call.low(1);
  const raw = Number(memory.readBigUInt64LE(at));
  const has = (bit: number): boolean => (raw & bit) !== 0;
  const parts = [`flags=${cloneFlags(raw)}`];
  if (has(CLONE_PIDFD)) parts.push(`pidfd=${pointer(memory, at + 8)}`);
  if (has(CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID)) parts.push(`child_tid=${pointer(memory, at + 16)}`);
  if (has(CLONE_PARENT_SETTID)) parts.push(`parent_tid=${pointer(memory, at + 24)}`);
  const exitSignal = Number(memory.readBigUInt64LE(at + 32));
  parts.push(`exit_signal=${signal(exitSignal)}`);
  parts.push(`stack=${pointer(memory, at + 40)}`, `stack_size=${hex64(memory, at + 48)}`);
  if (has(CLONE_SETTLS)) parts.push(`tls=${hex64(memory, at + 56)}`);
  if (size >= CLONE_ARGS_SET_TID && (pointer(memory, at + 64) !== "NULL" || unsigned64(memory, at + 72) !== "0")) {
    parts.push(`set_tid=${pointer(memory, at + 64)}`, `set_tid_size=${unsigned64(memory, at + 72)}`);
  }
  if (size >= CLONE_ARGS_CGROUP && raw >= CLONE_INTO_CGROUP) parts.push(`cgroup=${unsigned64(memory, at + 80)}`);
  return `{${parts.join(", ")}}`;
}

export const CLONE_PIDFD = 0x1000;
export const CLONE_SETTLS = 0x80000;
export const CLONE_PARENT_SETTID = 0x100000;
export const CLONE_CHILD_CLEARTID = 0x200000;
export const CLONE_CHILD_SETTID = 0x1000000;
/** Sizes of the structure from which on it has these fields. */
const CLONE_ARGS_SET_TID = 80;
const CLONE_ARGS_CGROUP = 88;
const CLONE_INTO_CGROUP = 0x200000000;

function cloneFlags(value: number): string {
  if (value < 0x100000000) return flags(PROCESS.clone, value);
  const high = value - (value >>> 0);
  const low = value >>> 0;
  return low === 0 ? flags(PROCESS.clone3, high) : `${flags(PROCESS.clone, low)}|${flags(PROCESS.clone3, high)}`;
}

function utsname(memory: Buffer, at: number, { limits }: Context): string {
  const name = (i: number): string => quotedString(memory, at + NAME_SIZE * i, NAME_SIZE, limits.string);
  return `{sysname=${name(0)}, nodename=${name(1)}, ...}`;
}

function sysinfo(memory: Buffer, at: number): string {
  const long = (name: string, offset: number): string => `${name}=${unsigned64(memory, at + offset)}`;
  const loads = [8, 16, 24].map((offset) => unsigned64(memory, at + offset)).join(", ");
  const sizes = ["totalram", "freeram", "sharedram", "bufferram", "totalswap", "freeswap"];
  return (
    `{${long("uptime", 0)}, loads=[${loads}], ${sizes.map((name, i) => long(name, 32 + 8 * i)).join(", ")}, ` +
    `procs=${memory.readUInt16LE(at + 80)}, ${long("totalhigh", 88)}, ${long("freehigh", 96)}, ` +
    `mem_unit=${memory.readUInt32LE(at + 104)}}`
  );
}

/** Versions 2 and 3 of the interface have 64 capabilities, version 1 has 32. */
const WIDE_VERSIONS = new Set([0x20071026, 0x20080522]);

/** Capability sets in two halves of 32, as bits of CAP_* numbers. */
function capabilities(memory: Buffer, at: number, { call }: Context): string {
  const header = enterPayload(call, 0, 4);
  const wide = header !== undefined && WIDE_VERSIONS.has(header.memory.readUInt32LE(header.at));
  const set = (name: string, offset: number): string => {
    const words = [memory.readUInt32LE(at + offset), wide ? memory.readUInt32LE(at + offset + 12) : 0];
    const members: string[] = [];
    for (let bit = 0; bit < 64; bit++) {
      if ((words[bit >> 5]! >>> (bit & 31)) & 1) members.push(`1<<${PRCTL.cap.byValue.get(bit) ?? bit}`);
    }
    return `${name}=${members.length === 0 ? "0" : members.join("|")}`;
  };
  return `{${set("effective", 0)}, ${set("permitted", 4)}, ${set("inheritable", 8)}}`;
}

function mqAttributes(memory: Buffer, at: number, { call }: Context): string {
  const bits = Number(memory.readBigUInt64LE(at) & 0xffffffffn);
  const named = call.nr === NUMBERS.mq_getsetattr ? flags(FILE.open, bits) : hex(bits);
  const [most, size, count] = [8, 16, 24].map((offset) => signed64(memory, at + offset));
  return `{mq_flags=${named}, mq_maxmsg=${most}, mq_msgsize=${size}, mq_curmsgs=${count}}`;
}

function ringParameters(memory: Buffer, at: number): string {
  const word = (i: number): number => memory.readUInt32LE(at + 4 * i);
  const named = (from: number, names: readonly string[]): string =>
    names.map((name, i) => `${name}=${word(from + i)}`).join(", ");
  const attach = word(2) & 0x20 ? `, wq_fd=${word(6)}` : "";
  return (
    `{flags=${flags(IO.io_uring_setup, word(2))}, sq_thread_cpu=${word(3)}, sq_thread_idle=${word(4)}${attach}, ` +
    `sq_entries=${word(0)}, cq_entries=${word(1)}, features=${flags(IO.io_uring_features, word(5))}, ` +
    `sq_off={${named(10, ["head", "tail", "ring_mask", "ring_entries", "flags", "dropped", "array"])}}, ` +
    `cq_off={${named(20, ["head", "tail", "ring_mask", "ring_entries", "overflow", "cqes", "flags"])}}}`
  );
}

export const PROCESS_STRUCTS: StructPrinters = {
  int: (memory, at) => String(memory.readInt32LE(at)),
  fd: (memory, at) => String(memory.readInt32LE(at)),
  uint: (memory, at) => String(memory.readUInt32LE(at)),
  id: (memory, at) => id(memory.readUInt32LE(at)),
  long: (memory, at) => signed64(memory, at),
  ulong: (memory, at) => unsigned64(memory, at),
  rlimit: (memory, at) => `{rlim_cur=${limit(memory, at)}, rlim_max=${limit(memory, at + 8)}}`,
  rusage,
  wait_rusage: rusage,
  wstatus: (memory, at) => `[${waitStatus(memory, at)}]`,
  clone_args: cloneArgs,
  utsname,
  sysinfo,
  cap_header: (memory, at) =>
    `{version=${choice(PRCTL.cap_version, memory.readUInt32LE(at))}, pid=${memory.readInt32LE(at + 4)}}`,
  cap_data: capabilities,
  sembuf: (memory, at) =>
    `{sem_num=${memory.readUInt16LE(at)}, sem_op=${memory.readInt16LE(at + 2)}, ` +
    `sem_flg=${flags(IPC.semop, memory.readUInt16LE(at + 4))}}`,
  mq_attr: mqAttributes,
  seccomp_args: (memory, at) => `{len=${memory.readUInt16LE(at)}, filter=${pointer(memory, at + 8)}}`,
  io_uring_params: ringParameters,
  landlock_ruleset: (memory, at) =>
    `{handled_access_fs=${flags(SYSTEM.landlock_access, Number(memory.readBigUInt64LE(at)))}}`,
  futex_waitv: (memory, at) => {
    const bits = memory.readUInt32LE(at + 16);
    const rest = bits & ~FUTEX_32;
    const named = [bits & FUTEX_32 ? "FUTEX_32" : "", rest === 0 ? "" : hex(rest)].filter((part) => part !== "");
    return `{val=${hex64(memory, at)}, uaddr=${pointer(memory, at + 8)}, flags=${named.join("|") || "0"}}`;
  },
  arch_prctl: (memory, at) => `[${hex64(memory, at)}]`,
};
