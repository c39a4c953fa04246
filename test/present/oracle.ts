/**
 * Asks the real strace how it prints a system call. A case is a number, arguments, the memory that they point to, and a
 * result; it becomes an ELF program that makes exactly these calls, under a seccomp filter that refuses all of them, and
 * strace is told to inject the results: any call can be asked for, `reboot` too.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export interface Case {
  readonly name: string;
  readonly nr: number;
  readonly args: readonly bigint[];
  /** A value ≥ 0, or the name of an error. */
  readonly result: number | string;
}

const EXIT_GROUP = 231;
const PRCTL = 157;
const SECCOMP = 317;
const FILTER_SIZE = 64;

/** struct sock_fprog and its program at the start of the memory: allow exit_group, refuse all else with ENOSYS. */
function putFilter(bytes: Buffer): void {
  bytes.fill(0, 0, FILTER_SIZE);
  bytes.writeUInt16LE(4, 0);
  bytes.writeBigUInt64LE(BigInt(Memory.BASE + 16), 8);
  const program = [
    [0x20, 0, 0, 0], // load the number
    [0x15, 0, 1, EXIT_GROUP], // skip one unless it is exit_group
    [0x06, 0, 0, 0x7fff0000], // SECCOMP_RET_ALLOW
    [0x06, 0, 0, 0x00050000 | 38], // SECCOMP_RET_ERRNO, ENOSYS
  ] as const;
  program.forEach(([code, yes, no, value], i) => {
    bytes.writeUInt16LE(code, 16 + 8 * i);
    bytes.writeUInt8(yes, 18 + 8 * i);
    bytes.writeUInt8(no, 19 + 8 * i);
    bytes.writeUInt32LE(value, 20 + 8 * i);
  });
}

/** Memory that arguments point to: one run of bytes at a fixed address, 0xee between what is put into it. */
export class Memory {
  static readonly BASE = 0x10000000;
  readonly bytes = Buffer.alloc(1 << 18, 0xee);
  #next = FILTER_SIZE;

  constructor() {
    putFilter(this.bytes);
  }

  /** Puts `data` down, aligned to 16 bytes, and returns its address. */
  put(data: Uint8Array | string): bigint {
    const at = this.#next;
    const bytes = typeof data === "string" ? Buffer.from(data, "latin1") : data;
    this.bytes.set(bytes, at);
    this.#next = (at + bytes.length + 64) & ~15;
    if (this.#next > this.bytes.length) throw new RangeError("the memory of the cases is full");
    return BigInt(Memory.BASE + at);
  }
}

const CODE_BASE = 0x400000;
const HEADERS = 64 + 2 * 56;
/** mov imm64 to rax and the registers of the six arguments (rdi, rsi, rdx, r10, r8, r9). */
const MOVES = [0xb848, 0xbf48, 0xbe48, 0xba48, 0xba49, 0xb849, 0xb949];

/** True when strace is here and may trace. */
export function haveStrace(): boolean {
  const { stdout, status } = spawnSync("strace", ["-o", "/dev/null", "true"], { encoding: "utf8" });
  return status === 0 && stdout !== null;
}

/** What strace prints for each case, in order. */
export function askStrace(cases: readonly Case[], memory: Memory, options: readonly string[] = []): string[] {
  const lines: string[] = new Array(cases.length);
  for (const batch of batches(cases)) {
    const members = batch.map((i) => cases[i]!);
    const printed = runStrace(members, memory, [...options, ...injections(members)]).slice(STARTING_CALLS);
    batch.forEach((i, k) => {
      lines[i] = printed[k]!.replace(/ \(INJECTED\)$/, "");
    });
  }
  return lines;
}

/** Names of those of the cases that strace prints at all with these options; nothing is injected. */
export function askWhich(cases: readonly Case[], options: readonly string[]): string[] {
  const printed = runStrace(cases, new Memory(), options);
  return printed
    .filter((line) => line.endsWith(" ENOSYS (Function not implemented)"))
    .map((line) => line.replace(/\(.*/s, ""));
}

/** strace injects one result a name: cases of a name with different results go into different runs. */
function batches(cases: readonly Case[]): number[][] {
  const found: { results: Map<string, number | string>; members: number[] }[] = [];
  cases.forEach((one, i) => {
    const fits = found.find(({ results }) => (results.get(one.name) ?? one.result) === one.result);
    const batch = fits ?? { results: new Map<string, number | string>(), members: [] };
    if (fits === undefined) found.push(batch);
    batch.results.set(one.name, one.result);
    batch.members.push(i);
  });
  return found.map(({ members }) => members);
}

/** The execve that starts the program, and the two calls that install its filter. */
const STARTING_CALLS = 3;

function injections(cases: readonly Case[]): string[] {
  const results = new Map(cases.map(({ name, result }) => [name, result]));
  return [...results].flatMap(([name, result]) => {
    const when = name === "prctl" || name === "seccomp" ? ":when=2+" : "";
    return ["-e", `inject=${name}:${typeof result === "number" ? `retval=${result}` : `error=${result}`}${when}`];
  });
}

function runStrace(cases: readonly Case[], memory: Memory, options: readonly string[]): string[] {
  const directory = mkdtempSync(join(tmpdir(), "strace-oracle-"));
  try {
    const [program, output] = [join(directory, "program"), join(directory, "output")];
    writeFileSync(program, buildProgram(cases, memory), { mode: 0o755 });
    const { status, stderr } = spawnSync("strace", ["-o", output, ...options, program], {
      encoding: "utf8",
      timeout: 30_000,
    });
    if (status !== 0) throw new Error(`strace: ${status} ${stderr}`);
    return readFileSync(output, "latin1").split("\n");
  } finally {
    rmSync(directory, { recursive: true });
  }
}

function buildProgram(cases: readonly Case[], memory: Memory): Buffer {
  const code = Buffer.concat([
    callCode(PRCTL, [38n, 1n]), // PR_SET_NO_NEW_PRIVS
    callCode(SECCOMP, [1n, 0n, BigInt(Memory.BASE)]), // SECCOMP_SET_MODE_FILTER
    ...cases.map(({ nr, args }) => callCode(nr, args)),
    callCode(EXIT_GROUP, [0n]),
  ]);
  const start = HEADERS + code.length;
  const header = Buffer.alloc(HEADERS);
  header.write("\x7fELF\x02\x01\x01", "latin1");
  header.writeUInt16LE(2, 16); // ET_EXEC
  header.writeUInt16LE(62, 18); // EM_X86_64
  header.writeUInt32LE(1, 20);
  header.writeBigUInt64LE(BigInt(CODE_BASE + HEADERS), 24);
  header.writeBigUInt64LE(64n, 32);
  header.writeUInt16LE(64, 52);
  header.writeUInt16LE(56, 54);
  header.writeUInt16LE(2, 56);
  const padding = Buffer.alloc((4096 - (start % 4096)) % 4096);
  segment(header, 64, 5, 0, CODE_BASE, start);
  segment(header, 120, 6, start + padding.length, Memory.BASE, memory.bytes.length);
  return Buffer.concat([header, code, padding, memory.bytes]);
}

function segment(header: Buffer, at: number, flags: number, offset: number, address: number, size: number): void {
  header.writeUInt32LE(1, at); // PT_LOAD
  header.writeUInt32LE(flags, at + 4);
  for (const [i, value] of [offset, address, address, size, size, 4096].entries()) {
    header.writeBigUInt64LE(BigInt(value), at + 8 + 8 * i);
  }
}

function callCode(nr: number, args: readonly bigint[]): Buffer {
  const values = Array.from({ length: 7 }, (_, i) => (i === 0 ? BigInt(nr) : (args[i - 1] ?? 0n)));
  const code = Buffer.alloc(values.length * 10 + 2);
  values.forEach((value, i) => {
    code.writeUInt16LE(MOVES[i]!, 10 * i);
    code.writeBigUInt64LE(BigInt.asUintN(64, value), 10 * i + 2);
  });
  code.writeUInt16LE(0x050f, values.length * 10);
  return code;
}
