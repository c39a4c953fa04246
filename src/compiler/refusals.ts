/**
 * What guest code may not contain, found where the user wrote it: in the module as asc makes it, before inlining moves
 * code about, and before Binaryen validates it.
 */
import { setFlagsFromString } from "node:v8";
import { CompileError, type Diagnostic, type SourcePlace, WasmRefusal } from "./diagnostics.ts";
import { INTRINSICS } from "./intrinsics.ts";
import { decodeBody, type FuncImport, type FuncType, I32, type Instr, type WasmModule } from "./wasm.ts";

// @types/node declares no WebAssembly, and the DOM library would bring too much.
declare const WebAssembly: { Module: new (binary: Uint8Array) => object };

interface Reason {
  readonly message: string;
  readonly fix: string;
}

const HEAP_FIX =
  "use an @unmanaged class over memory of your own, a StaticArray of constants, memory.data(), or cstr() for text";

/** Functions of asc's library that allocate, by the first pattern that matches, and what the user wrote to get there. */
const ALLOCATING: readonly (readonly [RegExp, Reason])[] = [
  [
    /^~lib\/(string\/String[.#](__)?concat|staticarray\/StaticArray<~lib\/string\/String>#join|.*joinStringArray)|^~lib\/util\/number\/[iud]to(a|string)/i,
    {
      message: "text is put together at run time: strings are managed, and there is no heap",
      fix: "write the parts one after the other with cstr() and writeDecimal()",
    },
  ],
  [
    /^~lib\/rt\/__new(Array|Buffer)$/,
    {
      message: "an array literal that is made at run time: there is no heap",
      fix: "make it a StaticArray of constants at module level, or store() into memory.data()",
    },
  ],
  [/^~lib\/rt\/.*\/__(new|renew|alloc|realloc)$/, { message: "managed allocation: there is no heap", fix: HEAP_FIX }],
];

const MAP_FIX = "map memory with mapPages() of std/sys";

/** Instructions, by opcode. */
const FORBIDDEN: ReadonlyMap<number, Reason> = new Map([
  [0x3f, { message: "memory.size(): memory is the address space of the process", fix: MAP_FIX }],
  [0x40, { message: "memory.grow(): memory is the address space of the process", fix: MAP_FIX }],
  ...[0xfe00, 0xfe01, 0xfe02].map(
    (op) => [op, { message: "atomic.wait() and atomic.notify()", fix: "use the futex system call" }] as const,
  ),
]);

interface Call {
  readonly from: number;
  readonly to: number;
  readonly at: number;
}

const letters = (types: readonly number[]): string => types.map((type) => (type === I32 ? "i" : "I")).join("");
const signature = ({ params, results }: FuncType): string => `${letters(params)}>${letters(results)}`;

/** Why an imported function cannot be: asc takes any declaration. */
function importReason({ module, name }: FuncImport, type: FuncType): Reason | undefined {
  if (module === "zpoline") {
    const expected = name === "cstr" ? "I>I" : INTRINSICS.get(name)?.type;
    if (expected === undefined)
      return {
        message: `there is no intrinsic "${name}"`,
        fix: `the intrinsics are ${[...INTRINSICS.keys(), "cstr"].join(", ")}`,
      };
    if (signature(type) === expected) return undefined;
    return { message: `the intrinsic "${name}" is declared with other types`, fix: "import it from std/raw" };
  }
  if (module === "symbol") {
    if (signature(type) === ">I") return undefined;
    return { message: `the symbol "${name}" is declared with other types`, fix: `declare function ${name}(): usize` };
  }
  return {
    message: `"${name}" is declared and used, but nothing defines it (import "${module}" "${name}")`,
    fix: 'write it, or declare it with @external("symbol", …) if the link defines it; nothing of the host can be imported',
  };
}

/** Memory64 is behind a flag in Node 20. What V8 says is the only description of a broken module that has an offset. */
function invalidity(bytes: Uint8Array): { readonly message: string; readonly at: number } | undefined {
  setFlagsFromString("--experimental-wasm-memory64");
  try {
    new WebAssembly.Module(bytes);
    return undefined;
  } catch (error) {
    const { message } = error as Error;
    const [, what = message, at = "0"] = /^.*(?:failed|Module\(\)): (.*) @\+(\d+)$/.exec(message) ?? [];
    return { message: what, at: Number(at) };
  }
}

export class Early {
  readonly #module: WasmModule;
  readonly #place: (offset: number) => SourcePlace | undefined;
  readonly #code: readonly (readonly Instr[])[];
  readonly #calls: readonly Call[];

  /** `module` has not been optimised, and has a name section. */
  constructor(module: WasmModule, place: (offset: number) => SourcePlace | undefined) {
    this.#module = module;
    this.#place = place;
    this.#code = module.bodies.map((body) => this.#decode(body));
    this.#calls = this.#code.flatMap((code, i) =>
      code
        .filter(({ op }) => op === 0x10)
        .map(({ index, at }) => ({ from: i + module.imports.length, to: index!, at })),
    );
  }

  #decode(body: WasmModule["bodies"][number]): readonly Instr[] {
    try {
      return decodeBody(this.#module, body);
    } catch (error) {
      if (!(error instanceof WasmRefusal)) throw error;
      throw new CompileError([this.#diagnostic(error.offset, { message: error.message, fix: error.fix ?? "" })]);
    }
  }

  #diagnostic(at: number, reason: Reason): Diagnostic {
    const place = this.#place(at);
    return { ...reason, ...(place === undefined ? {} : { place }) };
  }

  #inUserFile(at: number): boolean {
    return this.#place(at)?.file.startsWith("~lib/") === false;
  }

  /**
   * Where the user wrote the call; undefined in asc's library, and in what asc writes itself (constructors). asc gives
   * some calls no place of their own: then it is the function's.
   */
  #written({ from, at }: Call): number | undefined {
    if (this.#inUserFile(at)) return at;
    const name = this.#module.functionNames.get(from) ?? "";
    if (name.startsWith("~lib/") || name.endsWith("#constructor")) return undefined;
    return this.#code[from - this.#module.imports.length]!.find((instr) => this.#inUserFile(instr.at))?.at;
  }

  /** The user's calls that lead to `targets` by way of asc's library: the offsets of their places. */
  #callsInto(targets: ReadonlySet<number>): number[] {
    const leading = new Set(targets);
    for (let size = -1; size !== leading.size; ) {
      size = leading.size;
      for (const call of this.#calls)
        if (leading.has(call.to) && this.#written(call) === undefined) leading.add(call.from);
    }
    return this.#calls.filter(({ to }) => leading.has(to)).flatMap((call) => this.#written(call) ?? []);
  }

  #named(pattern: RegExp): Set<number> {
    const names = this.#module.functionNames;
    return new Set([...names.keys()].filter((index) => pattern.test(names.get(index)!)));
  }

  /** One for each line: the first reason says most. */
  #allocations(): Diagnostic[] {
    const allocating = new Set(this.#callsInto(this.#named(ALLOCATING.at(-1)![0])));
    const byLine = new Map<string, Diagnostic>();
    for (const [pattern, reason] of ALLOCATING)
      for (const at of this.#callsInto(this.#named(pattern))) {
        const { file, line } = this.#place(at)!;
        if (allocating.has(at) && !byLine.has(`${file}:${line}`))
          byLine.set(`${file}:${line}`, this.#diagnostic(at, reason));
      }
    return [...byLine.values()];
  }

  #imports(): Diagnostic[] {
    return this.#module.imports.flatMap((imported, index) => {
      const reason = importReason(imported, this.#module.types[imported.type]!);
      if (reason === undefined) return [];
      return this.#callsInto(new Set([index])).map((at) => this.#diagnostic(at, reason));
    });
  }

  #instructions(): Diagnostic[] {
    const { importedGlobals } = this.#module;
    return this.#code.flat().flatMap(({ op, index, at }) => {
      if (!this.#inUserFile(at)) return [];
      const reason = FORBIDDEN.get(op);
      if (reason !== undefined) return [this.#diagnostic(at, reason)];
      const global = op === 0x23 || op === 0x24 ? importedGlobals[index!] : undefined;
      if (global === undefined) return [];
      return [
        this.#diagnostic(at, {
          message: `the global "${global.name}" is declared, but nothing defines it`,
          fix: 'give it a value, or declare a function with @external("symbol", …) for the address of a symbol',
        }),
      ];
    });
  }

  #validity(): Diagnostic[] {
    const found = invalidity(this.#module.bytes);
    if (found === undefined) return [];
    const fix = "write the operation in another way: asc does not support it where addresses have 64 bits";
    return [this.#diagnostic(found.at, { message: `asc makes invalid code of this (${found.message})`, fix })];
  }

  /** @throws CompileError with all that is to be refused. */
  check(): void {
    const found = [...this.#allocations(), ...this.#imports(), ...this.#instructions()];
    const diagnostics = found.length > 0 ? found : this.#validity();
    if (diagnostics.length > 0) throw new CompileError(diagnostics);
  }

  /** Where the user's code calls into the function of asc's library that `place` lies in; nothing if it does not. */
  userPlaces(place: SourcePlace): SourcePlace[] {
    const { imports } = this.#module;
    const holders = this.#code.flatMap((code, i) =>
      code.some(({ at }) => {
        const here = this.#place(at);
        return here?.file === place.file && here.line === place.line;
      })
        ? [i + imports.length]
        : [],
    );
    return this.#callsInto(new Set(holders)).flatMap((at) => this.#place(at) ?? []);
  }
}
