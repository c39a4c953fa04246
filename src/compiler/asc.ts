/** Drives the AssemblyScript compiler, in memory: guest TypeScript to WebAssembly with 64-bit addresses. */
import { readFileSync } from "node:fs";
import path from "node:path";
import { type DebugProgram, debugProgram } from "./debug-program.ts";
import { CompileError, type Diagnostic, type SourcePlace } from "./diagnostics.ts";
import { Early } from "./refusals.ts";
import { SourceMap } from "./sourcemap.ts";
import { decodeModule } from "./wasm.ts";
import { type BinaryenModule, type Hooks, wasm64Transform } from "./wasm64.ts";

export interface AscOutput {
  readonly wasm: Uint8Array;
  readonly sourceMap: string;
  /** End of the static data, zero bytes included. */
  readonly dataEnd: bigint;
  /** The program before optimisation. */
  readonly early: Early;
  readonly debug: DebugProgram;
}

export interface AscInput {
  /** Entry module, relative to `root`. */
  readonly entry: string;
  /** Directory below which all modules lie. */
  readonly root: string;
  /** Address of the first byte of static data. */
  readonly memoryBase: number;
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

/** What to write instead of what asc does not take, by its message. */
const FIXES: readonly (readonly [RegExp, string])[] = [
  [/Not implemented: Closures/, "pass what the function needs as parameters, or keep it in a global"],
  [/Not implemented: Iterators/, "count with an index: for (let i = 0; i < n; i++)"],
  [/Not implemented: Exceptions/, "return an error number: nothing can be caught"],
  [/Feature 'simd' is not enabled/, "use u64: a hook must not touch the program's vector registers"],
  [/'void' must return a value/, "return at the end; an endless loop is while (true), for (;;) is not understood"],
  [/Cannot find name 'any'/, "name a type: u64, usize, a class"],
  [/requires an explicit cast/, "write <u32>value, which keeps what fits"],
  [/used before its declaration/, "declare it further up"],
];

/** The module as asc hands it to Binaryen, checked. */
function checkEarly(module: BinaryenModule): Early {
  const { binary, sourceMap } = module.emitBinary("out.wasm.map");
  const map = new SourceMap(sourceMap);
  const early = new Early(decodeModule(binary), (offset) => map.lookup(offset));
  early.check();
  return early;
}

/** Compiles to WebAssembly. Throws `CompileError` with the diagnostics of asc. */
export async function runAsc({ entry, root, memoryBase }: AscInput): Promise<AscOutput> {
  const { main } = await import("assemblyscript/asc");
  const files = new Map<string, string | Uint8Array>();
  const diagnostics: Diagnostic[] = [];
  const sources = new Sources(root);
  let dataEnd = BigInt(memoryBase);
  let early: Early | undefined;
  let debug: DebugProgram = { functions: new Map(), globals: new Map(), types: new Map() };
  let refusal: CompileError | undefined;
  const hooks: Hooks = {
    onData: (end) => {
      dataEnd = end;
    },
    // asc would wrap an error thrown here in one of its own.
    onModule: (module, program) => {
      debug = debugProgram(program);
      try {
        early = checkEarly(module);
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
        const fix = FIXES.find(([pattern]) => pattern.test(message))?.[1];
        diagnostics.push({
          message,
          ...(fix === undefined ? {} : { fix }),
          ...(place === undefined ? {} : { place }),
        });
      },
      // asc's types demand an instance where asc itself demands a class.
      transforms: [wasm64Transform(hooks) as never],
    },
  );
  if (refusal !== undefined) throw refusal;
  if (diagnostics.length > 0) throw new CompileError(diagnostics, "GUEST_SYNTAX");
  if (error !== null || early === undefined)
    throw new CompileError([{ message: `asc failed: ${error?.message}\n${stderr}` }], "GUEST_SYNTAX");
  return {
    wasm: files.get("out.wasm") as Uint8Array,
    sourceMap: files.get("out.wasm.map") as string,
    dataEnd,
    early,
    debug,
  };
}
