/** The guest compiler: guest TypeScript (by way of asc and WebAssembly) to an object for the linker. */
import path from "node:path";
import { runAsc } from "./asc.ts";
import { CompileError, type Diagnostic, type Note, type SourcePlace, WasmRefusal } from "./diagnostics.ts";
import { type CompiledModule, compileModule, type Entry, type WasmOptions } from "./module.ts";
import type { ObjectFile } from "./object.ts";
import type { Early } from "./refusals.ts";
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
  /**
   * What a trap (division by zero, unreachable code, …) does: "abort", the default, raises SIGILL or SIGFPE; otherwise
   * the name of an exported function that gets the address of a message, NUL-terminated, and must not return.
   */
  readonly onTrap?: "abort" | (string & {});
}

export interface CompiledGuest {
  readonly object: ObjectFile;
  readonly entries: readonly Entry[];
}

/** Two places for static data: equal in length as LEB128, multiples of its alignment, and different in other low bits. */
const FIRST_BASE = 0x50001240;
const SECOND_BASE = 0x60002480;

/** Runs the module compiler; refusals get their source place. */
export function compileWasm(wasm: Uint8Array, options: WasmOptions = {}): CompiledModule {
  try {
    return compileModule(wasm, options);
  } catch (error) {
    if (!(error instanceof WasmRefusal)) throw error;
    const located = (message: string, offset: number): Note => {
      const place = options.place?.(offset);
      return place === undefined ? { message } : { message, place };
    };
    throw new CompileError([
      {
        ...located(error.message, error.offset),
        ...(error.fix === undefined ? {} : { fix: error.fix }),
        ...(error.notes.length === 0 ? {} : { notes: error.notes.map((note) => located(note.message, note.offset)) }),
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

/** A refusal in asc's library is shown where the user's code calls it. */
function inUserFiles<T>(early: Early, compile: () => T): T {
  try {
    return compile();
  } catch (error) {
    if (!(error instanceof CompileError)) throw error;
    throw new CompileError(
      error.diagnostics.flatMap((diagnostic): Diagnostic[] => {
        const { place } = diagnostic;
        if (place?.file.startsWith("~lib/") !== true) return [diagnostic];
        const callers = early.userPlaces(place).map((caller) => ({ ...diagnostic, place: caller }));
        return callers.length > 0 ? callers : [diagnostic];
      }),
      error.code,
    );
  }
}

/** Refuses entries that need more than `maxStack` bytes of stack. */
function refuseDepth({ object, entries }: CompiledGuest, maxStack: number): void {
  const declared = new Map(object.code.map((unit) => [unit.name, unit.lines?.[0]]));
  const located = (message: string, name: string): Note => {
    const place = declared.get(name);
    return place === undefined ? { message } : { message, place };
  };
  const tooDeep = entries.filter((entry) => entry.maxStack !== undefined && entry.maxStack > maxStack);
  if (tooDeep.length === 0) return;
  throw new CompileError(
    tooDeep.map((entry) => ({
      ...located(
        `"${entry.name}" needs ${entry.maxStack} bytes of stack; ${maxStack} are allowed`,
        entry.deepest[0]!.name,
      ),
      fix: "keep fewer values across calls, split the deepest function of the chain, or use static memory",
      notes: entry.deepest.map(({ name, bytes }) => located(`${name}: ${bytes} bytes`, name)),
    })),
  );
}

/**
 * Compiles guest code.
 * @throws CompileError GUEST_SYNTAX (asc does not accept the program), GUEST_REFUSED (the compiler does not), with the
 * file, line and column where they are known.
 */
export async function compileGuest({
  entry,
  root = process.cwd(),
  maxStack,
  onTrap = "abort",
}: GuestOptions): Promise<CompiledGuest> {
  const relative = path.relative(root, path.resolve(entry));
  const input = { entry: relative, root: path.resolve(root) };
  const first = await runAsc({ ...input, memoryBase: FIRST_BASE });
  const second = await runAsc({ ...input, memoryBase: SECOND_BASE });
  const map = new SourceMap(first.sourceMap);
  const place = (offset: number): SourcePlace | undefined => map.lookup(offset);
  refuseStart(first.wasm, place);
  const { object, entries } = inUserFiles(first.early, () =>
    compileWasm(first.wasm, {
      twin: { wasm: second.wasm, distance: BigInt(SECOND_BASE - FIRST_BASE) },
      data: { base: BigInt(FIRST_BASE), end: first.dataEnd },
      place,
      onTrap,
      debug: first.debug,
    }),
  );
  if (maxStack !== undefined) refuseDepth({ object, entries }, maxStack);
  return { object, entries };
}
