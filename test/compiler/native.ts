/**
 * Runs compiled code without a library or a native addon: object files are linked with a driver into a static
 * executable, which does a list of steps in a process of its own. Calls follow the System V ABI with everything the ABI
 * leaves open poisoned; what it promises is checked after each.
 */
import { spawnSync } from "node:child_process";
import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ObjectFile } from "../../src/compiler/object.ts";
import {
  type Reg,
  r8,
  r9,
  r10,
  r12,
  r13,
  r14,
  r15,
  rax,
  rbp,
  rbx,
  rcx,
  rdi,
  rdx,
  rsi,
} from "../../src/compiler/x64.ts";
import { readElf, readSymbols } from "../../src/elf/read.ts";
import { memorySource } from "../../src/elf/source.ts";
import { writeExecutable } from "../../src/elf/write.ts";
import * as protocol from "./native-driver.ts";
import { Random } from "./random.ts";

const { COMMAND, RECORD } = protocol;

/** An integer argument; the upper half of a 32-bit one is poisoned. */
export interface Argument {
  readonly bits: 32 | 64;
  readonly value: bigint;
}

/** An address, or the symbol that lies there. */
export type Place = bigint | string;

export type Step =
  | { readonly kind: "map"; readonly address: bigint; readonly size: number; readonly access: "rw" | "none" }
  | { readonly kind: "write"; readonly address: Place; readonly bytes: Uint8Array }
  | { readonly kind: "read"; readonly address: Place; readonly size: number }
  /** From now on gs is based there. */
  | { readonly kind: "gs"; readonly address: bigint }
  | CallStep;

export interface CallStep {
  readonly kind: "call";
  /** Symbol of the function. */
  readonly name: string;
  readonly args: readonly Argument[];
  /** Of the poison. */
  readonly seed: number;
  /** Number of words below the return address in which the depth of the stack is measured; 0 or absent: it is not. */
  readonly measure?: number;
}

export interface CallResult {
  readonly kind: "call";
  /** rax; for a 32-bit result the low half counts. */
  readonly value: bigint;
  /** The signal that ended the call, or 0. */
  readonly signal: number;
  /** Where the signal came, and the address that the kernel gave with it; 0 without a signal. */
  readonly rip: bigint;
  readonly address: bigint;
  /** What the ABI promises and the callee broke. */
  readonly violations: readonly string[];
  /** Bytes below the return address that were written, where measured. */
  readonly depth: number | undefined;
}

/** `bytes`: what a read gave. */
export type StepResult = CallResult | { readonly kind: "done"; readonly bytes: Uint8Array };

export interface NativeRun {
  /** One for each step that was done. */
  readonly results: readonly StepResult[];
  /** Why the steps after these were not done. */
  readonly stopped: string | undefined;
}

/** The stack of the calls: [STACK_TOP - STACK_SIZE, STACK_TOP), with nothing mapped below. */
export const STACK_TOP = 0x2000_0000_0000n;
export const STACK_SIZE = 1 << 20;
const ARGUMENT_REGISTERS: readonly Reg[] = [rdi, rsi, rdx, rcx, r8, r9];
const CALLEE_SAVED: readonly Reg[] = [rbx, rbp, r12, r13, r14, r15];
const FLAGS_ALWAYS = 0x202;
/** CF, PF, AF, ZF, SF, OF. */
const FLAGS_OPEN = 0x8d5;
const FLAG_DIRECTION = 0x400;
const PAINT = 0x5bad_c0de_5bad_c0den;

const SYS = { read: 0, write: 1, mmap: 9, arch_prctl: 158 } as const;
const ARCH_SET_GS = 0x1001;
const PROTECTION = { none: 0, rw: 3 } as const;
const MAP_FLAGS = 0x104022; // FIXED_NOREPLACE | NORESERVE | ANONYMOUS | PRIVATE

class Commands {
  readonly #parts: Uint8Array[] = [];

  #next(kind: number): DataView {
    const bytes = new Uint8Array(COMMAND.size);
    this.#parts.push(bytes);
    const view = new DataView(bytes.buffer);
    view.setBigUint64(COMMAND.kind, BigInt(kind), true);
    return view;
  }

  #simple(kind: number, number: number, values: readonly (readonly [Reg, number | bigint])[]): void {
    const view = this.#next(kind);
    view.setBigUint64(COMMAND.function, BigInt(number), true);
    for (const [register, value] of values)
      view.setBigUint64(COMMAND.registers.get(register)!, BigInt.asUintN(64, BigInt(value)), true);
  }

  system(number: number, ...args: readonly (number | bigint)[]): void {
    const registers = [rdi, rsi, rdx, r10, r8, r9];
    this.#simple(
      protocol.KIND_SYSTEM,
      number,
      args.map((value, i) => [registers[i]!, value] as const),
    );
  }

  /** What the driver's next `read` gets. */
  raw(bytes: Uint8Array): void {
    this.#parts.push(bytes);
  }

  fill(address: bigint, words: number, value: bigint): void {
    this.#simple(protocol.KIND_FILL, 0, [
      [rdi, address],
      [rsi, words],
      [rdx, value],
    ]);
  }

  scan(address: bigint, words: number, value: bigint): void {
    this.#simple(protocol.KIND_SCAN, 0, [
      [rdi, address],
      [rsi, words],
      [rdx, value],
    ]);
  }

  /** The whole state at the call; returns it. */
  call(index: number, step: CallStep): DataView {
    const view = this.#next(protocol.KIND_CALL);
    const random = new Random(step.seed);
    view.setBigUint64(COMMAND.function, BigInt(index), true);
    view.setBigUint64(COMMAND.rsp, stackPointer(step), true);
    view.setUint32(COMMAND.flags, FLAGS_ALWAYS | (random.u32() & FLAGS_OPEN), true);
    for (let offset = COMMAND.registers.get(rax)!; offset < COMMAND.size; offset += 4)
      view.setUint32(offset, random.u32(), true);
    step.args.forEach(({ bits, value }, i) => {
      const register = ARGUMENT_REGISTERS[i];
      const offset =
        register === undefined
          ? COMMAND.window + 8 * (i - ARGUMENT_REGISTERS.length)
          : COMMAND.registers.get(register)!;
      if (bits === 32) view.setUint32(offset, Number(BigInt.asUintN(32, value)), true);
      else view.setBigUint64(offset, BigInt.asUintN(64, value), true);
    });
    return view;
  }

  bytes(): Uint8Array {
    return Buffer.concat(this.#parts);
  }
}

/** Before the call: a multiple of 8, and of 16 in half of the cases. The code does not need more than 8. */
const stackPointer = ({ seed }: CallStep): bigint => STACK_TOP - BigInt(8 * protocol.WINDOW_WORDS + 8 * (seed & 1));

function violationsOf(command: DataView, record: DataView, argumentCount: number): string[] {
  const out: string[] = [];
  const compare = (name: string, before: number, after: number): void => {
    const expected = command.getBigUint64(before, true);
    const found = record.getBigUint64(after, true);
    if (expected !== found) out.push(`${name} was 0x${expected.toString(16)} and is 0x${found.toString(16)}`);
  };
  for (const register of CALLEE_SAVED)
    compare(register.name, COMMAND.registers.get(register)!, RECORD.registers.get(register)!);
  compare("rsp", COMMAND.rsp, RECORD.rsp);
  if (record.getUint32(RECORD.flags, true) & FLAG_DIRECTION) out.push("the direction flag is set");
  // The callee owns its arguments on the stack, and nothing above them.
  const own = Math.max(0, argumentCount - ARGUMENT_REGISTERS.length);
  for (let word = own; word < protocol.WINDOW_WORDS; word++)
    compare(`[rsp + ${8 * word}] of the caller`, COMMAND.window + 8 * word, RECORD.window + 8 * word);
  return out;
}

/** Takes the driver's answers apart; `take` throws `Cut` where the output ends early. */
class Answers {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  take(size: number): DataView {
    if (this.#at + size > this.#bytes.length) throw new Cut();
    this.#at += size;
    return new DataView(this.#bytes.buffer, this.#bytes.byteOffset + this.#at - size, size);
  }

  /** The result of anything but a call. */
  result(): bigint {
    return this.take(RECORD.size).getBigInt64(RECORD.registers.get(rax)!, true);
  }
}

class Cut extends Error {}

/** What steps name: numbers of functions, addresses of symbols. */
interface Names {
  readonly functionNumber: (name: string) => number;
  readonly address: (place: Place) => bigint;
}

/** Writes the commands of a step, and gives a function that takes its answers. */
function command(commands: Commands, names: Names, step: Step): (answers: Answers) => StepResult {
  switch (step.kind) {
    case "gs": {
      commands.system(SYS.arch_prctl, ARCH_SET_GS, step.address);
      return (answers) => expectResult(answers.result(), 0n);
    }
    case "map": {
      commands.system(SYS.mmap, step.address, step.size, PROTECTION[step.access], MAP_FLAGS, -1, 0);
      return (answers) => expectResult(answers.result(), step.address);
    }
    case "write": {
      commands.system(SYS.read, 0, names.address(step.address), step.bytes.length);
      commands.raw(step.bytes);
      return (answers) => expectResult(answers.result(), BigInt(step.bytes.length));
    }
    case "read": {
      commands.system(SYS.write, 1, names.address(step.address), step.size);
      return (answers) => {
        const { buffer, byteOffset } = answers.take(step.size);
        const bytes = new Uint8Array(buffer.slice(byteOffset, byteOffset + step.size) as ArrayBuffer);
        return { ...expectResult(answers.result(), BigInt(step.size)), bytes };
      };
    }
    case "call": {
      const measured = step.measure ?? 0;
      const lowest = stackPointer(step) - BigInt(8 * (measured + 1));
      if (measured > 0) commands.fill(lowest, measured, PAINT);
      const given = commands.call(names.functionNumber(step.name), step);
      if (measured > 0) commands.scan(lowest, measured, PAINT);
      return (answers) => {
        if (measured > 0) answers.result();
        const record = answers.take(RECORD.size);
        const signal = Number(record.getBigUint64(RECORD.signal, true));
        return {
          kind: "call",
          value: record.getBigUint64(RECORD.registers.get(rax)!, true),
          signal,
          rip: signal === 0 ? 0n : record.getBigUint64(RECORD.rip, true),
          address: signal === 0 ? 0n : record.getBigUint64(RECORD.address, true),
          violations: signal === 0 ? violationsOf(given, record, step.args.length) : [],
          depth: measured > 0 ? 8 * (measured - Number(answers.result())) : undefined,
        };
      };
    }
  }
}

function expectResult(result: bigint, expected: bigint): StepResult & { kind: "done" } {
  if (result !== expected) throw new Error(`a step of the driver gave ${result} instead of ${expected}`);
  return { kind: "done", bytes: new Uint8Array(0) };
}

/**
 * Does the steps in one process. Memory that a step reads or writes must be mapped by an earlier one.
 * @param timeout milliseconds until the process is ended (a loop without end)
 */
export function runNative(objects: readonly ObjectFile[], steps: readonly Step[], timeout = 20_000): NativeRun {
  const names = [...new Set(steps.flatMap((step) => (step.kind === "call" ? [step.name] : [])))];
  const image = writeExecutable([protocol.driver(names), ...objects]);
  const commands = new Commands();
  const stack = { kind: "map", address: STACK_TOP - BigInt(STACK_SIZE), size: STACK_SIZE, access: "rw" } as const;
  const known = namesOf(image, names);
  const readers = [stack, ...steps].map((step) => command(commands, known, step));

  const directory = mkdtempSync(join(tmpdir(), "zpoline-native-"));
  try {
    const program = join(directory, "program");
    const input = join(directory, "input");
    writeFileSync(program, image, { mode: 0o755 });
    writeFileSync(input, commands.bytes());
    const stdin = openSync(input, "r");
    const { stdout, status, signal, error } = spawnSync(program, {
      stdio: [stdin, "pipe", "inherit"],
      timeout,
      killSignal: "SIGKILL",
      maxBuffer: 1 << 30,
    });
    closeSync(stdin);
    const ended = status === 0 ? undefined : (error?.message ?? (signal === null ? `exit status ${status}` : signal));
    return collect(readers, new Answers(stdout), ended);
  } finally {
    rmSync(directory, { recursive: true });
  }
}

function namesOf(image: Uint8Array, functions: readonly string[]): Names {
  const numbers = new Map(functions.map((name, i) => [name, i]));
  let addresses: ReadonlyMap<string, number> | undefined;
  const addressOf = (symbol: string): bigint => {
    addresses ??= new Map(
      readSymbols(readElf(memorySource(image), "program"), ".symtab").map(({ name, value }) => [name, value]),
    );
    const address = addresses.get(symbol);
    if (address === undefined) throw new Error(`no symbol "${symbol}"`);
    return BigInt(address);
  };
  return {
    functionNumber: (name) => numbers.get(name)!,
    address: (place) => (typeof place === "string" ? addressOf(place) : place),
  };
}

function collect(
  readers: readonly ((answers: Answers) => StepResult)[],
  answers: Answers,
  ended: string | undefined,
): NativeRun {
  const results: StepResult[] = [];
  try {
    for (const read of readers) results.push(read(answers));
  } catch (error) {
    if (!(error instanceof Cut)) throw error;
    return { results: results.slice(1), stopped: ended ?? "the output ends early" };
  }
  return { results: results.slice(1), stopped: ended };
}
