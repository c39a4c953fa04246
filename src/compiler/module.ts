/** One WebAssembly module to one object: symbols, functions, globals, tables, static data. */
import { type Callee, callees, deepestChain, maxStacks } from "./callgraph.ts";
import { generate } from "./codegen.ts";
import type { DebugFunction, DebugProgram } from "./debug-program.ts";
import { type SourcePlace, WasmRefusal } from "./diagnostics.ts";
import type { Func, Value } from "./ir.ts";
import { type GlobalUse, intType, lowerFunction, type ModuleContext } from "./lower.ts";
import type { CodeUnit, DataUnit, ObjectFile, Reloc } from "./object.ts";
import { optimise } from "./opt.ts";
import { allocate } from "./regalloc.ts";
import { helpersFor } from "./runtime.ts";
import { select } from "./select.ts";
import { splitAtFrame } from "./shrink.ts";
import { Traps } from "./traps.ts";
import { dataImage, findAddresses, findPointers } from "./twin.ts";
import type { Declared, DeclaredVariables } from "./variables.ts";
import { decodeBody, decodeModule, type FuncType, type WasmModule } from "./wasm.ts";

export interface WasmOptions {
  /**
   * Where the module's address 0 lies (a multiple of the page size); static data is then not part of the object. Not
   * given: memory is the address space, and static data is position independent.
   */
  readonly memoryBase?: bigint;
  /** The same program, with static data `distance` further on; needed for static data. */
  readonly twin?: { readonly wasm: Uint8Array; readonly distance: bigint };
  /** Static data of the (first) module: from base to end. */
  readonly data?: { readonly base: bigint; readonly end: bigint };
  /** Source place of an offset in the module. */
  readonly place?: (offset: number) => SourcePlace | undefined;
  /**
   * What a trap does: "abort" (or not given) raises SIGILL, or SIGFPE for a division; otherwise the exported function
   * of that name is called with the address of a message, and must not return.
   */
  readonly onTrap?: "abort" | (string & {});
  /** What debuggers are told. */
  readonly debug?: DebugProgram;
  /** Bytes of linear memory; an access beyond them traps. Unlimited if not given. */
  readonly memoryLimit?: bigint;
  /** Recursion is accepted; the stack bound is then unknown. */
  readonly allowRecursion?: boolean;
}

export interface Entry {
  readonly name: string;
  /** Most bytes of stack below its return address; foreign functions that it calls are not included. */
  readonly maxStack: number | undefined;
  /** The functions that take the stack, itself first, each with the bytes of its own frame and return address. */
  readonly deepest: readonly { readonly name: string; readonly bytes: number }[];
}

export interface CompiledModule {
  readonly object: ObjectFile;
  readonly entries: readonly Entry[];
  readonly module: WasmModule;
}

const DATA = "zpoline.data";
const GLOBALS = "zpoline.globals";
const STRINGS = "zpoline.strings";
const ENTRY_SIZE = 16;
/** The greatest alignment that static data can ask for: a cache line. */
const DATA_ALIGNMENT = 64;

/** Gives every name out once. */
class Names {
  readonly #taken = new Set<string>();

  take(wanted: string): string {
    let name = wanted;
    for (let i = 1; this.#taken.has(name); i++) name = `${wanted}.${i}`;
    this.#taken.add(name);
    return name;
  }
}

const sameType = (a: FuncType, b: FuncType): boolean =>
  a.params.join() === b.params.join() && a.results.join() === b.results.join();

class ModuleCompiler {
  readonly #module: WasmModule;
  readonly #options: WasmOptions;
  readonly #symbols: string[];
  readonly #exported = new Map<number, string[]>();
  readonly #addresses: ReadonlySet<number>;
  readonly #image: Uint8Array;
  readonly #pointers: readonly number[];
  readonly #strings = new Map<string, number>();
  readonly #stringBytes: number[] = [];

  constructor(wasm: Uint8Array, options: WasmOptions) {
    this.#module = decodeModule(wasm);
    this.#options = options;
    const { data, twin } = options;
    this.#image = data === undefined ? new Uint8Array() : dataImage(this.#module, data.base, data.end);
    if (data !== undefined && twin !== undefined) {
      const second = decodeModule(twin.wasm);
      this.#addresses = findAddresses(this.#module, second, twin.distance);
      const moved = dataImage(second, data.base + twin.distance, data.end + twin.distance);
      this.#pointers = findPointers(this.#image, moved, twin.distance);
    } else {
      this.#addresses = new Set();
      this.#pointers = [];
    }
    this.#symbols = this.#nameFunctions();
  }

  #nameFunctions(): string[] {
    const { exports, imports, functions, functionNames } = this.#module;
    const names = new Names();
    for (const name of [DATA, GLOBALS, STRINGS]) names.take(name);
    for (const { kind, name, index } of exports) {
      if (kind !== "func") continue;
      const list = this.#exported.get(index);
      if (list === undefined) this.#exported.set(index, [names.take(name)]);
      else list.push(names.take(name));
    }
    return Array.from({ length: imports.length + functions.length }, (_, index) => {
      return this.#exported.get(index)?.[0] ?? names.take(functionNames.get(index) ?? `function${index}`);
    });
  }

  /** The symbol that traps call. */
  get #handler(): string | undefined {
    const { onTrap } = this.#options;
    return onTrap === "abort" ? undefined : onTrap;
  }

  #refuse(at: number, message: string, fix?: string): never {
    throw new WasmRefusal(message, at, fix);
  }

  // ── What functions see of the module ─────────────────────────────────────────────────────────────────────────────

  #globalName(index: number): string {
    const exported = this.#module.exports.find((e) => e.kind === "global" && e.index === index);
    return exported?.name ?? `${GLOBALS}.${this.#module.globalNames.get(index) ?? index}`;
  }

  #global(index: number): GlobalUse {
    const { importedGlobals, globals } = this.#module;
    const imported = importedGlobals[index];
    if (imported !== undefined)
      this.#refuse(0, `the imported global "${imported.module}" "${imported.name}" does not exist`);
    const { type, mutable, init } = globals[index - importedGlobals.length]!;
    const width = intType(type, init.offset);
    if (mutable) return { kind: "variable", type: width, symbol: this.#globalName(index) };
    if (init.kind === "global") return this.#global(init.index);
    if (init.kind !== "const") this.#refuse(init.offset, "a global that holds a reference");
    if (this.#addresses.has(init.offset)) return { kind: "address", ...this.#address(init.value) };
    return { kind: "constant", type: width, value: init.value };
  }

  #address(value: bigint): { symbol: string; addend: bigint } {
    return { symbol: DATA, addend: value - this.#options.data!.base };
  }

  /** The NUL-terminated UTF-8 copy of the string object (UTF-16; its length in bytes lies 4 before it) at `addend`. */
  #cstring(at: number, addend: bigint): number {
    const start = Number(addend);
    const view = new DataView(this.#image.buffer);
    if (start < 4 || start > this.#image.length) this.#refuse(at, "the argument of cstr() is not a string literal");
    const length = view.getUint32(start - 4, true);
    const text = new TextDecoder("utf-16le").decode(this.#image.subarray(start, start + length));
    if (text.includes("\0")) this.#refuse(at, "the argument of cstr() contains a NUL", "end the literal before it");
    let offset = this.#strings.get(text);
    if (offset === undefined) {
      offset = this.#stringBytes.length;
      this.#strings.set(text, offset);
      this.#stringBytes.push(...new TextEncoder().encode(text), 0);
    }
    return offset;
  }

  #context(): ModuleContext {
    return {
      module: this.#module,
      memoryBase: this.#options.memoryBase ?? 0n,
      explicitTraps: this.#handler !== undefined,
      memoryLimit: this.#options.memoryLimit,
      functionSymbol: (index) => this.#symbols[index]!,
      isExported: (index) => this.#exported.has(index),
      global: (index) => this.#global(index),
      address: (instr) => (this.#addresses.has(instr.at) ? this.#address(instr.value!) : undefined),
      cstring: (at, addend) => ({ symbol: STRINGS, addend: BigInt(this.#cstring(at, addend)) }),
      typeNumber: (index) => this.#typeNumber(index),
    };
  }

  /** Equal types have one number. */
  #typeNumber(index: number): number {
    const { types } = this.#module;
    return types.findIndex((type) => sameType(type, types[index]!));
  }

  // ── Data ─────────────────────────────────────────────────────────────────────────────────────────────────────────

  #globalsUnit(): DataUnit | undefined {
    const { globals, importedGlobals } = this.#module;
    const marks: Record<string, number> = {};
    const relocs: Reloc[] = [];
    const values: bigint[] = [];
    const variables: { name: string; type: string; offset: number }[] = [];
    globals.forEach(({ type, mutable, init }, i) => {
      if (!mutable || (type !== 0x7f && type !== 0x7e)) return;
      const at = 8 * values.length;
      marks[this.#globalName(i + importedGlobals.length)] = at;
      const declared = this.#options.debug?.globals.get(this.#module.globalNames.get(i + importedGlobals.length) ?? "");
      if (declared !== undefined) variables.push({ ...declared, offset: at });
      const value = init.kind === "const" ? init.value : 0n;
      const use = init.kind === "global" ? this.#global(init.index) : undefined;
      if (use?.kind === "constant") values.push(use.value);
      else if (init.kind === "const" && this.#addresses.has(init.offset)) {
        const { symbol, addend } = this.#address(value);
        relocs.push({ at, kind: "abs64", symbol, addend: Number(addend) });
        values.push(0n);
      } else values.push(BigInt.asUintN(type === 0x7f ? 32 : 64, value));
    });
    if (values.length === 0) return undefined;
    const bytes = new Uint8Array(8 * values.length);
    const view = new DataView(bytes.buffer);
    values.forEach((value, i) => {
      view.setBigUint64(8 * i, value & 0xffffffffffffffffn, true);
    });
    return { name: GLOBALS, bytes, size: bytes.length, align: 8, writable: true, relocs, marks, variables };
  }

  /** Trailing zeros are left to the linker. */
  #dataUnit(): DataUnit | undefined {
    const image = this.#image;
    if (image.length === 0) return undefined;
    const bytes = image.slice(0, image.findLastIndex((byte) => byte !== 0) + 1);
    const relocs = this.#pointers.map((at): Reloc => {
      const { symbol, addend } = this.#address(new DataView(image.buffer).getBigUint64(at, true));
      return { at, kind: "abs64", symbol, addend: Number(addend) };
    });
    for (const at of this.#pointers) bytes.fill(0, at, at + 8);
    return { name: DATA, bytes, size: image.length, align: DATA_ALIGNMENT, writable: true, relocs };
  }

  #stringUnit(): DataUnit | undefined {
    const bytes = Uint8Array.from(this.#stringBytes);
    if (bytes.length === 0) return undefined;
    return { name: STRINGS, bytes, size: bytes.length, align: 1, writable: false, relocs: [] };
  }

  /** Function indexes of the entries of a table; undefined where there is none. */
  #tableEntries(number: number): (number | undefined)[] {
    const { tables, elements } = this.#module;
    const entries = new Array<number | undefined>(Number(tables[number]!.min)).fill(undefined);
    for (const { table, at, items } of elements) {
      if (table !== number || at?.kind !== "const") continue;
      items.forEach((item, i) => {
        if (item.kind === "func" && Number(at.value) + i < entries.length) entries[Number(at.value) + i] = item.index;
      });
    }
    return entries;
  }

  /** Table layout: u64 number of entries, 8 bytes of nothing, then for each u64 address, u64 type number + 1. */
  #tableUnit(number: number): DataUnit {
    const entries = this.#tableEntries(number);
    const bytes = new Uint8Array(ENTRY_SIZE * (entries.length + 1));
    const view = new DataView(bytes.buffer);
    view.setBigUint64(0, BigInt(entries.length), true);
    const relocs: Reloc[] = [];
    entries.forEach((index, i) => {
      const defined = index === undefined ? -1 : index - this.#module.imports.length;
      if (defined < 0) return;
      const at = ENTRY_SIZE * (i + 1);
      relocs.push({ at, kind: "abs64", symbol: this.#symbols[index!]!, addend: 0 });
      view.setBigUint64(at + 8, BigInt(this.#typeNumber(this.#module.functions[defined]!) + 1), true);
    });
    return { name: `table${number}`, bytes, size: bytes.length, align: 16, writable: false, relocs };
  }

  // ── Functions ────────────────────────────────────────────────────────────────────────────────────────────────────

  /** The functions that exports and tables reach, by name. */
  #functions(): { funcs: Map<string, Func>; calls: Map<string, Callee[]> } {
    const context = this.#context();
    const { imports, start } = this.#module;
    const byName = new Map(this.#symbols.map((name, index) => [name, index]));
    const tabled = this.#module.tables.flatMap((_, i) => this.#tableEntries(i)).filter((index) => index !== undefined);
    const inTable = (call: Value): string[] =>
      tabled
        .filter((index) => index >= imports.length && this.#typeOf(index) + 1 === Number(call.imm))
        .map((index) => this.#symbols[index]!);
    const funcs = new Map<string, Func>();
    const calls = new Map<string, Callee[]>();
    const work = [...this.#exported.keys(), ...tabled, ...(start === undefined ? [] : [start])].filter(
      (index) => index >= imports.length,
    );
    for (let index = work.shift(); index !== undefined; index = work.shift()) {
      const name = this.#symbols[index]!;
      if (funcs.has(name)) continue;
      const func = lowerFunction(
        context,
        index,
        this.#variables(index).map(({ local }) => local),
      );
      optimise(func);
      funcs.set(name, func);
      const called = callees(func, inTable);
      calls.set(name, called);
      work.push(...called.map((callee) => byName.get(callee.name)!));
    }
    const order = [...funcs].sort(([a], [b]) => byName.get(a)! - byName.get(b)!);
    return { funcs: new Map(order), calls };
  }

  #typeOf(index: number): number {
    return this.#typeNumber(this.#module.functions[index - this.#module.imports.length]!);
  }

  run(): CompiledModule {
    const place = this.#options.place ?? (() => undefined);
    const { funcs, calls } = this.#functions();
    const handler = this.#handler;
    const traps = handler === undefined ? undefined : new Traps(handler, place, this.#module.bodies, calls);
    const tables: DataUnit[] = [];
    const code: CodeUnit[] = [];
    const frames = new Map<string, number>();
    for (const [name, func] of funcs) {
      const machine = select(func);
      const callsOut = machine.blocks.some((block) => block.insts.some((inst) => inst.op === "call"));
      splitAtFrame(machine);
      allocate(machine);
      const declared = this.#options.debug === undefined ? [] : this.#variables(this.#symbols.indexOf(name));
      const variables: DeclaredVariables = { declared, widths: func.params };
      const generated = generate(machine, { place, variables, trap: (reason, at) => traps?.call(name, reason, at) });
      const { trapAt } = generated;
      if (trapAt !== undefined) calls.get(name)!.push({ name: traps!.handler, at: trapAt });
      code.push(generated.code);
      tables.push(...generated.tables);
      frames.set(name, generated.frame + (callsOut && calls.get(name)!.length === 0 ? 8 : 0));
    }
    const stacks = this.#options.allowRecursion === true ? new Map<string, number>() : maxStacks(calls, frames);
    const units = code.map((unit) => this.#finish(unit, stacks.get(unit.name)));
    const data = [
      ...this.#module.tables.map((_, i) => this.#tableUnit(i)),
      ...tables,
      this.#stringUnit(),
      traps?.unit(),
      this.#globalsUnit(),
      this.#dataUnit(),
    ].filter((unit) => unit !== undefined);
    const entries = [...this.#exported]
      .filter(([index]) => index >= this.#module.imports.length)
      .flatMap(([index, names]) => {
        const symbol = this.#symbols[index]!;
        const maxStack = stacks.get(symbol);
        const chain = maxStack === undefined ? [] : deepestChain(symbol, calls, stacks);
        const deepest = chain.map((name, i) => ({ name, bytes: frames.get(name)! + (i === 0 ? 0 : 8) }));
        return names.map((name) => ({ name, maxStack, deepest }));
      });
    return {
      object: {
        code: [...units, ...helpersFor(units)],
        data,
        ...(this.#options.debug === undefined ? {} : { types: this.#options.debug.types }),
      },
      entries,
      module: this.#module,
    };
  }

  /** The named locals of a function that Binaryen has kept. */
  #variables(index: number): (Declared & { readonly local: number })[] {
    const declared = this.#declared(this.#symbols[index]!)?.variables;
    if (declared === undefined) return [];
    const defined = index - this.#module.imports.length;
    const parameters = this.#module.types[this.#module.functions[defined]!]!.params.length;
    const code = decodeBody(this.#module, this.#module.bodies[defined]!);
    const assigned = new Set(code.filter(({ op }) => op === 0x21 || op === 0x22).map((instr) => instr.index!));
    return [...(this.#module.localNames.get(index) ?? [])].flatMap(([local, name]) => {
      const variable = declared.get(Number(name));
      if (variable === undefined) return [];
      return [{ local, ...variable, ...(local < parameters && !assigned.has(local) ? { fixed: local } : {}) }];
    });
  }

  #declared(symbol: string): DebugFunction | undefined {
    const name = this.#module.functionNames.get(this.#symbols.indexOf(symbol));
    return name === undefined ? undefined : this.#options.debug?.functions.get(name);
  }

  /** Adds what only the module knows: other names of an exported function, and the stack bound. */
  #finish(unit: CodeUnit, maxStack: number | undefined): CodeUnit {
    const aliases = [...this.#exported.values()].find(([first]) => first === unit.name)?.slice(1) ?? [];
    const result = this.#declared(unit.name)?.result;
    return {
      ...unit,
      ...(result === undefined ? {} : { result }),
      marks: { ...unit.marks, ...Object.fromEntries(aliases.map((alias) => [alias, 0])) },
      ...(maxStack === undefined ? {} : { maxStack }),
    };
  }
}

/** Compiles a WebAssembly module. Throws `WasmRefusal` (with an offset in the module). */
export const compileModule = (wasm: Uint8Array, options: WasmOptions = {}): CompiledModule =>
  new ModuleCompiler(wasm, options).run();
