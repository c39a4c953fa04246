/** The guest compiler: guest TypeScript (by way of asc and WebAssembly) to an object for the linker. */
import path from "node:path";
import { runAsc } from "./asc.ts";
import { CompileError, type SourcePlace, WasmRefusal } from "./diagnostics.ts";
import { type CompiledModule, compileModule, type Entry, type WasmOptions } from "./module.ts";
import type { ObjectFile } from "./object.ts";
import { SourceMap } from "./sourcemap.ts";
import { decodeModule } from "./wasm.ts";

export type { Entry } from "./module.ts";

export interface GuestOptions {
  /** Path of the entry module. Its exported functions become global symbols with the System V ABI. */
  readonly entry: string;
  /** Directory below which all modules lie, and to which places in messages are relative; by default the working directory. */
  readonly root?: string;
  /** Most bytes of stack that an exported function may take; by default there is no bound. */
  readonly maxStack?: number;
}

export interface CompiledGuest {
  readonly object: ObjectFile;
  readonly entries: readonly Entry[];
}

/** Two places for static data: equal in length as LEB128, and different in all bits that alignment leaves. */
const FIRST_BASE = 0x50001230;
const SECOND_BASE = 0x60002460;

/** Runs the module compiler; refusals get their source place. */
export function compileWasm(wasm: Uint8Array, options: WasmOptions = {}): CompiledModule {
  try {
    return compileModule(wasm, options);
  } catch (error) {
    if (!(error instanceof WasmRefusal)) throw error;
    const place = options.place?.(error.offset);
    throw new CompileError([
      {
        message: error.message,
        ...(error.fix === undefined ? {} : { fix: error.fix }),
        ...(place === undefined ? {} : { place }),
      },
    ]);
  }
}

/** Refuses code that runs by itself at start-up: nothing would run it. */
function refuseStart(wasm: Uint8Array, place: (offset: number) => SourcePlace | undefined): void {
  const module = decodeModule(wasm);
  if (module.start === undefined) return;
  const body = module.bodies[module.start - module.imports.length];
  const at = body === undefined ? undefined : place(body.start + 1);
  throw new CompileError([
    {
      message: "a statement at module level, or a global whose first value is not a constant",
      fix: "set it in a function",
      ...(at === undefined ? {} : { place: at }),
    },
  ]);
}

/**
 * Compiles guest code.
 * @throws CompileError GUEST_SYNTAX (asc does not accept the program), GUEST_REFUSED (the compiler does not), with the
 * file, line and column where they are known.
 */
export async function compileGuest({ entry, root = process.cwd(), maxStack }: GuestOptions): Promise<CompiledGuest> {
  const relative = path.relative(root, path.resolve(entry));
  const input = { entry: relative, root: path.resolve(root) };
  const first = await runAsc({ ...input, memoryBase: FIRST_BASE });
  const second = await runAsc({ ...input, memoryBase: SECOND_BASE });
  const map = new SourceMap(first.sourceMap);
  const place = (offset: number): SourcePlace | undefined => map.lookup(offset);
  refuseStart(first.wasm, place);
  const { object, entries } = compileWasm(first.wasm, {
    twin: { wasm: second.wasm, distance: BigInt(SECOND_BASE - FIRST_BASE) },
    data: { base: BigInt(FIRST_BASE), end: first.dataEnd },
    place,
  });
  const tooDeep = entries.filter(
    (item) => maxStack !== undefined && item.maxStack !== undefined && item.maxStack > maxStack,
  );
  if (tooDeep.length > 0)
    throw new CompileError(
      tooDeep.map((item) => ({
        message: `"${item.name}" needs ${item.maxStack} bytes of stack; ${maxStack} are allowed`,
        fix: "keep large arrays in static memory, and fewer values across calls",
      })),
    );
  return { object, entries };
}
