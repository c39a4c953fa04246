/** Arguments that are values and not pointers to data. */

import { DEBUG } from "../../syscalls/flags/debug.ts";
import { FILE } from "../../syscalls/flags/file.ts";
import { namesOf } from "../../syscalls/flags/index.ts";
import { IO } from "../../syscalls/flags/io.ts";
import { IP } from "../../syscalls/flags/ip.ts";
import { MEMORY } from "../../syscalls/flags/memory.ts";
import type { Names } from "../../syscalls/flags/names.ts";
import { NETWORK } from "../../syscalls/flags/network.ts";
import { PROCESS } from "../../syscalls/flags/process.ts";
import { SOCKOPT } from "../../syscalls/flags/sockopt.ts";
import { SYSTEM } from "../../syscalls/flags/system.ts";
import { NUMBERS } from "../../syscalls/numbers.ts";
import type { ShapePrinter } from "./context.ts";
import { fileMode, isDevice, openFlags } from "./structs/file.ts";
import {
  choice,
  device,
  flags,
  hex,
  hex64,
  id,
  octalMode,
  pointer,
  signal,
  signed64,
  takeFlags,
  unnamed,
  unsigned64,
} from "./values.ts";

const AT_FDCWD = -100;
const FAN_NOFD = -1;
const O_CREAT = 0x40;
const TMPFILE = 0x400000;
/** MREMAP_MAYMOVE and MREMAP_FIXED. */
const MREMAP_NEW_ADDRESS = 1 | 2;
const MAP_TYPE = 0xf;
const HUGE_SHIFT = 26;
const SOCK_TYPE = 0xf;
const FAN_CLASSES = 0xc;
const SWAP_PRIORITY = 0x7fff;
const MPOL_FLAGS = 0xe000;
const IPC_MODE = 0o777;
const IPC_64 = 0x100;
const IOPRIO_CLASS_SHIFT = 13;
const MS_MAGIC = 0xc0ed0000;
const AT_STATX_SYNC_TYPE = 0x6000;
const AF_INET = 2;
const SOL_SOCKET = 1;
/** One number, two names: what is set is a filter, what is got is the same. */
const SO_FILTER = 26;
const AF_INET6 = 10;
const AF_NETLINK = 16;

const at = (printer: (memory: Buffer, at: number) => string): ShapePrinter => {
  return ({ call }, _argument, i) => printer(call.memory, call.at + 8 * i);
};
const low = (printer: (value: number) => string): ShapePrinter => {
  return ({ call }, _argument, i) => printer(call.low(i));
};
const int = (printer: (value: number) => string): ShapePrinter => {
  return ({ call }, _argument, i) => printer(call.int(i));
};

/** Bits by name of which the `shift` highest are a logarithm of a page size. */
function withHugePages(names: Names, value: number, name: string): string {
  const size = value >>> HUGE_SHIFT;
  const { text, rest } = takeFlags(names, (value & ((1 << HUGE_SHIFT) - 1)) >>> 0);
  const parts = [text, rest === 0 ? "" : hex(rest), size === 0 ? "" : `${size}<<${name}`];
  return parts.filter((part) => part !== "").join("|");
}

function memfdFlags(value: number): string {
  if (value >>> HUGE_SHIFT === 0) return flags(IO.memfd, value);
  return withHugePages(IO.memfd, value, "MFD_HUGE_SHIFT");
}

/** Flags of mmap(2): the kind of mapping is a value, the rest are bits, the highest six the size of huge pages. */
export function mmapFlags(value: number): string {
  const type = value & MAP_TYPE;
  const kind = MEMORY.mmap.byValue.get(type) ?? unnamed(hex(type), MEMORY.mmap);
  const bits = withHugePages(MEMORY.mmap, (value & ~MAP_TYPE) >>> 0, "MAP_HUGE_SHIFT");
  return bits === "" ? kind : `${kind}|${bits}`;
}

export function socketType(value: number): string {
  const bits = (value & ~SOCK_TYPE) >>> 0;
  const known = NETWORK.sock.byValue.get(value & SOCK_TYPE);
  if (value === 0) return "0";
  if (known === undefined) return unnamed(hex(value), NETWORK.sock);
  if (bits === 0) return known;
  const { text, rest } = takeFlags(NETWORK.sock_type, bits);
  return [known, text, rest === 0 ? "" : hex(rest)].filter((part) => part !== "").join("|");
}

/** Flags of mount(2), with the magic number that old programs put into the upper half. */
export function mountFlags(value: number): string {
  const magic = (value & 0xffff0000) >>> 0 === MS_MAGIC ? "MS_MGC_VAL" : "";
  const bits = magic === "" ? value : (value & 0xffff) >>> 0;
  if (magic === "") return flags(SYSTEM.mount, bits);
  return bits === 0 ? magic : `${magic}|${flags(SYSTEM.mount, bits)}`;
}

const SYNC_TYPES = ["AT_STATX_SYNC_AS_STAT", "AT_STATX_FORCE_SYNC", "AT_STATX_DONT_SYNC"];

function statxFlags(value: number): string {
  const sync = (value & AT_STATX_SYNC_TYPE) >>> 13;
  const name = sync === 3 ? "AT_STATX_FORCE_SYNC|AT_STATX_DONT_SYNC" : SYNC_TYPES[sync]!;
  const bits = (value & ~AT_STATX_SYNC_TYPE) >>> 0;
  const { text, rest } = takeFlags(FILE.at, bits);
  return [name, text, rest === 0 ? "" : hex(rest)].filter((part) => part !== "").join("|");
}

function swapFlags(value: number): string {
  const priority = String(value & SWAP_PRIORITY);
  const bits = (value & ~SWAP_PRIORITY) >>> 0;
  if (bits === 0) return priority;
  const text = flags(FILE.swap, bits);
  return `${text}|${priority}`;
}

export function ioPriority(value: number): string {
  return `IOPRIO_PRIO_VALUE(${choice(PROCESS.ioprio_class, value >>> IOPRIO_CLASS_SHIFT)}, ${value & 0x1fff})`;
}

export function personality(value: number): string {
  if (value === 0xffffffff) return "0xffffffff";
  const { text, rest } = takeFlags(DEBUG.personality_flags, (value & ~0xff) >>> 0);
  const exact = DEBUG.personality.byValue.get(value & 0xff);
  const parts = [exact ?? unnamed(hex(value & 0xff), DEBUG.personality), text, rest === 0 ? "" : hex(rest)];
  return parts.filter((part) => part !== "").join("|");
}

const OPTIONS: Readonly<Record<number, Names>> = {
  0: IP.ip,
  1: SOCKOPT.so,
  6: SOCKOPT.tcp,
  17: SOCKOPT.udp,
  41: IP.ipv6,
  263: SOCKOPT.packet,
  270: SOCKOPT.netlink,
};

/** Printers by shape. `related` arguments are those in parentheses of the row. */
export const SCALARS: Readonly<Record<string, ShapePrinter>> = {
  int: int(String),
  fd: int(String),
  uint: low(String),
  long: at(signed64),
  ulong: at(unsigned64),
  hex: at(hex64),
  offhex: at(hex64),
  hex32: low(hex),
  pointer: at(pointer),
  id: low(id),
  signal: int(signal),
  mode: low(octalMode),
  filemode: low((value) => fileMode(value & 0xffff)),
  dev: low(device),
  dirfd: int((fd) => (fd === AT_FDCWD ? "AT_FDCWD" : String(fd))),
  fanfd: int((fd) => (fd === AT_FDCWD ? "AT_FDCWD" : fd === FAN_NOFD ? "FAN_NOFD" : String(fd))),
  flags: ({ call }, { table }, i) => flags(namesOf(table), call.low(i)),
  flags64: ({ call }, { table }, i) => flags(namesOf(table), call.low(i) + call.high(i) * 4294967296),
  enum: ({ call }, { table }, i) => choice(namesOf(table), call.low(i)),
  openflags: low(openFlags),
  openmode: ({ call }, { related }, i) =>
    call.low(related) & (O_CREAT | TMPFILE) ? octalMode(call.low(i)) : undefined,
  createmode: ({ call }, { related }, i) => (call.low(related) & O_CREAT ? octalMode(call.low(i)) : undefined),
  mknoddev: ({ call }, { related }, i) => (isDevice(call.low(related)) ? device(call.low(i)) : undefined),
  at_statx: low(statxFlags),
  mmap_flags: low(mmapFlags),
  memfd_flags: low(memfdFlags),
  remap_to: ({ call }, { related }, i) =>
    (call.low(related) & MREMAP_NEW_ADDRESS) === MREMAP_NEW_ADDRESS ? pointer(call.memory, call.at + 8 * i) : undefined,
  socktype: low(socketType),
  protocol: ({ call }, _argument, i) => {
    const family = call.low(0);
    if (family === AF_INET || family === AF_INET6) return choice(NETWORK.ipproto, call.low(i));
    if (family === AF_NETLINK) return choice(NETWORK.netlink_family, call.low(i));
    return String(call.low(i));
  },
  sockopt: ({ call }, { related }, i) => {
    const names = OPTIONS[call.low(related)];
    if (call.low(related) === SOL_SOCKET && call.low(i) === SO_FILTER) {
      return call.nr === NUMBERS.setsockopt ? "SO_ATTACH_FILTER" : "SO_GET_FILTER";
    }
    return names === undefined ? String(call.int(i)) : choice(names, call.low(i));
  },
  swap_flags: low(swapFlags),
  fanotify_init: low((value) => {
    const kind = choice(FILE.fanotify_class, value & FAN_CLASSES);
    const bits = (value & ~FAN_CLASSES) >>> 0;
    return bits === 0 ? kind : `${kind}|${flags(FILE.fanotify_init, bits)}`;
  }),
  mempolicy: low((value) => {
    const bits = value & MPOL_FLAGS;
    const mode = MEMORY.mempolicy.byValue.get((value & ~MPOL_FLAGS) >>> 0);
    if (mode === undefined) return flags(MEMORY.mempolicy_flags, value);
    return bits === 0 ? mode : `${mode}|${flags(MEMORY.mempolicy_flags, bits)}`;
  }),
  ipckey: low((value) => (value === 0 ? "IPC_PRIVATE" : hex(value))),
  ipcflags: ({ call }, { table }, i) => {
    const value = call.low(i);
    const bits = (value & ~IPC_MODE) >>> 0;
    const mode = octalMode(value & IPC_MODE);
    return bits === 0 ? mode : `${flags(namesOf(table), bits)}|${mode}`;
  },
  ipccmd: ({ call }, { table }, i) => {
    const value = call.low(i);
    return value & IPC_64 ? `IPC_64|${choice(namesOf(table), (value & ~IPC_64) >>> 0)}` : choice(namesOf(table), value);
  },
  key: int((value) => SYSTEM.key_spec.byValue.get(value) ?? String(value)),
  ioprio: low(ioPriority),
  personality: low(personality),
};
