/**
 * Differential fuzzing: the same random module by V8 and by compiled code. Results, traps, memory and globals must agree,
 * and compiled code must keep the rules of the ABI.
 */
import type { ObjectFile } from "../../src/compiler/object.ts";
import { type FlatModule, MEMORY_SYMBOL } from "./compile.ts";
import { FOREIGN, FOREIGN_STACK, GS_SIZE, importsForOracle } from "./fuzz-environment.ts";
import type { Program } from "./fuzz-program.ts";
import { type CallResult, type CallStep, runNative, type Step, type StepResult } from "./native.ts";
import { seeded } from "./random.ts";
import { Oracle, type Outcome } from "./v8.ts";
import { I32 } from "./wasm-binary.ts";

/** Compiles a module whose memory is the address space. */
export type FlatCompiler = (module: FlatModule) => ObjectFile;

/** Milliseconds for all calls of a program, which take a hundredth of that. */
const TIMEOUT = 10_000;
const GS_BASE = 0x3000_0000_0000n;

const SIGNAL_TRAPS: Readonly<Record<number, readonly string[]>> = {
  4: ["other", "arithmetic"], // ud2: also a division whose trap was found at compile time
  8: ["arithmetic"],
  11: ["bounds"],
};

/** What is wrong with the code that `compile` makes of a program: nothing, or one line a difference. */
export function differences(program: Program, compile: FlatCompiler, timeout = TIMEOUT): string[] {
  const readGlobals = program.globals.map(({ name }): CallStep => ({ kind: "call", name, args: [], seed: 1 }));
  const calls = [...program.calls, ...readGlobals];
  const size = Number(program.memory.end - program.memory.base);
  const random = seeded(program.memorySeed);
  const memory = Uint8Array.from({ length: size }, random);
  const gs = Uint8Array.from({ length: GS_SIZE }, random);

  const oracleGs = new DataView(gs.slice().buffer);
  const oracle = new Oracle(program.binary, importsForOracle(oracleGs));
  const oracleMemory = oracle.memory(Number(program.memory.base), size);
  oracleMemory.set(memory);
  const expected = calls.map(({ name, args }) => oracle.call(name, args));

  const object = compile(program);
  const address = program.twin === undefined ? program.memory.base : MEMORY_SYMBOL;
  const before: Step[] = [
    ...(typeof address === "string" ? [] : [{ kind: "map", address, size, access: "rw" } as const]),
    { kind: "write", address, bytes: memory },
    { kind: "map", address: GS_BASE, size: 4096, access: "rw" },
    { kind: "write", address: GS_BASE, bytes: gs },
    { kind: "gs", address: GS_BASE },
  ];
  const after: Step[] = [
    { kind: "read", address, size },
    { kind: "read", address: GS_BASE, size: GS_SIZE },
  ];
  const { results, stopped } = runNative([object, FOREIGN], [...before, ...calls, ...after], timeout);
  if (stopped !== undefined) {
    const reached = calls[results.length - before.length];
    return [`${reached === undefined ? "outside of calls" : describe(reached)}: not finished: ${stopped}`];
  }

  const types = new Map([...program.functions, ...program.globals].map((f) => [f.name, f.result]));
  const out = calls.flatMap((call, i) => {
    const result = results[before.length + i] as CallResult;
    const what = [...compare(expected[i]!, result, types.get(call.name)), ...stackProblems(object, call, result)];
    return what.map((text) => `${describe(call)}: ${text}`);
  });
  const [memoryAfter, gsAfter] = results.slice(before.length + calls.length);
  out.push(...compareBytes("memory", oracleMemory, memoryAfter!));
  out.push(...compareBytes("gs", new Uint8Array(oracleGs.buffer), gsAfter!));
  return out;
}

const describe = ({ name, args, seed }: CallStep): string =>
  `${name}(${args.map(({ bits, value }) => `i${bits} ${value}`).join(", ")}) with seed ${seed}`;

function compare(expected: Outcome, { signal, value, violations }: CallResult, type: number | undefined): string[] {
  if ("trap" in expected) {
    if (SIGNAL_TRAPS[signal]?.includes(expected.trap)) return [];
    return [`${signal === 0 ? `returned ${value}` : `signal ${signal}`} instead of a trap (${expected.trap})`];
  }
  if (signal !== 0) return [`signal ${signal} instead of ${expected.value}`];
  if (expected.value === undefined) return [...violations];
  const found = BigInt.asIntN(type === I32 ? 32 : 64, value);
  return found === expected.value ? [...violations] : [`${found} instead of ${expected.value}`, ...violations];
}

/** The bound leaves foreign functions out. */
function stackProblems({ code }: ObjectFile, { name }: CallStep, { depth = 0 }: CallResult): string[] {
  const unit = code.find((candidate) => candidate.name === name);
  const foreign = code.some(({ relocs }) => relocs.some(({ symbol }) => symbol.startsWith("foreign")));
  const bound = (unit?.maxStack ?? Number.POSITIVE_INFINITY) + (foreign ? FOREIGN_STACK : 0);
  return depth <= bound ? [] : [`uses ${depth} bytes of stack, more than its bound of ${bound}`];
}

function compareBytes(what: string, expected: Uint8Array, result: StepResult): string[] {
  const found = result.kind === "done" ? result.bytes : new Uint8Array(0);
  const at = expected.findIndex((byte, i) => byte !== found[i]);
  return at < 0 ? [] : [`${what} at +0x${at.toString(16)}: ${found[at]} instead of ${expected[at]}`];
}
