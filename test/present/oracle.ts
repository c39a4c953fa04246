/**
 * Asks the real strace how it prints a system call. A case is a number, arguments, the memory that they point to, and a
 * result; it becomes an ELF program that makes exactly these calls, and strace is told to inject the results, so that
 * the kernel carries out none of them: any call can be asked for, `reboot` too.
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

/** Memory that arguments point to: one run of bytes at a fixed address, 0xee between what is put into it. */
export class Memory {
  static readonly BASE = 0x10000000;
  readonly bytes = Buffer.alloc(1 << 18, 0xee);
  #next = 64;

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
  const directory = mkdtempSync(join(tmpdir(), "strace-oracle-"));
  try {
    for (const batch of batches(cases)) {
      const program = join(directory, "program");
      writeFileSync(
        program,
        buildProgram(
          batch.map((i) => cases[i]!),
          memory,
        ),
        { mode: 0o755 },
      );
      const printed = runStrace(
        directory,
        program,
        batch.map((i) => cases[i]!),
        options,
      );
      batch.forEach((i, k) => {
        lines[i] = printed[k] ?? "(nothing)";
      });
    }
  } finally {
    rmSync(directory, { recursive: true });
  }
  return lines;
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

function runStrace(directory: string, program: string, cases: readonly Case[], options: readonly string[]): string[] {
  const output = join(directory, "output");
  const results = new Map(cases.map(({ name, result }) => [name, result]));
  const injections = [...results].flatMap(([name, result]) => [
    "-e",
    `inject=${name}:${typeof result === "number" ? `retval=${result}` : `error=${result}`}`,
  ]);
  const { status, stderr } = spawnSync("strace", ["-o", output, ...options, ...injections, program], {
    encoding: "utf8",
  });
  if (status !== 0) throw new Error(`strace: ${status} ${stderr}`);
  const lines = readFileSync(output, "latin1").split("\n");
  return lines.slice(1, 1 + cases.length).map((line) => line.replace(/ \(INJECTED\)$/, ""));
}

function buildProgram(cases: readonly Case[], memory: Memory): Buffer {
  const code = Buffer.concat([...cases.map(({ nr, args }) => callCode(nr, args)), callCode(231, [0n])]);
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
