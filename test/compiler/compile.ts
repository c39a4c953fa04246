/** How the tests of this directory call the compiler. */
import { compileWasm } from "../../src/compiler/compile.ts";
import type { ObjectFile } from "../../src/compiler/object.ts";

/** Memory is the address space. */
export const compileFlat = (binary: Uint8Array): ObjectFile => compileWasm(binary).object;

/** Address 0 of the memory lies at `memoryBase`; functions may call themselves. */
export const compileBased = (binary: Uint8Array, memoryBase: bigint): ObjectFile =>
  compileWasm(binary, { memoryBase, allowRecursion: true }).object;
