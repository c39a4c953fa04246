/** Runs guest code under V8: the same source, compiled as wasm32, where linear memory stands for the address space. */
import { fileURLToPath } from "node:url";
import asc from "assemblyscript/asc";

// The part of the WebAssembly API used here: @types/node declares none, and the DOM library would bring too much.
interface Memory {
  readonly buffer: ArrayBuffer;
  grow(pages: number): number;
}
declare const WebAssembly: {
  instantiate(binary: Uint8Array, imports: object): Promise<{ instance: { exports: Record<string, unknown> } }>;
};

export interface GuestModule {
  /** Exported functions of the entry files. Pointers and 32-bit values are numbers, 64-bit values bigints. */
  readonly call: Readonly<Record<string, (...args: (number | bigint)[]) => number>>;
  /** The memory as it is now; growing it (alloc) makes a new one. */
  readonly bytes: () => Uint8Array;
  readonly view: () => DataView;
  /** Reserves `size` zero bytes, page aligned, above all static data; returns the address. Nothing is ever freed. */
  readonly alloc: (size: number) => number;
}

const PAGE = 4096;
const root = fileURLToPath(new URL("../..", import.meta.url));

/** Compiles guest files (paths from the root of the repository) and instantiates them. Throws asc's diagnostics. */
export async function loadGuest(...entries: string[]): Promise<GuestModule> {
  let binary: Uint8Array | undefined;
  const { error, stderr } = await asc.main(
    [
      ...entries,
      ...[
        "--baseDir",
        root,
        "--outFile",
        "guest.wasm",
        "-O3",
        "--runtime",
        "stub",
        "--noAssert",
        "--use",
        "abort=",
        "--enable",
        "threads",
      ],
    ],
    {
      writeFile: (_name: string, contents: Uint8Array | string) => {
        if (typeof contents !== "string") binary = contents;
      },
    },
  );
  if (error || !binary) throw new Error(`asc failed: ${error?.message}\n${stderr.toString()}`);
  const { instance } = await WebAssembly.instantiate(binary, {});
  const memory = instance.exports["memory"] as Memory;
  let next = memory.buffer.byteLength;
  return {
    call: instance.exports as GuestModule["call"],
    bytes: () => new Uint8Array(memory.buffer),
    view: () => new DataView(memory.buffer),
    alloc: (size) => {
      const address = next;
      next = Math.ceil((address + size) / PAGE) * PAGE;
      const missing = next - memory.buffer.byteLength;
      if (missing > 0) memory.grow(Math.ceil(missing / 65536));
      return address;
    },
  };
}
