import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { compileBased } from "./compile.ts";
import { runSpec, type SpecReport, specFiles } from "./spec.ts";
import {
  type Bytes,
  body,
  constant,
  END,
  functionType,
  I32,
  I64,
  limits,
  list,
  module,
  name,
  SECTION,
  unsigned,
} from "./wasm-binary.ts";

const F32 = 0x7d;

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "zpoline-spec-"));
});
afterEach(() => rmSync(directory, { recursive: true }));

interface TestFunction {
  readonly name: string;
  readonly params?: readonly number[];
  readonly results?: readonly number[];
  readonly code: Bytes;
}

/** A module that exports these functions, with what other sections are given. */
function moduleOf(functions: readonly TestFunction[], more: readonly (readonly [number, Bytes])[] = [], imported = 0) {
  return module(
    new Map<number, Bytes>([
      [SECTION.type, list(functions.map(({ params = [], results = [] }) => functionType(params, results)))],
      [SECTION.function, list(functions.map((_, i) => unsigned(i)))],
      [SECTION.export, list(functions.map((f, i) => [name(f.name), 0, unsigned(imported + i)]))],
      [SECTION.code, list(functions.map(({ code }) => body([], code)))],
      ...more,
    ]),
  );
}

/** Writes a suite of one file and runs it. */
function run(modules: Record<string, Uint8Array>, commands: readonly object[]): SpecReport {
  for (const [file, binary] of Object.entries(modules)) writeFileSync(join(directory, file), binary);
  const numbered = commands.map((command, i) => ({ line: i + 1, ...command }));
  writeFileSync(join(directory, "suite.json"), JSON.stringify({ commands: numbered }));
  return runSpec(directory, specFiles(directory), compileBased);
}

const i32 = (value: number) => ({ type: "i32", value: `${value >>> 0}` });
const i64 = (value: bigint) => ({ type: "i64", value: `${BigInt.asUintN(64, value)}` });
const load = { type: "module", filename: "m.wasm" };
const invoke = (field: string, ...args: object[]) => ({ type: "invoke", field, args });
const returns = (action: object, ...expected: object[]) => ({ type: "assert_return", action, expected });
const traps = (action: object, text: string) => ({ type: "assert_trap", action, text });

const LOCAL = (index: number): Bytes => [0x20, index];
const divide: TestFunction = {
  name: "div",
  params: [I32, I32],
  results: [I32],
  code: [LOCAL(0), LOCAL(1), 0x6d],
};
const endless: TestFunction = { name: "endless", code: [0x10, 0] };
const negate: TestFunction = { name: "neg", params: [I64], results: [I64], code: [constant(I64, 0n), LOCAL(0), 0x7d] };

describe("the runner of the core test suite", () => {
  it("counts what holds", () => {
    const binary = moduleOf([endless, divide, negate]);
    const report = run({ "m.wasm": binary }, [
      load,
      returns(invoke("div", i32(-7), i32(2)), i32(-3)),
      returns(invoke("neg", i64(1n)), i64(-1n)),
      traps(invoke("div", i32(1), i32(0)), "integer divide by zero"),
      traps(invoke("div", i32(-0x80000000), i32(-1)), "integer overflow"),
      { type: "assert_exhaustion", action: invoke("endless"), text: "call stack exhausted" },
      { type: "action", action: invoke("neg", i64(5n)), expected: [] },
    ]);
    expect(report).toMatchObject({ passed: 6, failed: [] });
    expect(report.skipped.size).toBe(0);
  });

  it("names what does not hold", () => {
    const report = run({ "m.wasm": moduleOf([divide]) }, [
      load,
      returns(invoke("div", i32(7), i32(2)), i32(4)),
      returns(invoke("div", i32(7), i32(0)), i32(0)),
      traps(invoke("div", i32(7), i32(2)), "integer divide by zero"),
      traps(invoke("div", i32(7), i32(0)), "out of bounds memory access"),
    ]);
    expect(report.passed).toBe(0);
    expect(report.failed).toEqual([
      "suite:2 div: 3 instead of 4",
      "suite:3 div: signal 8",
      'suite:4 div: returned instead of "integer divide by zero"',
      'suite:5 div: signal 8 instead of "out of bounds memory access"',
    ]);
  });

  it("names a module that does not compile", () => {
    writeFileSync(join(directory, "m.wasm"), moduleOf([divide]));
    writeFileSync(join(directory, "suite.json"), JSON.stringify({ commands: [{ line: 9, ...load }] }));
    const { failed } = runSpec(directory, ["suite.json"], () => {
      throw new Error("no");
    });
    expect(failed).toEqual(["suite:9: the module does not compile, 0 assertions: no"]);
  });

  it("skips what is beyond the subset, by reason, and whoever calls it", () => {
    const functions: TestFunction[] = [
      { name: "float", results: [F32], code: [0x43, 0, 0, 0, 0] },
      { name: "inner float", code: [0x43, 0, 0, 0, 0, 0x1a] },
      { name: "caller", results: [I32], code: [0x10, 1, constant(I32, 1n)] },
      { name: "two", results: [I32, I32], code: [constant(I32, 1n), constant(I32, 2n)] },
      { name: "grow", results: [I32], code: [constant(I32, 1n), 0x40, 0] },
      { name: "one", results: [I32], code: constant(I32, 1n) },
    ];
    const report = run({ "m.wasm": moduleOf(functions, [[SECTION.memory, list([limits(1)])]]) }, [
      load,
      returns(invoke("float"), { type: "f32", value: "0" }),
      returns(invoke("inner float")),
      returns(invoke("caller"), i32(1)),
      returns(invoke("two"), i32(1), i32(2)),
      returns(invoke("grow"), i32(1)),
      returns(invoke("one"), i32(1)),
      { type: "assert_invalid", filename: "x.wasm", text: "type mismatch" },
    ]);
    expect(report).toMatchObject({ passed: 1, failed: [] });
    expect(Object.fromEntries(report.skipped)).toEqual({
      "floating point": ["suite:2 float", "suite:3 inner float"],
      "several results": ["suite:5 two"],
      "memory.size, memory.grow": ["suite:6 grow"],
      "calls a function that is skipped": ["suite:4 caller"],
      "not about execution": ["suite:8"],
    });
  });

  it("gives modules of spectest what they import, data, and a start", () => {
    const imports = list([
      [name("spectest"), name("print_i32"), 0, 0],
      [name("spectest"), name("global_i32"), 3, I32, 0],
      [name("spectest"), name("memory"), 2, limits(1)],
    ]);
    const binary = module(
      new Map<number, Bytes>([
        [SECTION.type, list([functionType([I32], []), functionType([], []), functionType([], [I32])])],
        [SECTION.import, imports],
        [SECTION.function, list([[1], [2]])],
        [SECTION.global, list([[I32, 1, constant(I32, 7n), END]])],
        [
          SECTION.export,
          list([
            [name("sum"), 0, 2],
            [name("own"), 3, 1],
            [name("theirs"), 3, 0],
          ]),
        ],
        [SECTION.start, unsigned(1)],
        [
          SECTION.code,
          list([
            // print(1); own = own + theirs
            body([], [constant(I32, 1n), 0x10, 0, [0x23, 1, 0x23, 0, 0x6a, 0x24, 1]]),
            // memory[8] + own
            body([], [constant(I32, 8n), 0x28, 2, 0, 0x23, 1, 0x6a]),
          ]),
        ],
        [SECTION.data, list([[0, constant(I32, 8n), END, list([[100], [1], [0], [0]])]])],
      ]),
    );
    const report = run({ "m.wasm": binary }, [
      load,
      returns(invoke("sum"), i32(356 + 673)),
      returns({ type: "get", field: "own" }, i32(673)),
      returns({ type: "get", field: "theirs" }, i32(666)),
    ]);
    expect(report).toMatchObject({ passed: 3, failed: [] });
  });

  it("keeps modules apart, and skips what imports from another", () => {
    const constantOf = (value: bigint) => moduleOf([{ name: "f", results: [I32], code: constant(I32, value) }]);
    const importing = moduleOf(
      [{ name: "f", results: [I32], code: [0x10, 0] }],
      [[SECTION.import, list([[name("M"), name("f"), 0, 0]])]],
      1,
    );
    const report = run({ "a.wasm": constantOf(1n), "b.wasm": constantOf(2n), "c.wasm": importing }, [
      { type: "module", filename: "a.wasm", name: "$A" },
      { type: "register", name: "$A", as: "M" },
      { type: "module", filename: "b.wasm" },
      returns({ ...invoke("f"), module: "$A" }, i32(1)),
      returns(invoke("f"), i32(2)),
      { type: "module", filename: "c.wasm" },
      returns(invoke("f"), i32(1)),
    ]);
    expect(report).toMatchObject({ passed: 2, failed: [] });
    expect(Object.fromEntries(report.skipped)).toEqual({
      "registration for other modules": ["suite:2"],
      "imports from another module": ["suite:7 f"],
    });
  });
});
