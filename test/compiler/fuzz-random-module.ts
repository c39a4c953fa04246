/**
 * Random modules: valid, ending, and touching every instruction that the compiler knows. The same seed gives the same
 * program for both widths of addresses; only how addresses are written differs.
 */
import { IMPORTS } from "./fuzz-environment.ts";
import { VALUE_TYPES, type ValueType } from "./fuzz-opcodes.ts";
import { randomFunction } from "./fuzz-random-function.ts";
import type { Random, Span } from "./random.ts";
import {
  type Bytes,
  body,
  constant,
  END,
  FUNCREF,
  flatten,
  functionType,
  I32,
  I64,
  limits,
  list,
  module,
  name,
  SECTION,
  unsigned,
} from "./wasm-binary.ts";

/** Bytes of memory that a program uses, from its base on. */
export const MEMORY_SIZE = 0x10000;
const PAGE = 0x10000;

export interface Shape {
  /** Addresses are i64. */
  readonly is64: boolean;
  /** Where the memory that is used begins. What follows it is out of bounds. */
  readonly memoryBase: number;
  /** The base is not part of any value but an address, and addresses are never narrowed. */
  readonly isRelocatable: boolean;
  /** The program uses the operations of the machine and calls foreign functions. */
  readonly hasImports: boolean;
}

export interface Signature {
  readonly params: readonly ValueType[];
  readonly result: ValueType | undefined;
}

export interface RandomFunction {
  readonly index: number;
  readonly signature: Signature;
  readonly exported: boolean;
  readonly code: Bytes;
  /** An upper bound for the instructions that a call runs. */
  readonly cost: number;
}

export interface ExportedFunction extends Signature {
  readonly name: string;
}

export interface RandomModule {
  readonly binary: Uint8Array;
  readonly functions: readonly ExportedFunction[];
  /** Functions without parameters that give the values of the mutable globals. */
  readonly globals: readonly ExportedFunction[];
  /** What of the random numbers can be left out. */
  readonly spans: readonly Span[];
}

export interface RandomGlobal {
  readonly type: ValueType;
  readonly mutable: boolean;
  readonly value: bigint;
}

const INTERESTING = [0n, 1n, 2n, 7n, 8n, 31n, 32n, 63n, 64n, 127n, 128n, 255n, 256n, 32767n, 32768n, 65535n, 65536n];
const EDGES = [0x7fffffffn, 0x80000000n, 0xffffffffn, 0x100000000n, (1n << 63n) - 1n, 1n << 63n];

/** A value that is more often near an edge than not, signed of its type. */
export function randomValue(random: Random, type: ValueType): bigint {
  const value = random.weighted<() => bigint>([
    [4, () => random.pick(INTERESTING)],
    [2, () => -random.pick(INTERESTING)],
    [3, () => random.pick(EDGES) + BigInt(random.below(3) - 1)],
    [2, () => 1n << BigInt(random.below(64))],
    [3, () => random.u64()],
    [2, () => BigInt(random.below(1000))],
  ])();
  return BigInt.asIntN(type === I32 ? 32 : 64, value);
}

/** What the functions of a module share while they are written. */
export class ModuleState {
  readonly random: Random;
  readonly is64: boolean;
  readonly memoryBase: number;
  readonly isRelocatable: boolean;
  readonly hasImports: boolean;
  readonly functions: RandomFunction[] = [];
  readonly globals: readonly RandomGlobal[];
  /** Function index by place in the table, undefined for none. Filled before the functions that use it are written. */
  table: readonly (number | undefined)[] = [];
  readonly #types: string[] = [];
  readonly #typeBytes: Bytes[] = [];

  constructor(random: Random, shape: Shape) {
    this.random = random;
    this.is64 = shape.is64;
    this.memoryBase = shape.memoryBase;
    this.isRelocatable = shape.isRelocatable;
    this.hasImports = shape.hasImports;
    this.globals = Array.from({ length: random.below(6) }, () => {
      const type = random.pick(VALUE_TYPES);
      return { type, mutable: random.chance(80), value: randomValue(random, type) };
    });
  }

  get imports(): typeof IMPORTS {
    return this.hasImports ? IMPORTS : [];
  }

  /** The function of this index, which counts imports. */
  function(index: number): RandomFunction {
    return this.functions[index - this.imports.length]!;
  }

  /** Index of a type, which is added where it is new. */
  type(params: readonly ValueType[], results: readonly ValueType[]): number {
    const key = `${params}:${results}`;
    const known = this.#types.indexOf(key);
    if (known >= 0) return known;
    this.#types.push(key);
    this.#typeBytes.push(functionType(params, results));
    return this.#types.length - 1;
  }

  signatureType({ params, result }: Signature): number {
    return this.type(params, result === undefined ? [] : [result]);
  }

  get typeSection(): Bytes {
    return list(this.#typeBytes);
  }
}

function randomSignature(random: Random): Signature {
  const count = random.weighted([
    [6, random.below(4)],
    [3, random.below(7)],
    [4, 6 + random.below(6)],
  ]);
  const params = Array.from({ length: count }, () => random.pick(VALUE_TYPES));
  return { params, result: random.pick([undefined, I32, I64, I32, I64]) };
}

/** A table of the functions so far, null entries, and functions of other types than a caller may expect. */
function randomTable({ random, functions }: ModuleState): (number | undefined)[] {
  return Array.from({ length: 8 }, () => (random.chance(85) ? random.pick(functions).index : undefined));
}

export function randomModule(random: Random, shape: Shape): RandomModule {
  const state = new ModuleState(random, shape);
  const count = 1 + random.below(10);
  const signatures: Signature[] = [];
  for (let number = 0; number < count; number++) {
    // Few signatures, so that calls through the table often match.
    const signature = signatures.length > 0 && random.chance(40) ? random.pick(signatures) : randomSignature(random);
    signatures.push(signature);
    if (number > 0 && number === count >> 1) state.table = randomTable(state);
    const exported = number === count - 1 || random.chance(60);
    const { code, cost } = randomFunction(state, signature, random.below(300));
    state.functions.push({ index: state.imports.length + number, signature, exported, code, cost });
  }
  return assemble(state);
}

function assemble(state: ModuleState): RandomModule {
  const exported = state.functions.filter((f) => f.exported);
  const mutable = state.globals.flatMap((global, index) => (global.mutable ? [{ ...global, index }] : []));
  const getters = mutable.map(({ type, index }, i) => ({
    name: `g${index}`,
    index: state.imports.length + state.functions.length + i,
    type: state.type([], [type]),
    code: body([], [0x23, unsigned(index)]),
    signature: { params: [], result: type },
  }));
  const functionTypes = [
    ...state.functions.map((f) => state.signatureType(f.signature)),
    ...getters.map((g) => g.type),
  ];
  const segments = state.table.flatMap((index, place) =>
    index === undefined ? [] : [[0, constant(I32, BigInt(place)), END, list([unsigned(index)])]],
  );
  const imports = state.imports.map((item) => [
    [name(item.module), name(item.name), 0],
    unsigned(state.signatureType(item)),
  ]);
  const pages = Math.ceil((state.memoryBase + MEMORY_SIZE) / PAGE);
  const exports = [
    ...exported.map((f) => [name(`f${f.index}`), 0, unsigned(f.index)]),
    ...getters.map((g) => [name(g.name), 0, unsigned(g.index)]),
    [name("memory"), 2, 0],
  ];
  const binary = module(
    new Map([
      [SECTION.type, state.typeSection],
      [SECTION.import, list(imports)],
      [SECTION.function, list(functionTypes.map(unsigned))],
      [SECTION.table, list([[FUNCREF, limits(state.table.length)]])],
      [SECTION.memory, list([limits(pages, pages, state.is64)])],
      [SECTION.global, list(state.globals.map((g) => [g.type, g.mutable ? 1 : 0, constant(g.type, g.value), END]))],
      [SECTION.export, list(exports)],
      [SECTION.element, list(segments)],
      [SECTION.code, list([...state.functions.map((f) => f.code), ...getters.map((g) => g.code)])],
    ]),
  );
  return {
    binary: flatten([binary]),
    functions: exported.map((f) => ({ name: `f${f.index}`, ...f.signature })),
    globals: getters.map((g) => ({ name: g.name, ...g.signature })),
    spans: state.random.spans,
  };
}
