/**
 * Drives the AssemblyScript compiler, in memory: guest TypeScript to WebAssembly with 64-bit addresses.
 *
 * asc has a wasm64 target that no option reaches. A transform switches it on after parsing, and makes the module's
 * memory a 64-bit one. This depends on internals of asc 0.28.20, the version that the project pins.
 */
import { readFileSync } from "node:fs";
import path from "node:path";
import { findAllocations } from "./allocation.ts";
import { CompileError, type Diagnostic, type SourcePlace } from "./diagnostics.ts";
import { SourceMap } from "./sourcemap.ts";
import { decodeModule } from "./wasm.ts";

export interface AscOutput {
  readonly wasm: Uint8Array;
  readonly sourceMap: string;
  /** End of the static data, zero bytes included. */
  readonly dataEnd: bigint;
}

export interface AscInput {
  /** Entry module, relative to `root`. */
  readonly entry: string;
  /** Directory below which all modules lie. */
  readonly root: string;
  /** Address of the first byte of static data. */
  readonly memoryBase: number;
}

/** Target.Wasm64 and Feature.Memory64 in asc's src/common.ts and std/assembly/shared/feature.ts. */
const TARGET_WASM64 = 2;
const FEATURE_MEMORY64 = 1 << 11;
/** binaryen-c.h, as far as it is needed; arguments in the order of that header. */
interface Binaryen {
  _BinaryenTypeInt64(): number;
  _BinaryenSetMemory(...args: unknown[]): void;
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
interface AscProgram {
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
interface BinaryenModule {
  emitBinary(sourceMapUrl: string): { readonly binary: Uint8Array; readonly sourceMap: string };
}

interface Hooks {
  /** Called with the end of the static data. */
  readonly onData: (end: bigint) => void;
  /** Called with the module before validation and optimisation. */
  readonly onModule: (module: BinaryenModule) => void;
}

/** The transform's class; asc makes an instance and gives it `program` and `binaryen`. */
function wasm64Transform({ onData, onModule }: Hooks): new () => object {
  return class {
    declare program: AscProgram;
    declare binaryen: Binaryen;

    afterParse(): void {
      const { program, binaryen } = this;
      const { module } = program;
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
      onModule(module);
    }
  };
}

/** The modules read so far, by name. */
class Sources {
  readonly #root: string;
  readonly #texts = new Map<string, string>();

  constructor(root: string) {
    this.#root = root;
  }

  /** A module's text, or null. Imports may name a file with or without its ".ts". */
  read(name: string): string | null {
    try {
      const text = readFileSync(path.resolve(this.#root, name.replace(/\.ts\.ts$/, ".ts")), "utf8");
      this.#texts.set(name, text);
      return text;
    } catch {
      return null;
    }
  }

  /** The place of a character of a module; undefined in asc's own library. */
  place(name: string, start: number): SourcePlace | undefined {
    const before = this.#texts.get(name)?.slice(0, start).split("\n");
    return before && { file: name, line: before.length, column: before.at(-1)!.length + 1 };
  }
}

interface AscDiagnostic {
  readonly message: string;
  /** 0 pedantic, 1 info, 2 warning, 3 error. */
  readonly category: number;
  readonly range: { readonly start: number; readonly source: { readonly normalizedPath: string } } | null;
}

/** Refuses managed allocation; `module` has not been optimised, so that the call is still where it was written. */
function refuseAllocation(module: BinaryenModule): void {
  const { binary, sourceMap } = module.emitBinary("out.wasm.map");
  const map = new SourceMap(sourceMap);
  const isUser = (offset: number): boolean => map.lookup(offset)?.file.startsWith("~lib/") === false;
  const offsets = findAllocations(decodeModule(binary), isUser);
  if (offsets.length === 0) return;
  throw new CompileError(
    offsets.map((offset) => {
      const place = map.lookup(offset);
      return {
        message: "managed allocation: there is no heap",
        fix: "use an @unmanaged class over memory of your own, a StaticArray constant, memory.data(), or cstr()",
        ...(place === undefined ? {} : { place }),
      };
    }),
  );
}

/** Compiles to WebAssembly. Throws `CompileError` with the diagnostics of asc. */
export async function runAsc({ entry, root, memoryBase }: AscInput): Promise<AscOutput> {
  const { main } = await import("assemblyscript/asc");
  const files = new Map<string, string | Uint8Array>();
  const diagnostics: Diagnostic[] = [];
  const sources = new Sources(root);
  let dataEnd = BigInt(memoryBase);
  let refusal: CompileError | undefined;
  const hooks: Hooks = {
    onData: (end) => {
      dataEnd = end;
    },
    // asc would wrap an error thrown here in one of its own.
    onModule: (module) => {
      try {
        refuseAllocation(module);
      } catch (error) {
        if (!(error instanceof CompileError)) throw error;
        refusal = error;
        throw error;
      }
    },
  };
  const { error, stderr } = await main(
    [
      entry,
      ...[
        "--outFile",
        "out.wasm",
        "--sourceMap",
        "--debug",
        "-O3",
        "--runtime",
        "stub",
        "--noAssert",
        "--use",
        "abort=",
      ],
      ...["--memoryBase", String(memoryBase), "--enable", "threads,bulk-memory,sign-extension", "--baseDir", root],
    ],
    {
      readFile: (name: string) => sources.read(name),
      writeFile: (name: string, contents: string | Uint8Array) => {
        files.set(name, contents);
      },
      listFiles: () => [],
      reportDiagnostic: (raw: unknown) => {
        const diagnostic = raw as AscDiagnostic;
        if (diagnostic.category !== 3) return;
        const { range, message } = diagnostic;
        const place = range === null ? undefined : sources.place(range.source.normalizedPath, range.start);
        diagnostics.push({ message, ...(place === undefined ? {} : { place }) });
      },
      // asc's types demand an instance where asc itself demands a class.
      transforms: [wasm64Transform(hooks) as never],
    },
  );
  if (refusal !== undefined) throw refusal;
  if (diagnostics.length > 0) throw new CompileError(diagnostics, "GUEST_SYNTAX");
  if (error !== null) throw new CompileError([{ message: `asc failed: ${error.message}\n${stderr}` }], "GUEST_SYNTAX");
  return {
    wasm: files.get("out.wasm") as Uint8Array,
    sourceMap: files.get("out.wasm.map") as string,
    dataEnd,
  };
}
