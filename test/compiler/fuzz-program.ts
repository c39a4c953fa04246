/** A random module with everything that is needed to run it: what to call, what memory holds, its relocated twin. */
import type { FlatModule } from "./compile.ts";
import { optimised } from "./fuzz-binaryen.ts";
import { type ExportedFunction, MEMORY_SIZE, randomModule, randomValue, type Shape } from "./fuzz-random-module.ts";
import type { Argument, CallStep } from "./native.ts";
import { Random, type Source, type Span } from "./random.ts";
import { I32 } from "./wasm-binary.ts";

export interface Program extends FlatModule {
  readonly functions: readonly ExportedFunction[];
  /** Functions that give the values of the globals. */
  readonly globals: readonly ExportedFunction[];
  /** In order. */
  readonly calls: readonly CallStep[];
  /** Of what the memory holds at the start. */
  readonly memorySeed: number;
  /** What of the random numbers can be left out. */
  readonly spans: readonly Span[];
}

const CALLS_PER_FUNCTION = 6;
/** Words of stack below a call that are looked at. */
const STACK_MEASURED = 512;

const MEMORY_BASE = 0x1000_0000;
/** To where the twin's memory lies: as many bytes in LEB128, and other bits. */
const DISTANCE = 0x0800_1230;

/** What programs look like, by seed: most of them as guests are, by way of Binaryen and with 64-bit addresses. */
const SHAPES: readonly (Omit<Shape, "memoryBase"> & { readonly optimise: boolean })[] = [
  { optimise: true, is64: true, hasImports: true, isRelocatable: true },
  { optimise: false, is64: true, hasImports: true, isRelocatable: false },
  { optimise: true, is64: true, hasImports: false, isRelocatable: false },
  { optimise: false, is64: false, hasImports: false, isRelocatable: false },
  { optimise: true, is64: true, hasImports: false, isRelocatable: true },
  { optimise: false, is64: true, hasImports: true, isRelocatable: true },
  { optimise: true, is64: true, hasImports: true, isRelocatable: false },
  { optimise: true, is64: false, hasImports: false, isRelocatable: false },
];

/** @param source where its random numbers come from; the seed itself decides its shape and its input */
export function randomProgram(seed: number, source: Source): Program {
  const { optimise, ...shape } = SHAPES[seed % SHAPES.length]!;
  const numbers: number[] = [];
  const first = randomModule(new Random(noting(source, numbers)), { ...shape, memoryBase: MEMORY_BASE });
  const finish = (binary: Uint8Array): Uint8Array => (optimise ? optimised(binary) : binary);
  const second = (): Uint8Array => {
    const again = new Random(() => numbers.shift()!);
    return finish(randomModule(again, { ...shape, memoryBase: MEMORY_BASE + DISTANCE }).binary);
  };
  return {
    functions: first.functions,
    globals: first.globals,
    spans: first.spans,
    binary: finish(first.binary),
    twin: shape.isRelocatable ? { wasm: second(), distance: BigInt(DISTANCE) } : undefined,
    memory: { base: BigInt(MEMORY_BASE), end: BigInt(MEMORY_BASE + MEMORY_SIZE) },
    ...randomInput(first.functions, new Random(seed)),
  };
}

/** A source whose numbers are appended to a list. */
export function noting(source: Source, numbers: number[]): Source {
  return () => {
    const number = source();
    numbers.push(number);
    return number;
  };
}

function randomInput(functions: readonly ExportedFunction[], random: Random): Pick<Program, "calls" | "memorySeed"> {
  const call = ({ name, params }: ExportedFunction): CallStep => {
    const args = params.map((type): Argument => ({ bits: type === I32 ? 32 : 64, value: randomValue(random, type) }));
    return { kind: "call", name, args, seed: random.u32(), measure: STACK_MEASURED };
  };
  const calls = Array.from({ length: CALLS_PER_FUNCTION }, () => functions.map(call)).flat();
  return { calls, memorySeed: random.u32() };
}
