/**
 * Runs the WebAssembly core test suite as wast2json writes it: a `.json` for each source file, its modules beside it.
 * What is beyond the compiler's subset is skipped with its reason; whatever else does not hold is a failure.
 */
import { readdirSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import type { ObjectFile } from "../../src/compiler/object.ts";
import { type Argument, type CallResult, runNative, type Step } from "./native.ts";
import { DIFFERENCES } from "./spec-differences.ts";
import { prepare, type SpecModule, STUB_ADDRESS } from "./spec-module.ts";

/** Compiles a module whose address 0 lies at `memoryBase`. */
export type SpecCompiler = (binary: Uint8Array, memoryBase: bigint) => ObjectFile;

interface SpecValue {
  readonly type: string;
  readonly value?: string;
}

interface SpecAction {
  readonly type: "invoke" | "get";
  readonly module?: string;
  readonly field: string;
  readonly args?: readonly SpecValue[];
}

interface SpecCommand {
  readonly type: string;
  readonly line: number;
  readonly name?: string;
  readonly filename?: string;
  readonly action?: SpecAction;
  readonly expected?: readonly SpecValue[];
  readonly text?: string;
}

export interface SpecReport {
  readonly passed: number;
  /** "file:line: what is wrong". */
  readonly failed: readonly string[];
  /** Reason → "file:line name". */
  readonly skipped: ReadonlyMap<string, readonly string[]>;
}

/** Far from what else is mapped, and beyond 32 bits; nothing is mapped for 8 GiB above. */
const MEMORY_BASE = 0x10_0000_0000n;

const SIGILL = 4;
const SIGFPE = 8;
const SIGSEGV = 11;
/** The signal that stands for each trap of the specification. */
const TRAPS: Readonly<Record<string, number>> = {
  "call stack exhausted": SIGSEGV,
  "indirect call type mismatch": SIGILL,
  "integer divide by zero": SIGFPE,
  "integer overflow": SIGFPE,
  "out of bounds memory access": SIGSEGV,
  "undefined element": SIGILL,
  "uninitialized element": SIGILL,
  unreachable: SIGILL,
};

/** Commands that do something; all others are about what is not a valid module. */
const EXECUTED = ["action", "assert_return", "assert_trap", "assert_exhaustion"];

class Suite {
  passed = 0;
  readonly failed: string[] = [];
  readonly skipped = new Map<string, string[]>();

  fail(place: string, what: string): void {
    this.failed.push(`${place}: ${what}`);
  }

  skip(reason: string, what: string): void {
    const list = this.skipped.get(reason) ?? [];
    this.skipped.set(reason, list);
    list.push(what);
  }
}

interface Test {
  readonly command: SpecCommand;
  readonly action: SpecAction;
}

/** A module and what is asserted of it; it runs in a process of its own when all is known. */
class Instance {
  readonly #place: string;
  readonly #module: SpecModule;
  readonly #tests: Test[] = [];

  constructor(place: string, binary: Uint8Array) {
    this.#place = place;
    this.#module = prepare(binary);
  }

  add(command: SpecCommand, action: SpecAction): void {
    this.#tests.push({ command, action });
  }

  run(suite: Suite, compile: SpecCompiler): void {
    const { binary, unsupported } = this.#module;
    const file = this.#place.split(":")[0]!;
    const nameOf = ({ command, action }: Test): string => `${file}:${command.line} ${action.field}`;
    const runnable = this.#tests.filter((test) => {
      const reason = unsupported ?? this.#reason(test);
      if (reason !== undefined) suite.skip(reason, nameOf(test));
      return reason === undefined;
    });
    if (binary === undefined) return;
    let object: ObjectFile;
    try {
      object = compile(binary, MEMORY_BASE);
    } catch (error) {
      suite.fail(
        this.#place,
        `the module does not compile, ${runnable.length} assertions: ${(error as Error).message}`,
      );
      return;
    }
    const before = this.#start();
    const { results, stopped } = runNative([object], [...before, ...runnable.map((test) => this.#step(test))]);
    runnable.forEach((test, i) => {
      const result = results[before.length + i] as CallResult | undefined;
      if (result === undefined) suite.fail(nameOf(test), `not run: ${stopped}`);
      else if (result.address === MEMORY_BASE + STUB_ADDRESS)
        suite.skip("calls a function that is skipped", nameOf(test));
      else {
        const wrong = [...result.violations, ...problems(test.command, result)];
        const difference = DIFFERENCES.get(`${file}:${test.command.line}`);
        if (wrong.length === 0) suite.passed++;
        else if (difference !== undefined) suite.skip(difference, nameOf(test));
        else suite.fail(nameOf(test), wrong.join("; "));
      }
    });
  }

  #start(): Step[] {
    const { memorySize, data, start } = this.#module;
    const steps: Step[] = [];
    if (memorySize > 0n) steps.push({ kind: "map", address: MEMORY_BASE, size: Number(memorySize), access: "rw" });
    for (const { at, bytes } of data)
      if (bytes.length > 0) steps.push({ kind: "write", address: MEMORY_BASE + at, bytes });
    if (start !== undefined) steps.push({ kind: "call", name: start, args: [], seed: 0 });
    return steps;
  }

  #reason({ command, action }: Test): string | undefined {
    const values = [...(action.args ?? []), ...(command.expected ?? [])];
    const foreign = values.find(({ type }) => type !== "i32" && type !== "i64")?.type;
    if (foreign !== undefined)
      return foreign.startsWith("f") && foreign !== "funcref" ? "floating point" : "references or vectors";
    if ((command.expected?.length ?? 0) > 1) return "several results";
    return this.#module.stubs.get(action.field);
  }

  #step({ command, action }: Test): Step {
    const args = (action.args ?? []).map(
      ({ type, value }): Argument => ({ bits: type === "i32" ? 32 : 64, value: BigInt(value!) }),
    );
    const name = action.type === "get" ? this.#module.globals.get(action.field)! : action.field;
    return { kind: "call", name, args, seed: command.line };
  }
}

function problems({ type, text, expected }: SpecCommand, { signal, value }: CallResult): string[] {
  if (type === "assert_trap" || type === "assert_exhaustion") {
    const wanted = TRAPS[text!];
    return signal === wanted ? [] : [`${signal === 0 ? "returned" : `signal ${signal}`} instead of "${text}"`];
  }
  if (signal !== 0) return [`signal ${signal}`];
  const [result] = expected ?? [];
  if (type === "action" || result === undefined) return [];
  const bits = result.type === "i32" ? 32 : 64;
  const found = BigInt.asUintN(bits, value);
  return found === BigInt.asUintN(bits, BigInt(result.value!)) ? [] : [`${found} instead of ${result.value}`];
}

function runFile(path: string, suite: Suite, compile: SpecCompiler): void {
  const file = basename(path, ".json");
  const { commands } = JSON.parse(readFileSync(path, "utf8")) as { commands: SpecCommand[] };
  const instances: Instance[] = [];
  const named = new Map<string, Instance>();
  for (const command of commands) {
    const place = `${file}:${command.line}`;
    const { action } = command;
    if (command.type === "module") {
      const instance = new Instance(place, readFileSync(join(path, "..", command.filename!)));
      instances.push(instance);
      if (command.name !== undefined) named.set(command.name, instance);
    } else if (command.type === "register") suite.skip("registration for other modules", place);
    else if (action === undefined || !EXECUTED.includes(command.type)) suite.skip("not about execution", place);
    else (action.module === undefined ? instances.at(-1)! : named.get(action.module)!).add(command, action);
  }
  for (const instance of instances) instance.run(suite, compile);
}

/** Names of the files in a directory with the suite, sorted. */
export const specFiles = (directory: string): string[] =>
  readdirSync(directory)
    .filter((name) => name.endsWith(".json"))
    .sort();

export function runSpec(directory: string, files: readonly string[], compile: SpecCompiler): SpecReport {
  const suite = new Suite();
  for (const file of files) runFile(join(directory, file), suite, compile);
  return suite;
}
