/** Messages of traps, and the handler that gets them. */
import type { TrapCall } from "./codegen.ts";
import { type SourcePlace, WasmRefusal } from "./diagnostics.ts";
import type { TrapReason } from "./ir.ts";
import type { DataUnit } from "./object.ts";
import type { Body } from "./wasm.ts";

const MESSAGES = "zpoline.traps";

/** Collects the messages of a module's traps: NUL-terminated text, the same one once. */
export class Traps {
  readonly handler: string;
  readonly #place: (at: number) => SourcePlace | undefined;
  readonly #bodies: readonly Body[];
  /** Functions that the handler runs: a trap of theirs must not call it again. */
  readonly #quiet: ReadonlySet<string>;
  readonly #offsets = new Map<string, number>();
  readonly #bytes: number[] = [];

  /** `bodies`: of the module's functions. `calls`: the names that each function calls. */
  constructor(
    handler: string,
    place: (at: number) => SourcePlace | undefined,
    bodies: readonly Body[],
    calls: ReadonlyMap<string, readonly { readonly name: string }[]>,
  ) {
    if (!calls.has(handler))
      throw new WasmRefusal(
        `no function "${handler}" is exported, which traps are to call`,
        0,
        `export function ${handler}(message: usize): void from the entry module; std/trap has one`,
      );
    this.handler = handler;
    this.#place = place;
    this.#bodies = bodies;
    const quiet = new Set([handler]);
    for (const name of quiet) for (const callee of calls.get(name) ?? []) quiet.add(callee.name);
    this.#quiet = quiet;
  }

  /** What a trap in `func` does. */
  call(func: string, reason: TrapReason, at: number): TrapCall | undefined {
    if (this.#quiet.has(func)) return undefined;
    const place = this.#userPlace(at);
    const text = place === undefined ? `${reason} in ${func}` : `${reason} at ${place.file}:${place.line}`;
    let offset = this.#offsets.get(text);
    if (offset === undefined) {
      offset = this.#bytes.length;
      this.#offsets.set(text, offset);
      this.#bytes.push(...new TextEncoder().encode(text), 0);
    }
    return { handler: this.handler, message: { symbol: MESSAGES, disp: offset } };
  }

  /** The place of the trap, or the last one of the user's before it where asc's library was inlined (checked indexes). */
  #userPlace(at: number): SourcePlace | undefined {
    const start = this.#bodies.find((body) => body.start <= at && at < body.end)?.start ?? at;
    for (let offset = at; offset >= start; offset--) {
      const place = this.#place(offset);
      if (place?.file.startsWith("~lib/") === false) return place;
    }
    return this.#place(at);
  }

  unit(): DataUnit | undefined {
    const bytes = Uint8Array.from(this.#bytes);
    if (bytes.length === 0) return undefined;
    return { name: MESSAGES, bytes, size: bytes.length, align: 1, writable: false, relocs: [] };
  }
}
