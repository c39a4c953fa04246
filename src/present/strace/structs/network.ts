/** Socket addresses, messages and their control data (include/uapi/linux/socket.h, in.h, in6.h, un.h, netlink.h). */
import type { Payload } from "../../../events.ts";
import { IP } from "../../../syscalls/flags/ip.ts";
import { NETWORK } from "../../../syscalls/flags/network.ts";
import { SOCKOPT } from "../../../syscalls/flags/sockopt.ts";
import type { Context } from "../context.ts";
import { quoted } from "../text.ts";
import { choice, flags, hex, pointer, unsigned64 } from "../values.ts";

const FAMILY_SIZE = 2;
const AF_UNIX = 1;
const AF_INET = 2;
const AF_INET6 = 10;
const AF_NETLINK = 16;
const INET_SIZE = 16;
const INET6_SIZE = 24;
const NETLINK_SIZE = 12;

/** A socket address of `size` bytes; undefined when it is too short for its family. */
export function socketAddress(memory: Buffer, at: number, size: number): string | undefined {
  if (size < FAMILY_SIZE) return undefined;
  const family = memory.readUInt16LE(at);
  const body = addressBody(family, memory, at, size);
  return `{sa_family=${choice(NETWORK.af, family)}${body === "" ? "" : `, ${body}`}}`;
}

function addressBody(family: number, memory: Buffer, at: number, size: number): string {
  if (size === FAMILY_SIZE) return "";
  if (family === AF_UNIX) return unixPath(memory, at + 2, size - 2);
  if (family === AF_INET && size >= INET_SIZE) {
    return `sin_port=htons(${memory.readUInt16BE(at + 2)}), sin_addr=${ipv4(memory, at + 4)}`;
  }
  if (family === AF_INET6 && size >= INET6_SIZE) {
    const scope = size >= INET6_SIZE + 4 ? `, sin6_scope_id=${memory.readUInt32LE(at + 24)}` : "";
    return (
      `sin6_port=htons(${memory.readUInt16BE(at + 2)}), sin6_flowinfo=htonl(${memory.readUInt32BE(at + 4)}), ` +
      `inet_pton(AF_INET6, "${ipv6(memory, at + 8)}", &sin6_addr)${scope}`
    );
  }
  if (family === AF_NETLINK && size >= NETLINK_SIZE) {
    const groups = memory
      .readUInt32LE(at + 8)
      .toString(16)
      .padStart(6, "0");
    return `nl_pid=${memory.readInt32LE(at + 4)}, nl_groups=${groups === "000000" ? groups.padStart(8, "0") : `0x${groups}`}`;
  }
  return `sa_data=${quoted(memory, at + 2, size - 2, size)}`;
}

/** A path ends at its NUL; a name that begins with NUL is abstract: all its bytes count. */
function unixPath(memory: Buffer, at: number, size: number): string {
  if (memory[at] === 0) return `sun_path=@${quoted(memory, at + 1, size - 1, size)}`;
  const nul = memory.indexOf(0, at);
  return `sun_path=${quoted(memory, at, nul >= 0 && nul < at + size ? nul - at : size, size)}`;
}

export function ipv4(memory: Buffer, at: number): string {
  return `inet_addr("${dotted(memory, at)}")`;
}

function dotted(memory: Buffer, at: number): string {
  return memory.subarray(at, at + 4).join(".");
}

/** RFC 5952 text: the longest run of zero groups (the first of equals, at least two) becomes "::". */
export function ipv6(memory: Buffer, at: number): string {
  const groups = Array.from({ length: 8 }, (_, i) => memory.readUInt16BE(at + 2 * i));
  let [from, length] = [-1, 1];
  for (let i = 0; i < 8; i++) {
    let n = 0;
    while (i + n < 8 && groups[i + n] === 0) n++;
    if (n > length) [from, length] = [i, n];
  }
  const embeds = from === 0 && (length === 6 || (length === 5 && groups[5] === 0xffff));
  const text = groups.map((group) => group.toString(16));
  if (embeds) text.splice(6, 2, dotted(memory, at + 12));
  if (from < 0) return text.join(":");
  return `${text.slice(0, from).join(":")}::${text.slice(from + length).join(":")}`;
}

const IOVEC_SIZE = 16;
const MOST_VECTORS = 16;

/**
 * A payload of CAPTURE_IOVEC: `count` vectors of which the first 16 are at memory[at], followed by their data. Of the
 * data, no more than `bytes` in all counts (what a call returned); without it, all.
 */
export function vectors(
  memory: Buffer,
  at: number,
  size: number,
  count: number,
  { limits }: Context,
  bytes = Number.POSITIVE_INFINITY,
): string {
  const here = Math.min(count, MOST_VECTORS, Math.floor(size / IOVEC_SIZE));
  let data = at + here * IOVEC_SIZE;
  let left = bytes;
  const texts: string[] = [];
  for (let i = 0; i < Math.min(here, limits.string); i++) {
    const vector = at + i * IOVEC_SIZE;
    const length = Number(memory.readBigUInt64LE(vector + 8));
    const copied = Math.min(length, limits.data);
    const there = data + copied <= at + size;
    const full = Math.min(length, left);
    const base = there ? quoted(memory, data, Math.min(copied, full), limits.string, full) : pointer(memory, vector);
    texts.push(`{iov_base=${base}, iov_len=${unsigned64(memory, vector + 8)}}`);
    data += copied;
    left -= full;
  }
  if (count > texts.length) texts.push("...");
  return `[${texts.join(", ")}]`;
}

const MSGHDR_SIZE = 56;
const MOST_NAME = 128;
const MOST_CONTROL = 256;

/** A payload of CAPTURE_MSGHDR. `bytes`: as for vectors. */
export function message({ memory, at, size, full }: Payload, context: Context, bytes?: number): string {
  const nameLength = memory.readInt32LE(at + 8);
  const controlLength = Number(memory.readBigUInt64LE(at + 40));
  const hasName = memory.readBigUInt64LE(at) !== 0n;
  const hasControl = memory.readBigUInt64LE(at + 32) !== 0n;
  const nameSize = hasName ? Math.min(nameLength >>> 0, MOST_NAME) : 0;
  const controlSize = hasControl ? Math.min(controlLength, MOST_CONTROL) : 0;
  const nameAt = at + MSGHDR_SIZE;
  const controlAt = nameAt + ((nameSize + 7) & ~7);
  const vectorsAt = controlAt + ((controlSize + 7) & ~7);
  const end = at + size;
  const name = hasName
    ? (socketAddress(memory, nameAt, Math.min(nameSize, end - nameAt)) ?? pointer(memory, at))
    : "NULL";
  const parts = [`msg_name=${name}`, `msg_namelen=${nameLength}`];
  const count = memory.readBigUInt64LE(at + 24);
  const noVectors = memory.readBigUInt64LE(at + 16) === 0n || (full === 0 && count !== 0n);
  const vectorText = noVectors
    ? pointer(memory, at + 16)
    : vectors(memory, vectorsAt, Math.max(end - vectorsAt, 0), full, context, bytes);
  parts.push(`msg_iov=${vectorText}`, `msg_iovlen=${count}`);
  if (controlLength !== 0) {
    const control =
      controlMessages(memory, controlAt, Math.min(controlSize, end - controlAt)) ?? pointer(memory, at + 32);
    parts.push(`msg_control=${control}`);
  }
  parts.push(`msg_controllen=${controlLength}`, `msg_flags=${flags(NETWORK.msg, memory.readUInt32LE(at + 48))}`);
  return `{${parts.join(", ")}}`;
}

const CMSG_SIZE = 16;
const SOL_SOCKET = 1;
const SOL_IP = 0;
const SCM_RIGHTS = 1;
const SCM_CREDENTIALS = 2;
const SO_TIMESTAMP = 0x1d;
const IP_TTL = 2;

function controlMessages(memory: Buffer, at: number, size: number): string | undefined {
  if (size < CMSG_SIZE) return undefined;
  const texts: string[] = [];
  let p = at;
  while (p + CMSG_SIZE <= at + size) {
    const length = Number(memory.readBigUInt64LE(p));
    if (length < CMSG_SIZE) break;
    const shown = Math.min(length, at + size - p);
    texts.push(controlMessage(memory, p, length, shown - CMSG_SIZE));
    p += Math.ceil(length / 8) * 8;
  }
  return `[${texts.join(", ")}]`;
}

function controlMessage(memory: Buffer, at: number, length: number, size: number): string {
  const [level, type] = [memory.readUInt32LE(at + 8), memory.readUInt32LE(at + 12)];
  const typeName =
    level === SOL_SOCKET ? choice(SOCKOPT.scm, type) : level === SOL_IP ? choice(IP.ip, type) : hex(type);
  const data = controlData(level, type, memory, at + CMSG_SIZE, size);
  const head = `cmsg_len=${length}, cmsg_level=${choice(SOCKOPT.sol, level)}, cmsg_type=${typeName}`;
  return `{${head}${data === "" ? "" : `, cmsg_data=${data}`}}`;
}

function controlData(level: number, type: number, memory: Buffer, at: number, size: number): string {
  if (level === SOL_SOCKET && type === SCM_RIGHTS) {
    return `[${Array.from({ length: size >> 2 }, (_, i) => memory.readInt32LE(at + 4 * i)).join(", ")}]`;
  }
  if (level === SOL_SOCKET && type === SCM_CREDENTIALS && size >= 12) return credentials(memory, at);
  if (level === SOL_SOCKET && type === SO_TIMESTAMP && size >= 16) {
    return `{tv_sec=${memory.readBigInt64LE(at)}, tv_usec=${memory.readBigInt64LE(at + 8)}}`;
  }
  if (level === SOL_IP && type === IP_TTL && size >= 4) return `[${memory.readUInt32LE(at)}]`;
  return "";
}

/** struct ucred. */
export function credentials(memory: Buffer, at: number): string {
  return `{pid=${memory.readInt32LE(at)}, uid=${memory.readUInt32LE(at + 4)}, gid=${memory.readUInt32LE(at + 8)}}`;
}
