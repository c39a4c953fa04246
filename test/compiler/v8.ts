/** V8 as the oracle of what a WebAssembly module does. */
import { setFlagsFromString } from "node:v8";

/** An exported function: i32 are numbers, i64 bigints. */
type Exported = (...args: (number | bigint)[]) => number | bigint | undefined;

/** Module → name → function. */
// biome-ignore lint/suspicious/noExplicitAny: what is called with what is the module's business
export type Imports = Readonly<Record<string, Readonly<Record<string, (...args: any[]) => unknown>>>>;

// The part of the WebAssembly API used here: @types/node declares none, and the DOM library would bring too much.
declare const WebAssembly: {
  Module: new (binary: Uint8Array) => object;
  Instance: new (module: object, imports: Imports) => { readonly exports: Record<string, unknown> };
  RuntimeError: new () => Error;
};

// Before the first module: modules whose addresses are i64 are behind a flag in Node 20.
setFlagsFromString("--experimental-wasm-memory64");

/** What ended a call: out of bounds; arithmetic (division); anything else (unreachable, a call through the table). */
export type Trap = "bounds" | "arithmetic" | "other";

export type Outcome = { readonly value: bigint | undefined } | { readonly trap: Trap };

const TRAPS: readonly (readonly [RegExp, Trap])[] = [
  [/^memory access out of bounds$/, "bounds"],
  [/^(divide|remainder) by zero$|^divide result unrepresentable$/, "arithmetic"],
  [/^unreachable$|^table index is out of bounds$|^null function or function signature mismatch/, "other"],
];

export class Oracle {
  readonly #exports: Record<string, unknown>;

  constructor(binary: Uint8Array, imports: Imports = {}) {
    this.#exports = new WebAssembly.Instance(new WebAssembly.Module(binary), imports).exports;
  }

  /** The module's memory, which it exports as "memory". */
  memory(start: number, size: number): Uint8Array {
    const { buffer } = this.#exports["memory"] as { buffer: ArrayBuffer };
    return new Uint8Array(buffer, start, size);
  }

  /** Calls an exported function. Arguments and result are signed. */
  call(name: string, args: readonly { readonly bits: 32 | 64; readonly value: bigint }[]): Outcome {
    const exported = this.#exports[name] as Exported;
    try {
      const value = exported(...args.map(({ bits, value }) => (bits === 32 ? Number(value) : value)));
      return { value: value === undefined ? undefined : BigInt(value) };
    } catch (error) {
      const trap = TRAPS.find(([message]) => message.test((error as Error).message))?.[1];
      if (!(error instanceof WebAssembly.RuntimeError) || trap === undefined) throw error;
      return { trap };
    }
  }
}
