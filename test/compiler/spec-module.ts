/**
 * Makes modules of the core test suite stand alone. Imports from "spectest" (core specification, test/core/README.md of
 * the spec repository) become definitions; functions beyond the integer subset become stubs that a run can tell from a
 * trap; start functions and exported globals get exported functions that tests can call. Function indexes do not change.
 */
import { isFloat } from "../../src/compiler/opcodes.ts";
import { decodeBody, decodeModule, type FuncType, type WasmModule } from "../../src/compiler/wasm.ts";
import {
  type Bytes,
  body,
  Cursor,
  constant,
  END,
  flatten,
  functionType,
  I32,
  I64,
  limits,
  list,
  module as moduleOf,
  name,
  SECTION,
  sections,
  sized,
  unsigned,
} from "./wasm-binary.ts";

export interface SpecModule {
  /** Undefined where `unsupported` holds for the module as a whole. */
  readonly binary: Uint8Array | undefined;
  readonly unsupported: string | undefined;
  /** Why exported functions are stubs. */
  readonly stubs: ReadonlyMap<string, string>;
  /** Export → the function that gives its value. */
  readonly globals: ReadonlyMap<string, string>;
  /** The function to call before all others. */
  readonly start: string | undefined;
  readonly data: readonly { readonly at: bigint; readonly bytes: Uint8Array }[];
  /** Bytes of memory. */
  readonly memorySize: bigint;
}

/** Where a stub stores: an address that no memory has and no test uses. */
export const STUB_ADDRESS = 0x1_beef_bee0n;
const STUB_OFFSET = 0xdf77df70n;
const WASM_PAGE = 65536n;

const SPECTEST_GLOBAL = 666n;
const SPECTEST_MEMORY = limits(1, 2);
const SPECTEST_TABLE: Bytes = [0x70, limits(10, 20)];

/** Instructions that the compiler does not know, by reason. */
const UNSUPPORTED: ReadonlyMap<number, string> = new Map([
  [0x3f, "memory.size, memory.grow"],
  [0x40, "memory.size, memory.grow"],
  ...[0x25, 0x26, 0xfc0c, 0xfc0d, 0xfc0e, 0xfc0f, 0xfc10, 0xfc11].map((op) => [op, "table instructions"] as const),
  ...[0xd0, 0xd1, 0xd2].map((op) => [op, "references"] as const),
  [0xfc08, "passive data"],
  [0xfc09, "passive data"],
]);

function typeReason(types: readonly number[]): string | undefined {
  if (types.every((type) => type === I32 || type === I64)) return undefined;
  return types.some((type) => type === 0x7d || type === 0x7c) ? "floating point" : "references or vectors";
}

const signatureReason = ({ params, results }: FuncType): string | undefined =>
  typeReason([...params, ...results]) ?? (results.length > 1 ? "several results" : undefined);

/** Why a defined function is beyond the subset, if it is. */
function functionReason(module: WasmModule, defined: number): string | undefined {
  const typeOf = (index: number): FuncType => {
    const imported = module.imports[index];
    return module.types[imported?.type ?? module.functions[index - module.imports.length]!]!;
  };
  const globalType = (index: number): number => {
    const imported = module.importedGlobals[index];
    return (imported ?? module.globals[index - module.importedGlobals.length]!).type;
  };
  const code = module.bodies[defined]!;
  const first = signatureReason(module.types[module.functions[defined]!]!) ?? typeReason(code.locals);
  if (first !== undefined) return first;
  for (const { op, index, block } of decodeBody(module, code)) {
    const reason =
      (isFloat(op) ? "floating point" : UNSUPPORTED.get(op)) ??
      (block === undefined ? undefined : typeReason([...block.params, ...block.results])) ??
      (op === 0x10 ? signatureReason(typeOf(index!)) : undefined) ??
      (op === 0x11 ? signatureReason(module.types[index!]!) : undefined) ??
      (op === 0x23 || op === 0x24 ? typeReason([globalType(index!)]) : undefined);
    if (reason !== undefined) return reason;
  }
  return undefined;
}

/** The modules that a module imports from. */
function importedModules(section: Uint8Array): string[] {
  const cursor = new Cursor(section);
  return Array.from({ length: cursor.unsigned() }, () => {
    const from = new TextDecoder().decode(cursor.take(cursor.unsigned()));
    cursor.take(cursor.unsigned());
    const [kind] = cursor.take(1);
    if (kind === 0) cursor.unsigned();
    else if (kind === 3) cursor.take(2);
    else {
      if (kind === 1) cursor.take(1);
      const [flags] = cursor.take(1);
      cursor.unsigned();
      if (flags! & 1) cursor.unsigned();
    }
    return from;
  });
}

/** Why the module as a whole cannot be tested, if it cannot. */
function moduleReason(module: WasmModule, imports: Uint8Array | undefined): string | undefined {
  if (imports !== undefined && importedModules(imports).some((from) => from !== "spectest"))
    return "imports from another module";
  if (module.memories.some(({ is64 }) => is64)) return "64-bit memory";
  const offsets = [...module.data, ...module.elements].map(({ at }) => at);
  if (offsets.some((at) => at?.kind === "global")) return "segments placed by an imported global";
  return undefined;
}

const STUB = body(
  [],
  [
    constant(I32, BigInt.asIntN(32, STUB_ADDRESS - STUB_OFFSET)),
    [constant(I32, 0n), 0x36, 2, unsigned(STUB_OFFSET)], // i32.store
    0x00, // unreachable
  ],
);

export function prepare(original: Uint8Array): SpecModule {
  const module = decodeModule(original);
  const old = sections(original);
  const unsupported = moduleReason(module, old.get(SECTION.import));
  const imports = module.imports.length;
  const types = module.types.map(({ params, results }) => functionType(params as number[], results as number[]));
  const typeFor = (results: readonly number[]): number => types.push(functionType([], results)) - 1;
  const emptyType = typeFor([]);

  const reasons = module.imports.map(({ type }) => signatureReason(module.types[type]!));
  module.functions.forEach((_, defined) => {
    reasons.push(functionReason(module, defined));
  });
  const declared = [...module.imports.map(({ type }) => type), ...module.functions];
  const functionTypes = declared.map((type) => (signatureReason(module.types[type]!) === undefined ? type : emptyType));
  const bodies = old.has(SECTION.code) ? new Cursor(old.get(SECTION.code)!).pieces() : [];
  // An import of spectest prints its arguments; what remains of it is that it returns.
  const code: Bytes[] = declared.map((_, i) => {
    if (reasons[i] !== undefined) return STUB;
    return i < imports ? body([], []) : sized(bodies[i - imports]!);
  });

  const added: Bytes[] = [];
  const add = (exportName: string, type: number, content: Bytes): string => {
    added.push([name(exportName), 0, unsigned(functionTypes.length)]);
    functionTypes.push(type);
    code.push(content);
    return exportName;
  };
  const exportedGlobals = module.exports.filter(({ kind }) => kind === "global");
  const globals = new Map(
    exportedGlobals.flatMap(({ name: exported, index }): [string, string][] => {
      const { type } = module.importedGlobals[index] ?? module.globals[index - module.importedGlobals.length]!;
      if (typeReason([type]) !== undefined) return [];
      return [[exported, add(`get ${exported}`, typeFor([type]), body([], [0x23, unsigned(index)]))]];
    }),
  );
  const start =
    module.start === undefined
      ? undefined
      : add("start of module", emptyType, body([], [0x10, unsigned(module.start)]));

  const stubs = module.exports.flatMap(({ kind, name: exported, index }): [string, string][] =>
    kind === "func" && reasons[index] !== undefined ? [[exported, reasons[index]!]] : [],
  );
  const out = new Map<number, Bytes>(old);
  out.delete(SECTION.import);
  out.delete(SECTION.start);
  out.delete(SECTION.dataCount);
  out.delete(SECTION.data);
  out.set(SECTION.type, list(types));
  out.set(SECTION.function, list(functionTypes.map(unsigned)));
  out.set(SECTION.code, list(code));
  const before = (id: number, items: readonly Bytes[]): void => {
    if (items.length > 0) out.set(id, joined(items, old.get(id)));
  };
  before(
    SECTION.global,
    module.importedGlobals.map(({ type }) => [type, 0, globalValue(type), END]),
  );
  before(SECTION.export, added);
  if (module.importsTable) before(SECTION.table, [SPECTEST_TABLE]);
  if (module.importsMemory) before(SECTION.memory, [SPECTEST_MEMORY]);
  else if (module.memories.length === 0) out.set(SECTION.memory, list([limits(0)]));

  return {
    binary: unsupported === undefined ? moduleOf(out) : undefined,
    unsupported,
    stubs: new Map(stubs),
    globals,
    start,
    data: module.data.flatMap(({ at, bytes }) =>
      at?.kind === "const" ? [{ at: BigInt.asUintN(32, at.value), bytes }] : [],
    ),
    memorySize: WASM_PAGE * (module.importsMemory ? 1n : (module.memories[0]?.min ?? 0n)),
  };
}

/** `items` in front of those that a section has. */
function joined(items: readonly Bytes[], section: Uint8Array | undefined): Bytes {
  if (section === undefined) return list(items);
  const cursor = new Cursor(section);
  const count = cursor.unsigned();
  return flatten([unsigned(count + items.length), items, section.subarray(cursor.at)]);
}

function globalValue(type: number): Bytes {
  if (type === I32 || type === I64) return constant(type, SPECTEST_GLOBAL);
  return type === 0x7d ? [0x43, 0, 0, 0, 0] : [0x44, 0, 0, 0, 0, 0, 0, 0, 0];
}
