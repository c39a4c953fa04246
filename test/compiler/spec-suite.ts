/**
 * Runs the WebAssembly core test suite, as wast2json writes it: one `.json` for each source file, with the modules beside
 * it. What cannot run is skipped by name, with its reason; a skip is never silent.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { type CompiledModule, compileModule } from "../../src/compiler/module.ts";
import { type Argument, type CallResult, runNative, type Step } from "./native.ts";

interface SpecValue {
  readonly type: string;
  readonly value?: string;
}

interface SpecCommand {
  readonly type: string;
  readonly line: number;
  readonly filename?: string;
  readonly name?: string;
  readonly text?: string;
  readonly action?: {
    readonly type: string;
    readonly module?: string;
    readonly field: string;
    readonly args: readonly SpecValue[];
  };
  readonly expected?: readonly SpecValue[];
}

/** Where address 0 of a module's memory lies. Addresses reach 8 GiB further, plus the widest access. */
const MEMORY_BASE = 0x4000_0000n;
const MEMORY_REACH = 0x2_0001_0000n;
const WASM_PAGE = 65536n;

/** The signals that stand for a trap, by the suite's text. */
const SIGNALS: readonly (readonly [RegExp, number])[] = [
  [/divide by zero|integer overflow/, 8],
  [/out of bounds memory|call stack exhausted/, 11],
  [/unreachable|undefined element|uninitialized element|indirect call/, 4],
];

/** Assertions that cannot hold where memory has no bounds but those of pages: [file, first line, last line]. */
const UNBOUNDED: readonly (readonly [string, number, number])[] = [
  // memory.copy that traps half-way has copied the first half.
  ["memory_copy.json", 3211, 3216],
  // No byte outside is touched when there are none to copy or fill.
  ["memory_copy.json", 4873, 4873],
  ["memory_copy.json", 4885, 4885],
  ["memory_copy.json", 4897, 4897],
  ["memory_fill.json", 118, 118],
];

export interface SpecReport {
  passed: number;
  readonly failed: string[];
  /** Reason → assertions, as "file:line". */
  readonly skipped: Map<string, string[]>;
}

class ModuleRun {
  readonly #file: string;
  readonly #compiled: CompiledModule | undefined;
  readonly #refusal: string;
  readonly #commands: SpecCommand[] = [];

  constructor(directory: string, file: string, filename: string) {
    this.#file = file;
    let compiled: CompiledModule | undefined;
    let refusal = "";
    try {
      compiled = compileModule(readFileSync(join(directory, filename)), {
        memoryBase: MEMORY_BASE,
        skipUnsupported: true,
        allowRecursion: true,
      });
      const { imports, importsMemory, importsTable, importedGlobals, start } = compiled.module;
      const foreign = imports.length + importedGlobals.length > 0 || importsMemory || importsTable;
      if (foreign) refusal = "the module imports something";
      else if (start !== undefined) refusal = "the module has a start function";
    } catch (error) {
      refusal = (error as Error).message;
    }
    this.#compiled = refusal === "" ? compiled : undefined;
    this.#refusal = refusal;
  }

  add(command: SpecCommand): void {
    this.#commands.push(command);
  }

  #memory(module: CompiledModule["module"]): Step[] {
    const limits = module.memories[0];
    if (limits === undefined) return [];
    const size = limits.min * WASM_PAGE;
    const steps: Step[] = [];
    if (size > 0n) steps.push({ kind: "map", address: MEMORY_BASE, size: Number(size), access: "rw" });
    steps.push({ kind: "map", address: MEMORY_BASE + size, size: Number(MEMORY_REACH - size), access: "none" });
    for (const { at, bytes } of module.data) {
      if (at?.kind !== "const" || bytes.length === 0) continue;
      steps.push({ kind: "write", address: MEMORY_BASE + BigInt.asUintN(32, at.value), bytes });
    }
    return steps;
  }

  #reasonToSkip(compiled: CompiledModule, { action, expected = [], line }: SpecCommand): string | undefined {
    const unbounded = UNBOUNDED.some(([file, first, last]) => file === this.#file && first <= line && line <= last);
    if (unbounded) return "bounds of bulk memory instructions are those of pages";
    const types = [...action!.args, ...expected].map((value) => value.type);
    const foreign = types.find((type) => type !== "i32" && type !== "i64");
    if (foreign !== undefined) return `a value of type ${foreign}`;
    if (expected.length > 1) return "several results";
    return compiled.skipped.get(action!.field);
  }

  run(report: SpecReport): void {
    const skip = (reason: string, command: SpecCommand): void => {
      const list = report.skipped.get(reason) ?? [];
      report.skipped.set(reason, [...list, `${this.#file}:${command.line}`]);
    };
    const compiled = this.#compiled;
    if (compiled === undefined) {
      for (const command of this.#commands) skip(this.#refusal, command);
      return;
    }
    const calls: SpecCommand[] = [];
    const steps = this.#memory(compiled.module);
    const before = steps.length;
    for (const command of this.#commands) {
      const reason = this.#reasonToSkip(compiled, command);
      if (reason !== undefined) skip(reason, command);
      else {
        calls.push(command);
        const args = command.action!.args.map(
          (value): Argument => ({ bits: value.type === "i32" ? 32 : 64, value: BigInt(value.value!) }),
        );
        steps.push({ kind: "call", name: command.action!.field, args, seed: command.line });
      }
    }
    if (calls.length === 0) return;
    const { results, stopped } = runNative([compiled.object], steps);
    calls.forEach((command, i) => {
      const result = results[before + i] as CallResult | undefined;
      const problem = result === undefined ? `not run: ${stopped}` : problemOf(command, result);
      if (problem === undefined) report.passed++;
      else report.failed.push(`${this.#file}:${command.line}: ${command.action!.field}: ${problem}`);
    });
  }
}

function problemOf(command: SpecCommand, result: CallResult): string | undefined {
  if (result.violations.length > 0) return result.violations.join("; ");
  if (command.type === "assert_trap" || command.type === "assert_exhaustion") {
    const signal = SIGNALS.find(([text]) => text.test(command.text!))?.[1];
    return result.signal === signal ? undefined : `signal ${result.signal} instead of "${command.text}"`;
  }
  if (result.signal !== 0) return `signal ${result.signal}`;
  const [expected] = command.expected ?? [];
  if (expected === undefined) return undefined;
  const bits = expected.type === "i32" ? 32 : 64;
  const value = BigInt.asUintN(bits, result.value);
  return value === BigInt.asUintN(bits, BigInt(expected.value!)) ? undefined : `${value} instead of ${expected.value}`;
}

/** Runs one file of the suite; adds to `report`. */
function runFile(directory: string, file: string, report: SpecReport): void {
  const { commands } = JSON.parse(readFileSync(join(directory, file), "utf8")) as { commands: SpecCommand[] };
  const modules: ModuleRun[] = [];
  const named = new Map<string, ModuleRun>();
  for (const command of commands) {
    if (command.type === "module") {
      const module = new ModuleRun(directory, file, command.filename!);
      modules.push(module);
      if (command.name !== undefined) named.set(command.name, module);
    } else if (command.action?.type === "invoke") {
      const { module } = command.action;
      (module === undefined ? modules.at(-1) : named.get(module))?.add(command);
    }
  }
  for (const module of modules) module.run(report);
}

export const specFiles = (directory: string): string[] =>
  readdirSync(directory)
    .filter((name) => name.endsWith(".json"))
    .sort();

export function runSuite(directory: string, files: readonly string[] = specFiles(directory)): SpecReport {
  const report: SpecReport = { passed: 0, failed: [], skipped: new Map() };
  for (const file of files) runFile(directory, file, report);
  return report;
}
