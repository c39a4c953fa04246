/** How the tests of this directory call the compiler. */
import { compileWasm } from "../../src/compiler/compile.ts";
import type { ObjectFile } from "../../src/compiler/object.ts";

/** A module, and the same one with its memory `distance` further on, where the memory is to be relocatable. */
export interface FlatModule {
  readonly binary: Uint8Array;
  readonly twin: { readonly wasm: Uint8Array; readonly distance: bigint } | undefined;
  /** The memory that the module uses. */
  readonly memory: { readonly base: bigint; readonly end: bigint };
}

/** The symbol of a relocatable memory. */
export const MEMORY_SYMBOL = "zpoline.data";

/** Memory is the address space. */
export const compileFlat = ({ binary, twin, memory }: FlatModule): ObjectFile =>
  compileWasm(binary, twin === undefined ? {} : { twin, data: memory }).object;

/** Address 0 of the memory lies at `memoryBase`; functions may call themselves. */
export const compileBased = (binary: Uint8Array, memoryBase: bigint): ObjectFile =>
  compileWasm(binary, { memoryBase, allowRecursion: true }).object;
