/**
 * The transform that switches asc to its wasm64 target, which no option reaches, and gives the module a 64-bit memory.
 * It depends on internals of asc 0.28.20, the version that the project pins.
 */

import type { CheckedProgram } from "./debug-program.ts";

/** Target.Wasm64 and Feature.Memory64 in asc's src/common.ts and std/assembly/shared/feature.ts. */
const TARGET_WASM64 = 2;
const FEATURE_MEMORY64 = 1 << 11;
/** binaryen-c.h, as far as it is needed; arguments in the order of that header. */
interface Binaryen {
  _BinaryenTypeInt64(): number;
  _BinaryenSetDebugInfo(on: boolean): void;
  _BinaryenSetMemory(...args: unknown[]): void;
  _BinaryenFunctionGetNumLocals(func: number): number;
  _BinaryenFunctionSetLocalName(func: number, index: number, name: number): void;
  _malloc(size: number): number;
  _free(pointer: number): void;
  __i32_store8(pointer: number, value: number): void;
  __i32_store(pointer: number, value: number): void;
}
interface AscModule {
  readonly ref: number;
  sizeType: number;
  i64(low: number, high: number): number;
  allocStringCached(text: string | null): number;
  runPasses(passes: readonly string[]): void;
  setMemory(
    initial: number,
    maximum: number,
    segments: readonly AscSegment[],
    target: number,
    exportName?: string | null,
    name?: string,
    shared?: boolean,
  ): void;
}
interface AscSegment {
  readonly buffer: Uint8Array;
  readonly offset: bigint | { readonly low: number; readonly high: number };
}
interface AscProgram extends CheckedProgram {
  readonly options: { target: number; setFeature(feature: number, on: boolean): void };
  readonly module: AscModule;
}

const toBigInt = (value: AscSegment["offset"]): bigint =>
  typeof value === "bigint" ? value : (BigInt(value.high) << 32n) | BigInt(value.low >>> 0);

/** Sets the module's memory as asc does (src/module.ts, Module#setMemory), but with 64-bit addresses. */
function setMemory64(
  binaryen: Binaryen,
  module: AscModule,
  [initial, maximum, segments, , exportName = null, name = "0", shared = false]: Parameters<AscModule["setMemory"]>,
): void {
  const allocated: number[] = [];
  const store = <T>(items: ArrayLike<T>, size: 1 | 4, number: (item: T) => number): number => {
    const start = binaryen._malloc(Math.max(8, items.length * size));
    allocated.push(start);
    const write = size === 1 ? binaryen.__i32_store8 : binaryen.__i32_store;
    for (let i = 0; i < items.length; i++) write(start + i * size, number(items[i]!));
    return start;
  };
  const offsetOf = ({ offset }: AscSegment): number => {
    const value = toBigInt(offset);
    return module.i64(Number(value & 0xffffffffn), Number(value >> 32n));
  };
  const bytes = store(segments, 4, ({ buffer }) => store(buffer, 1, (byte) => byte));
  const passive = store(segments, 1, () => 0);
  const offsets = store(segments, 4, offsetOf);
  const sizes = store(segments, 4, ({ buffer }) => buffer.length);
  const [exported, memory] = [module.allocStringCached(exportName), module.allocStringCached(name)];
  const count = segments.length;
  binaryen._BinaryenSetMemory(
    module.ref,
    initial,
    maximum,
    exported,
    0,
    bytes,
    passive,
    offsets,
    sizes,
    count,
    shared,
    true,
    memory,
  );
  for (const pointer of allocated) binaryen._free(pointer);
}

/** The module as binaryen's own interface shows it (binaryen's index.d.ts). */
export interface BinaryenModule {
  emitBinary(sourceMapUrl: string): { readonly binary: Uint8Array; readonly sourceMap: string };
}

export interface Hooks {
  /** Called with the end of the static data. */
  readonly onData: (end: bigint) => void;
  /** Called with the module before validation and optimisation. */
  readonly onModule: (module: BinaryenModule, program: CheckedProgram) => void;
}

/**
 * What Binaryen does, instead of its -O3: inlining, folding, and what removes code and functions. Passes that move,
 * merge, split or drop assignments to locals (simplify-locals, coalesce-locals, ssa-nomerge, rse, flatten, licm,
 * code-pushing, code-folding) are left out: our own back end does that work and keeps track of variables.
 */
const PASSES = [
  "duplicate-function-elimination",
  "remove-unused-module-elements",
  "once-reduction",
  "inlining",
  "simplify-globals",
  "vacuum",
  "precompute-propagate",
  "dae",
  "optimize-instructions",
  "dce",
  "remove-unused-brs",
  "remove-unused-names",
  "merge-blocks",
  "inlining",
  "precompute-propagate",
  "pick-load-signs",
  "vacuum",
  "remove-unused-brs",
  "remove-unused-names",
  "merge-blocks",
  "simplify-globals",
  "directize",
  "dae",
  "inlining",
  "precompute-propagate",
  "optimize-instructions",
  "remove-unused-brs",
  "remove-unused-names",
  "merge-blocks",
  "vacuum",
  "reorder-functions",
  "duplicate-function-elimination",
  "memory-packing",
  "remove-unused-module-elements",
];

/** Names each local of the user's functions by its number, which Binaryen keeps when it renumbers and inlines. */
function nameLocals(binaryen: Binaryen, program: AscProgram): void {
  for (const [name, { localsByIndex = [], ref }] of program.instancesByName) {
    if (name.startsWith("~lib/") || !ref) continue;
    const count = binaryen._BinaryenFunctionGetNumLocals(ref);
    for (let i = 0; i < Math.min(count, localsByIndex.length); i++)
      binaryen._BinaryenFunctionSetLocalName(ref, i, program.module.allocStringCached(String(i)));
  }
}

/** The transform's class; asc makes an instance and gives it `program` and `binaryen`. */
export function wasm64Transform({ onData, onModule }: Hooks): new () => object {
  return class {
    declare program: AscProgram;
    declare binaryen: Binaryen;

    afterParse(): void {
      const { program, binaryen } = this;
      const { module } = program;
      // Names for what `onModule` sees: binaryen's setting, which asc makes only later.
      binaryen._BinaryenSetDebugInfo(true);
      program.options.target = TARGET_WASM64;
      program.options.setFeature(FEATURE_MEMORY64, true);
      module.sizeType = binaryen._BinaryenTypeInt64();
      module.setMemory = (...args) => {
        const last = args[2].at(-1);
        if (last !== undefined) onData(toBigInt(last.offset) + BigInt(last.buffer.length));
        setMemory64(binaryen, module, args);
      };
    }

    afterCompile(module: BinaryenModule): void {
      onModule(module, this.program);
      nameLocals(this.binaryen, this.program);
      const { module: own } = this.program;
      const runPasses = own.runPasses.bind(own);
      own.runPasses = () => runPasses(PASSES);
    }
  };
}
