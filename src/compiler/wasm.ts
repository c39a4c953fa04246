/**
 * Decoder of WebAssembly binaries (core specification 2.0, section 5, with 64-bit memories and threads). Sections and
 * instructions are decoded as they stand; what the compiler does not support is refused where it is used.
 */
import { WasmRefusal } from "./diagnostics.ts";

/** Value types by their byte: 7f i32, 7e i64, 7d f32, 7c f64, 7b v128, 70 funcref, 6f externref. */
export const I32 = 0x7f;
export const I64 = 0x7e;

export interface FuncType {
  readonly params: readonly number[];
  readonly results: readonly number[];
}

export interface FuncImport {
  readonly module: string;
  readonly name: string;
  readonly type: number;
}

/** A constant expression: an integer, the value of a global, or the address of a function. */
export type Init =
  | { readonly kind: "const"; readonly type: number; readonly value: bigint; readonly offset: number }
  | { readonly kind: "global"; readonly index: number; readonly offset: number }
  | { readonly kind: "func"; readonly index: number | undefined; readonly offset: number };

export interface GlobalType {
  readonly type: number;
  readonly mutable: boolean;
}
export interface Global extends GlobalType {
  readonly init: Init;
}

export interface Export {
  readonly name: string;
  readonly kind: "func" | "table" | "memory" | "global" | "tag";
  readonly index: number;
}

export interface Segment {
  /** Undefined for a passive segment. */
  readonly at: Init | undefined;
  readonly bytes: Uint8Array;
}

export interface ElementSegment {
  readonly table: number;
  /** Undefined for a passive or declarative segment. */
  readonly at: Init | undefined;
  readonly items: readonly Init[];
}

export interface Limits {
  readonly min: bigint;
  readonly max: bigint | undefined;
  readonly is64: boolean;
}

/** A function's code: bytes [start, end) of the module. */
export interface Body {
  readonly start: number;
  readonly end: number;
  /** Types of the declared locals (parameters not included). */
  readonly locals: readonly number[];
}

/** An instruction; which fields are set depends on `op`. */
export interface Instr {
  /** Opcode; two-byte ones are prefix << 8 | number. */
  readonly op: number;
  /** Offset in the module. */
  readonly at: number;
  /** Label, local, global, function, type or table index. */
  readonly index?: number;
  /** Second index (the table of call_indirect). */
  readonly index2?: number;
  /** Constant, sign-extended; or memory offset. */
  readonly value?: bigint;
  /** Targets of br_table, the default last. */
  readonly targets?: readonly number[];
  /** Type of a block. */
  readonly block?: FuncType;
}

export interface WasmModule {
  readonly bytes: Uint8Array;
  readonly types: readonly FuncType[];
  readonly imports: readonly FuncImport[];
  readonly importedGlobals: readonly (GlobalType & { readonly module: string; readonly name: string })[];
  /** Imported memories and tables: they count in the index spaces but nothing is known of them. */
  readonly importsMemory: boolean;
  readonly importsTable: boolean;
  /** Type index of each defined function. */
  readonly functions: readonly number[];
  readonly bodies: readonly Body[];
  readonly tables: readonly Limits[];
  readonly memories: readonly Limits[];
  readonly globals: readonly Global[];
  readonly exports: readonly Export[];
  readonly start: number | undefined;
  readonly elements: readonly ElementSegment[];
  readonly data: readonly Segment[];
  /** Names of the functions, by function index (imports first), from the name section. */
  readonly functionNames: ReadonlyMap<number, string>;
  readonly globalNames: ReadonlyMap<number, string>;
  /** By function, then by local (parameters included). */
  readonly localNames: ReadonlyMap<number, ReadonlyMap<number, string>>;
}

const EXPORT_KINDS = ["func", "table", "memory", "global", "tag"] as const;

class Reader {
  readonly bytes: Uint8Array;
  at: number;
  readonly end: number;

  constructor(bytes: Uint8Array, at = 0, end = bytes.length) {
    this.bytes = bytes;
    this.at = at;
    this.end = end;
  }

  u8(): number {
    if (this.at >= this.end) throw new WasmRefusal("the WebAssembly module is cut short", this.at);
    return this.bytes[this.at++]!;
  }

  /** An unsigned LEB128 number below 2^53. */
  u(): number {
    return Number(this.u64());
  }

  u64(): bigint {
    let result = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = this.u8();
      result |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return result;
    }
  }

  s64(): bigint {
    let result = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = this.u8();
      result |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return BigInt.asIntN(Number(shift) + 7, result);
    }
  }

  take(length: number): Uint8Array {
    const bytes = this.bytes.subarray(this.at, this.at + length);
    this.at += length;
    return bytes;
  }

  name(): string {
    return new TextDecoder().decode(this.take(this.u()));
  }

  list<T>(read: () => T): T[] {
    return Array.from({ length: this.u() }, read);
  }

  sub(length: number): Reader {
    const reader = new Reader(this.bytes, this.at, this.at + length);
    this.at += length;
    return reader;
  }
}

function readLimits(r: Reader): Limits {
  const flags = r.u8();
  const min = r.u64();
  return { min, max: flags & 1 ? r.u64() : undefined, is64: (flags & 4) !== 0 };
}

function readInit(r: Reader): Init {
  const offset = r.at;
  const op = r.u8();
  const init = ((): Init => {
    switch (op) {
      case 0x41:
      case 0x42:
        return { kind: "const", type: op === 0x41 ? I32 : I64, value: r.s64(), offset };
      case 0x43:
      case 0x44: {
        const bytes = r.take(op === 0x43 ? 4 : 8);
        const value = bytes.reduceRight((sum, byte) => (sum << 8n) | BigInt(byte), 0n);
        return { kind: "const", type: op === 0x43 ? 0x7d : 0x7c, value, offset };
      }
      case 0x23:
        return { kind: "global", index: r.u(), offset };
      case 0xd0:
        r.u8();
        return { kind: "func", index: undefined, offset };
      case 0xd2:
        return { kind: "func", index: r.u(), offset };
      default:
        throw new WasmRefusal(`constant expression with opcode 0x${op.toString(16)}`, offset);
    }
  })();
  if (r.u8() !== 0x0b) throw new WasmRefusal("a constant expression of more than one instruction", offset);
  return init;
}

function readElement(r: Reader): ElementSegment {
  const flags = r.u();
  const active = (flags & 1) === 0;
  const table = active && flags & 2 ? r.u() : 0;
  const at = active ? readInit(r) : undefined;
  if (flags & 3) r.u8();
  const offset = r.at;
  const items = flags & 4 ? r.list(() => readInit(r)) : r.list((): Init => ({ kind: "func", index: r.u(), offset }));
  return { table, at, items };
}

function readData(r: Reader): Segment {
  const flags = r.u();
  if (flags === 2) r.u();
  const at = flags === 1 ? undefined : readInit(r);
  return { at, bytes: r.take(r.u()).slice() };
}

function readBody(r: Reader): Body {
  const size = r.u();
  const end = r.at + size;
  const locals = r.list(() => [r.u(), r.u8()] as const).flatMap(([count, type]) => new Array<number>(count).fill(type));
  const body = { start: r.at, end, locals };
  r.at = end;
  return body;
}

function readNames(
  r: Reader,
  functions: Map<number, string>,
  globals: Map<number, string>,
  locals: Map<number, Map<number, string>>,
): void {
  const readMap = (s: Reader, map: Map<number, string>): unknown => s.list(() => map.set(s.u(), s.name()));
  while (r.at < r.end) {
    const kind = r.u8();
    const section = r.sub(r.u());
    const map = kind === 1 ? functions : kind === 7 ? globals : undefined;
    if (map !== undefined) readMap(section, map);
    else if (kind === 2)
      section.list(() => {
        const own = new Map<number, string>();
        locals.set(section.u(), own);
        readMap(section, own);
      });
  }
}

/** Decodes the sections of a module; function bodies are left to `decodeBody`. */
export function decodeModule(bytes: Uint8Array): WasmModule {
  const r = new Reader(bytes);
  if (String.fromCharCode(...r.take(4)) !== "\0asm") throw new WasmRefusal("not a WebAssembly module", 0);
  r.take(4);
  const functionNames = new Map<number, string>();
  const globalNames = new Map<number, string>();
  const localNames = new Map<number, Map<number, string>>();
  const imports: FuncImport[] = [];
  const importedGlobals: (GlobalType & { module: string; name: string })[] = [];
  let importsMemory = false;
  let importsTable = false;
  let types: FuncType[] = [];
  let functions: number[] = [];
  let bodies: Body[] = [];
  let tables: Limits[] = [];
  let memories: Limits[] = [];
  let globals: Global[] = [];
  let exports: Export[] = [];
  let start: number | undefined;
  let elements: ElementSegment[] = [];
  let data: Segment[] = [];
  const readImport = (s: Reader): void => {
    const module = s.name();
    const name = s.name();
    const kind = s.u8();
    if (kind === 0) imports.push({ module, name, type: s.u() });
    else if (kind === 1) {
      s.u8();
      tables.push(readLimits(s));
      importsTable = true;
    } else if (kind === 2) {
      memories.push(readLimits(s));
      importsMemory = true;
    } else if (kind === 3) importedGlobals.push({ module, name, type: s.u8(), mutable: s.u8() === 1 });
    else throw new WasmRefusal(`import of kind ${kind}`, s.at);
  };
  while (r.at < bytes.length) {
    const id = r.u8();
    const s = r.sub(r.u());
    if (id === 0) {
      if (s.name() === "name") readNames(s, functionNames, globalNames, localNames);
    } else if (id === 1)
      types = s.list(() => {
        s.u8();
        return { params: s.list(() => s.u8()), results: s.list(() => s.u8()) };
      });
    else if (id === 2) s.list(() => readImport(s));
    else if (id === 3) functions = s.list(() => s.u());
    else if (id === 4)
      tables = tables.concat(
        s.list(() => {
          s.u8();
          return readLimits(s);
        }),
      );
    else if (id === 5) memories = memories.concat(s.list(() => readLimits(s)));
    else if (id === 6) globals = s.list(() => ({ type: s.u8(), mutable: s.u8() === 1, init: readInit(s) }));
    else if (id === 7) exports = s.list(() => ({ name: s.name(), kind: EXPORT_KINDS[s.u8()]!, index: s.u() }));
    else if (id === 8) start = s.u();
    else if (id === 9) elements = s.list(() => readElement(s));
    else if (id === 10) bodies = s.list(() => readBody(s));
    else if (id === 11) data = s.list(() => readData(s));
  }
  return {
    bytes,
    types,
    imports,
    importedGlobals,
    importsMemory,
    importsTable,
    functions,
    bodies,
    tables,
    memories,
    globals,
    exports,
    start,
    elements,
    data,
    functionNames,
    globalNames,
    localNames,
  };
}

/** Decodes the instructions of one function. */
export function decodeBody(module: WasmModule, body: Body): Instr[] {
  const r = new Reader(module.bytes, body.start, body.end);
  const out: Instr[] = [];
  while (r.at < body.end) out.push(readInstr(module, r));
  return out;
}

function readBlockType(module: WasmModule, r: Reader): FuncType {
  const type = Number(r.s64());
  if (type >= 0) return module.types[type]!;
  return { params: [], results: type === -64 ? [] : [type & 0x7f] };
}

function readInstr(module: WasmModule, r: Reader): Instr {
  const at = r.at;
  let op = r.u8();
  if (op === 0xfd)
    throw new WasmRefusal("vector types", at, "use u64: a hook must not touch the program's vector registers");
  if (op === 0xfc || op === 0xfe) op = (op << 8) | r.u();
  const memory = (): Instr => {
    r.u();
    return { op, at, value: r.u64() };
  };
  if ((op >= 0x28 && op <= 0x3e) || (op >= 0xfe00 && op <= 0xfe4e && op !== 0xfe03)) return memory();
  switch (op) {
    case 0x02: // block
    case 0x03: // loop
    case 0x04: // if
      return { op, at, block: readBlockType(module, r) };
    case 0x0e: {
      const targets = r.list(() => r.u());
      return { op, at, targets: [...targets, r.u()] };
    }
    case 0x11: {
      const index = r.u();
      return { op, at, index, index2: r.u() };
    }
    case 0x1c:
      r.list(() => r.u8());
      return { op, at };
    case 0x41: // i32.const
    case 0x42: // i64.const
      return { op, at, value: r.s64() };
    case 0x43:
      r.take(4);
      return { op, at };
    case 0x44:
      r.take(8);
      return { op, at };
    case 0x0c: // br
    case 0x0d: // br_if
    case 0x10: // call
    case 0x20: // local.get
    case 0x21: // local.set
    case 0x22: // local.tee
    case 0x23: // global.get
    case 0x24: // global.set
    case 0x25: // table.get
    case 0x26: // table.set
    case 0x3f: // memory.size
    case 0x40: // memory.grow
    case 0xd0: // ref.null
    case 0xd2: // ref.func
    case 0xfc09: // data.drop
    case 0xfc0b: // memory.fill
    case 0xfc0d: // elem.drop
    case 0xfc0f: // table.grow
    case 0xfc10: // table.size
    case 0xfc11: // table.fill
    case 0xfe03: // atomic.fence
      return { op, at, index: r.u() };
    case 0xfc08: // memory.init
    case 0xfc0a: // memory.copy
    case 0xfc0c: // table.init
    case 0xfc0e: {
      const index = r.u();
      return { op, at, index, index2: r.u() };
    }
    default:
      return { op, at };
  }
}
