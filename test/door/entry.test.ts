/** What a program finds at its first instruction: registers, flags, and every byte of its stack. */
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { run, scratch } from "../e2e/run.ts";
import { DOOR, FIXTURES } from "./door.ts";

const WORDS = 17;
const RSP = 7;
const FLAGS = 16;
/** getauxval(3): what changes from one start to the next. */
const ADDRESSES = { AT_PHDR: 3, AT_ENTRY: 9, AT_RANDOM: 25, AT_EXECFN: 31, AT_SYSINFO_EHDR: 33, AT_PLATFORM: 15 };

function build(name: string, ...flags: readonly string[]): string {
  const out = join(scratch, name);
  const { status, stderr } = run(["gcc", "-nostdlib", ...flags, "-o", out, join(FIXTURES, "entry.S")]);
  if (status !== 0) throw new Error(stderr);
  return out;
}

interface Entry {
  readonly registers: readonly bigint[];
  readonly aligned: boolean;
  readonly flags: bigint;
  readonly args: readonly string[];
  readonly environment: readonly string[];
  /** Type and value; a value that is an address is what it points to, or how far it is from the others. */
  readonly auxiliary: readonly (readonly [number, string])[];
  /** The strings lie one behind the other, in this order. */
  readonly contiguous: boolean;
}

function parse(bytes: Buffer): Entry {
  const registers = Array.from({ length: WORDS }, (_, i) => bytes.readBigUInt64LE(i * 8));
  const stack = bytes.subarray(WORDS * 8);
  const base = registers[RSP]!;
  const word = (index: number) => stack.readBigUInt64LE(index * 8);
  const offsetOf = (address: bigint) => Number(address - base);
  const text = (address: bigint) => {
    const at = offsetOf(address);
    return stack.toString("latin1", at, stack.indexOf(0, at));
  };
  let at = 0;
  const argc = Number(word(at++));
  const pointers: bigint[] = [];
  const list = (): string[] => {
    const strings: string[] = [];
    for (; word(at) !== 0n; at++) {
      pointers.push(word(at));
      strings.push(text(word(at)));
    }
    at++;
    return strings;
  };
  const args = list();
  const environment = list();
  expect(args).toHaveLength(argc);
  const auxiliary: [number, string][] = [];
  let headers = 0n;
  for (; ; at += 2) {
    const [type, value] = [Number(word(at)), word(at + 1)];
    if (type === ADDRESSES.AT_PHDR) headers = value;
    if (type === ADDRESSES.AT_EXECFN || type === ADDRESSES.AT_PLATFORM) auxiliary.push([type, text(value)]);
    else if (type === ADDRESSES.AT_ENTRY) auxiliary.push([type, `headers + ${value - headers}`]);
    else if (type === ADDRESSES.AT_PHDR) auxiliary.push([type, `page + ${value & 4095n}`]);
    else if (type === ADDRESSES.AT_RANDOM) auxiliary.push([type, `on the stack: ${offsetOf(value) < stack.length}`]);
    else if (type === ADDRESSES.AT_SYSINFO_EHDR) auxiliary.push([type, `page + ${value & 4095n}`]);
    else auxiliary.push([type, String(value)]);
    if (type === 0) break;
  }
  const ends = pointers.map((pointer) => offsetOf(pointer) + text(pointer).length + 1);
  return {
    registers: registers.filter((_, i) => i !== RSP && i !== FLAGS),
    aligned: base % 16n === 0n,
    flags: registers[FLAGS]!,
    args,
    environment,
    auxiliary,
    contiguous: pointers.slice(1).every((pointer, i) => offsetOf(pointer) === ends[i]),
  };
}

function entryOf(command: readonly string[], argv0: string, env: NodeJS.ProcessEnv): Entry {
  const [file, ...args] = command;
  const { stdout, status } = spawnSync(file!, args, { argv0, env, cwd: scratch });
  expect(status).toBe(42);
  return parse(stdout);
}

describe.each([
  ["at a fixed address", ["-static", "-no-pie"]],
  ["static, anywhere", ["-static-pie"]],
])("a program %s", (name, flags) => {
  const program = build(`entry-${name.replaceAll(/\W/g, "")}`, ...flags);

  test.each([
    ["no variables", [], {}],
    ["an odd number of arguments", ["a"], { A: "1" }],
    ["an even number of arguments", ["a", "", "c with blanks"], { A: "1", B: "" }],
    ["many", Array.from({ length: 500 }, (_, i) => "x".repeat(i)), { LONG: "y".repeat(20_000), LD_PRELOAD: "" }],
  ])("with %s finds what the kernel gives", (_, args, env) => {
    const native = entryOf([program, ...args], program, env);
    const hooked = entryOf([DOOR, "ZPOLINE_PATCH=auto", "--", program, ...args], "zpoline-exec", env);
    expect(native.contiguous).toBe(true);
    expect(hooked).toEqual(native);
  });
});
