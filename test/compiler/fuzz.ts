/**
 * Differential fuzzing: the same random module by V8 and by compiled code. Results, traps, memory and globals must agree,
 * and compiled code must keep the rules of the ABI.
 */
import type { ObjectFile } from "../../src/compiler/object.ts";
import { optimised } from "./fuzz-binaryen.ts";
import {
  type ExportedFunction,
  MEMORY_BASE,
  MEMORY_SIZE,
  type RandomModule,
  randomModule,
  randomValue,
} from "./fuzz-random-module.ts";
import { type Argument, type CallResult, type CallStep, runNative, type Step } from "./native.ts";
import { Random, type Source, seeded } from "./random.ts";
import { Oracle, type Outcome } from "./v8.ts";
import { I32 } from "./wasm-binary.ts";

/** Compiles a module whose memory is the address space. */
export type FlatCompiler = (binary: Uint8Array) => ObjectFile;

/** A module and what to call of it, in order. */
export interface Program {
  readonly binary: Uint8Array;
  readonly functions: readonly ExportedFunction[];
  readonly globals: readonly ExportedFunction[];
  readonly calls: readonly CallStep[];
  /** Of what the memory holds at the start. */
  readonly memorySeed: number;
}

const CALLS_PER_FUNCTION = 6;
const STACK_MEASURED = 512;
/** Milliseconds for all calls of a program, which take a hundredth of that. */
const TIMEOUT = 10_000;

const SIGNAL_TRAPS: Readonly<Record<number, readonly string[]>> = {
  4: ["other", "arithmetic"], // ud2: also a division whose trap was found at compile time
  8: ["arithmetic"],
  11: ["bounds"],
};

/** What a program looks like: half of them as our guests are, by way of Binaryen and with 64-bit addresses. */
const SHAPES = [
  { is64: true, optimise: true },
  { is64: true, optimise: false },
  { is64: true, optimise: true },
  { is64: false, optimise: false },
] as const;

export function randomProgram(seed: number, source: Source): Program {
  const { is64, optimise } = SHAPES[seed % SHAPES.length]!;
  const module = randomModule(new Random(source), is64);
  const binary = optimise ? optimised(module.binary) : module.binary;
  return { ...module, binary, ...randomInput(module, new Random(seed)) };
}

function randomInput({ functions }: RandomModule, random: Random): Pick<Program, "calls" | "memorySeed"> {
  const call = ({ name, params }: ExportedFunction): CallStep => {
    const args = params.map((type): Argument => ({ bits: type === I32 ? 32 : 64, value: randomValue(random, type) }));
    return { kind: "call", name, args, seed: random.u32(), measure: STACK_MEASURED };
  };
  const calls = Array.from({ length: CALLS_PER_FUNCTION }, () => functions.map(call)).flat();
  return { calls, memorySeed: random.u32() };
}

/** What is wrong with the code that `compile` makes of a program: nothing, or one line a difference. */
export function differences(program: Program, compile: FlatCompiler, timeout = TIMEOUT): string[] {
  const { binary, functions, globals, memorySeed } = program;
  const memory = Uint8Array.from({ length: MEMORY_SIZE }, seeded(memorySeed));
  const readGlobals = globals.map(({ name }): CallStep => ({ kind: "call", name, args: [], seed: 1 }));
  const calls = [...program.calls, ...readGlobals];
  const results = new Map([...functions, ...globals].map((f) => [f.name, f.result]));

  const oracle = new Oracle(binary);
  oracle.memory(MEMORY_BASE, MEMORY_SIZE).set(memory);
  const expected = calls.map(({ name, args }) => oracle.call(name, args));

  const object = compile(binary);
  const address = BigInt(MEMORY_BASE);
  const steps: Step[] = [
    { kind: "map", address, size: MEMORY_SIZE, access: "rw" },
    { kind: "write", address, bytes: memory },
    ...calls,
    { kind: "read", address, size: MEMORY_SIZE },
  ];
  const { results: native, stopped } = runNative([object], steps, timeout);
  const out = calls.flatMap((call, i) => {
    const result = native[2 + i] as CallResult | undefined;
    const what = result === undefined ? [`not run: ${stopped}`] : compare(expected[i]!, result, results.get(call.name));
    what.push(...stackProblems(object, call, result));
    return what.map((text) => `${describe(call)}: ${text}`);
  });
  const after = native[2 + calls.length];
  if (after?.kind === "done") out.push(...compareMemory(oracle.memory(MEMORY_BASE, MEMORY_SIZE), after.bytes));
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

function stackProblems(object: ObjectFile, { name }: CallStep, result: CallResult | undefined): string[] {
  const maxStack = object.code.find((unit) => unit.name === name)?.maxStack;
  const depth = result?.depth ?? 0;
  if (maxStack === undefined || depth <= maxStack) return [];
  return [`uses ${depth} bytes of stack, more than its bound of ${maxStack}`];
}

function compareMemory(expected: Uint8Array, found: Uint8Array): string[] {
  const at = expected.findIndex((byte, i) => byte !== found[i]);
  return at < 0 ? [] : [`memory at +0x${at.toString(16)}: ${found[at]} instead of ${expected[at]}`];
}
