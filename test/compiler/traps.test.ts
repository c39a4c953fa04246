/** Traps of guest code: a message with the place in TypeScript, and the end that the caller chose. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type CompiledGuest, compileWasm } from "../../src/compiler/compile.ts";
import { writeExecutable } from "../../src/elf/write.ts";
import { callAll, compileText, i32, i64 } from "./guest-fixture.ts";
import { body, functionType, I32, I64, limits, list, module as moduleOf, name, SECTION } from "./wasm-binary.ts";

const GUEST = `
import { syscall6 } from "./std/raw";
export { on_trap } from "./std/trap";
let zero: i64 = 0;
let least: i64 = -9223372036854775808;
let small: i32 = -2147483648;
export function change(): void { zero++; least++; small++; }
function exit(status: i64): void { syscall6(231, status, 0, 0, 0, 0, 0); }
export function unsigned(): void { exit(10 / <u64>zero); }
export function remainder(): void { exit(10 % <u64>zero); }
export function signed(): void { exit(11 / zero); }
export function overflow(): void { exit(least / (zero - 1)); }
export function narrow(): void { exit(small / (<i32>zero - 1)); }
export function thrown(): void { if (!zero) throw new Error("no"); exit(1); }
export function never(): void { if (!zero) unreachable(); exit(2); }
const TABLE: StaticArray<i64> = [1, 2, 3];
export function index(): void { exit(TABLE[<u32>zero + 3]); }
export function fine(): void { exit((least + 1) / (zero - 1) ? 10 % (zero - 1) + 7 / (zero + 1) : 9); }
`;

const lineOf = (text: string): number => GUEST.split("\n").findIndex((line) => line.includes(text)) + 1;

describe("a trap with a handler", () => {
  const directory = mkdtempSync(join(tmpdir(), "zpoline-traps-"));
  let guest: CompiledGuest;
  beforeAll(async () => {
    guest = await compileText({ "main.ts": GUEST }, { onTrap: "on_trap" });
  });
  afterAll(() => rmSync(directory, { recursive: true }));

  const run = (entry: string): { status: number | null; stderr: string } => {
    const program = join(directory, entry);
    writeFileSync(program, writeExecutable([guest.object], { entry }), { mode: 0o755 });
    const { status, stderr } = spawnSync(program, { encoding: "utf8" });
    return { status, stderr };
  };

  test.each([
    ["unsigned", "division by zero"],
    ["remainder", "division by zero"],
    ["signed", "division by zero"],
    ["overflow", "division overflow"],
    ["narrow", "division overflow"],
    ["thrown", "unreachable code is reached"],
    ["never", "unreachable code is reached"],
    ["index", "unreachable code is reached"],
  ])("%s: says where, and the program ends", (entry, reason) => {
    const line = lineOf(`function ${entry}()`);
    expect(run(entry)).toEqual({ status: 125, stderr: `zpoline: trap: ${reason} at main.ts:${line}\n` });
  });

  test("what does not trap goes on", () => {
    expect(run("fine")).toEqual({ status: 7, stderr: "" });
  });

  test("the stack of the handler counts", async () => {
    const quiet = await compileText({ "main.ts": GUEST });
    const need = ({ entries }: CompiledGuest, wanted: string): number =>
      entries.find((entry) => entry.name === wanted)!.maxStack!;
    expect(need(guest, "unsigned")).toBeGreaterThan(need(quiet, "unsigned"));
    expect(need(guest, "unsigned")).toBeGreaterThanOrEqual(need(guest, "on_trap") + 8);
    expect(need(guest, "on_trap")).toBe(need(quiet, "on_trap"));
  });

  test("the handler must be there", async () => {
    await expect(compileText({ "main.ts": GUEST }, { onTrap: "nobody" })).rejects.toThrow(
      /no function "nobody" is exported/,
    );
  });
});

test("a call through a function value of another type traps", async () => {
  const { object } = await compileText({
    "main.ts": `
      function add(a: u32): u32 { return a + 1; }
      function mul(a: u64, b: u64): u64 { return a * b; }
      let which: usize = 0;
      export function set(n: usize): void { which = n ? changetype<usize>(add) : changetype<usize>(mul); }
      export function call(a: u32): u32 { return changetype<(a: u32) => u32>(which)(a); }
    `,
  });
  const results = callAll(
    [object],
    [
      ["set", i64(1)],
      ["call", i32(4)],
      ["set", i64(0)],
      ["call", i32(4)],
    ],
  );
  expect(
    results.map(({ signal, value }) => (signal === 0 ? Number(value & 0xffn) : -signal)).filter((_, i) => i % 2),
  ).toEqual([5, -4]);
});

/** load(address) and copy(to, from, length) of a module with 32-bit addresses; both traps give SIGILL, not SIGSEGV. */
test("accesses beyond a limit trap before they touch memory", () => {
  const wasm = moduleOf(
    new Map([
      [SECTION.type, list([functionType([I32], [I64]), functionType([I32, I32, I32], [])])],
      [SECTION.function, list([[0], [1]])],
      [SECTION.memory, list([limits(1)])],
      [
        SECTION.export,
        list([
          [name("load"), 0, 0],
          [name("copy"), 0, 1],
        ]),
      ],
      [SECTION.code, list([body([], [0x20, 0, 0x29, 3, 4]), body([], [0x20, 0, 0x20, 1, 0x20, 2, 0xfc, 10, 0, 0])])],
    ]),
  );
  const { object } = compileWasm(wasm, { memoryBase: 0x3000_0000n, memoryLimit: 65536n });
  const signalOf = (entry: string, ...args: number[]): number =>
    callAll([object], [[entry, ...args.map(i32)]])[0]!.signal;
  // Nothing is mapped: an access within the limit faults.
  expect([65524, 65525, -1, -8].map((at) => signalOf("load", at))).toEqual([11, 4, 4, 4]);
  expect(signalOf("copy", 0, 65536, 0)).toBe(0);
  expect(signalOf("copy", 65537, 0, 0)).toBe(4);
  expect(signalOf("copy", 0, 65535, 2)).toBe(4);
  expect(signalOf("copy", 65000, 0, 600)).toBe(4);
  expect(signalOf("copy", 0, 1, -1)).toBe(4);
  expect(signalOf("copy", 64000, 0, 600)).toBe(11);
});
