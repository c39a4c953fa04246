/** Files, their metadata, readiness of descriptors (include/uapi/linux/stat.h, statfs.h, poll.h, eventpoll.h, …). */
import { FILE } from "../../../syscalls/flags/file.ts";
import { FILESYSTEMS } from "../../../syscalls/flags/filesystems.ts";
import { IO } from "../../../syscalls/flags/io.ts";
import type { StructPrinters } from "../struct.ts";
import { flags, hex, hex64, makedev, octalMode, pointer, signed64, takeFlags, unsigned64 } from "../values.ts";

const S_IFMT = 0o170000;
const S_IFCHR = 0o020000;
const S_IFBLK = 0o060000;
const O_ACCMODE = 3;
/** statfs: the kernel has filled f_flags; statx: it has filled the size. */
const ST_VALID = 0x20;
const STATX_SIZE = 0x200;
const ACCESS_MODES = ["O_RDONLY", "O_WRONLY", "O_RDWR", "O_ACCMODE"];
const SPECIAL_BITS: readonly (readonly [name: string, bit: number])[] = [
  ["S_ISUID", 0o4000],
  ["S_ISGID", 0o2000],
  ["S_ISVTX", 0o1000],
];

/** Flags of open(2): the access mode, then the bits. */
export function openFlags(value: number): string {
  const { text, rest } = takeFlags(FILE.open, (value & ~O_ACCMODE) >>> 0);
  const parts = [ACCESS_MODES[value & O_ACCMODE]!, text, rest === 0 ? "" : hex(rest)];
  return parts.filter((part) => part !== "").join("|");
}

/** Mode of a file with its type: `S_IFREG|0644`; octal only when the type is none that exists. */
export function fileMode(mode: number): string {
  const type = FILE.file_type.byValue.get(mode & S_IFMT);
  if (type === undefined && (mode & S_IFMT) !== 0) return `0${mode.toString(8).padStart(2, "0")}`;
  let text = type ?? "";
  for (const [name, bit] of SPECIAL_BITS) if (mode & bit) text += text === "" ? name : `|${name}`;
  return text === "" ? octalMode(mode & 0o777) : `${text}|${octalMode(mode & 0o777)}`;
}

/** Whether a mode is one of a character or block device. */
export function isDevice(mode: number): boolean {
  return (mode & S_IFMT) === S_IFCHR || (mode & S_IFMT) === S_IFBLK;
}

function stat(memory: Buffer, at: number): string {
  const mode = memory.readUInt32LE(at + 24);
  const which = isDevice(mode)
    ? `st_rdev=${wideDevice(memory.readUInt32LE(at + 40), memory.readUInt32LE(at + 44))}`
    : `st_size=${signed64(memory, at + 48)}`;
  return `{st_mode=${fileMode(mode)}, ${which}, ...}`;
}

/** dev_t of 64 bits as glibc splits it (gnu_dev_major, gnu_dev_minor). */
function wideDevice(low: number, high: number): string {
  const major = (((low >>> 8) & 0xfff) | (high & 0xfffff000)) >>> 0;
  const minor = ((low & 0xff) | ((low >>> 12) & 0xfff00) | (high << 20)) >>> 0;
  return makedev(major, minor);
}

function statx(memory: Buffer, at: number): string {
  const mode = memory.readUInt16LE(at + 28);
  const attributes = Number(memory.readBigUInt64LE(at + 8));
  return (
    `{stx_mask=${flags(FILE.statx_mask, memory.readUInt32LE(at))}, ` +
    `stx_attributes=${flags(FILE.statx_attributes, attributes)}, stx_mode=${fileMode(mode)}, ` +
    `${memory.readUInt32LE(at) & STATX_SIZE ? `stx_size=${unsigned64(memory, at + 40)}, ` : ""}...}`
  );
}

function statfs(memory: Buffer, at: number): string {
  const type = memory.readUInt32LE(at);
  const fields = ["f_bsize", "f_blocks", "f_bfree", "f_bavail", "f_files", "f_ffree"];
  const counts = fields.map((name, i) => `${name}=${unsigned64(memory, at + 8 + 8 * i)}`).join(", ");
  const mountFlags = memory.readUInt32LE(at + 80);
  return (
    `{f_type=${FILESYSTEMS.filesystem.byValue.get(type) ?? hex(type)}, ${counts}, ` +
    `f_fsid={val=[${hex(memory.readUInt32LE(at + 56))}, ${hex(memory.readUInt32LE(at + 60))}]}, ` +
    `f_namelen=${unsigned64(memory, at + 64)}, f_frsize=${unsigned64(memory, at + 72)}` +
    `${(mountFlags & ST_VALID) === 0 ? "" : `, f_flags=${flags(FILE.statfs, mountFlags)}`}}`
  );
}

function openHow(memory: Buffer, at: number): string {
  const value = Number(memory.readBigUInt64LE(at));
  const creates = (value & 0x400040) !== 0 || memory.readBigUInt64LE(at + 8) !== 0n;
  const mode = creates ? `, mode=${octalMode(Number(memory.readBigUInt64LE(at + 8) & 0xffffn))}` : "";
  const resolve = flags(FILE.resolve, Number(memory.readBigUInt64LE(at + 16)));
  return `{flags=${openFlags(value)}${mode}, resolve=${resolve}}`;
}

export function pollfd(memory: Buffer, at: number, field: "events" | "revents"): string {
  const events = memory.readUInt16LE(at + (field === "events" ? 4 : 6));
  return `{fd=${memory.readInt32LE(at)}, ${field}=${flags(IO.poll, events)}}`;
}

/** struct flock. `owner`: with the process that holds the lock (F_GETLK). */
export function lock(memory: Buffer, at: number, owner: boolean): string {
  const type = memory.readInt16LE(at);
  const whence = memory.readInt16LE(at + 2);
  return (
    `{l_type=${IO.lock_type.byValue.get(type) ?? `${hex(type & 0xffff)} /* F_??? */`}, ` +
    `l_whence=${IO.whence.byValue.get(whence) ?? `${hex(whence & 0xffff)} /* SEEK_??? */`}, ` +
    `l_start=${signed64(memory, at + 8)}, l_len=${signed64(memory, at + 16)}` +
    `${owner ? `, l_pid=${memory.readInt32LE(at + 24)}` : ""}}`
  );
}

function epollEvent(memory: Buffer, at: number): string {
  const events = flags(IO.epoll_event, memory.readUInt32LE(at));
  return `{events=${events}, data={u32=${memory.readUInt32LE(at + 4)}, u64=${unsigned64(memory, at + 4)}}}`;
}

export const FILE_STRUCTS: StructPrinters = {
  stat,
  statx,
  statfs,
  open_how: openHow,
  pollfd: (memory, at) => pollfd(memory, at, "events"),
  epoll_event: epollEvent,
  epoll_change: epollEvent,
  iov: (memory, at) => `{iov_base=${pointer(memory, at)}, iov_len=${unsigned64(memory, at + 8)}}`,
  off: (memory, at) => signed64(memory, at),
  off_in: (memory, at) => signed64(memory, at),
  ulonghex: (memory, at) => hex64(memory, at),
};
