/**
 * The linker: gives every unit an address, resolves symbols and applies relocations. Pure: the same input gives the same
 * image, byte for byte. The container (headers, tables, debug information) is the business of src/elf/write.ts.
 *
 *     base  tables (room)   rodata  │ text  │ dynamic (room)  relro  │ data  bss
 *           read                    │ r-x   │ read after start       │ read, write      (│: a page boundary)
 */
import { alignUp } from "../elf/bytes.ts";
import { ZpolineError } from "../errors.ts";
import type { CodeUnit, DataUnit, DebugType, ObjectFile, Reloc } from "./object.ts";

export const PAGE = 4096;

export interface LinkOptions {
  /** Address of the image, a multiple of the page size. Not given: position independent, linked at 0. */
  readonly base?: number;
  /** Bytes that the container needs before rodata and before relro. */
  readonly room?: { readonly tables: number; readonly dynamic: number };
  /** Symbols that the container defines: name → address. */
  readonly provided?: Readonly<Record<string, number>>;
}

/** Code and constants; constants that hold addresses; variables with a value; variables that start as zero. */
export type RegionName = "rodata" | "text" | "relro" | "data" | "bss";

/** A part of the image. `bytes` is empty for bss; otherwise `bytes.length` is `size`. */
export interface Region {
  readonly address: number;
  readonly size: number;
  /** The greatest alignment of a unit in it. */
  readonly align: number;
  readonly bytes: Uint8Array;
}

export interface LinkedSymbol {
  readonly name: string;
  readonly address: number;
  /** For a mark: up to the end of its unit. */
  readonly size: number;
  readonly kind: "code" | "data" | "mark" | "bound";
  /** Where it lies; a bound of the image itself is in none. */
  readonly region: RegionName | undefined;
}

export interface PlacedCode {
  readonly unit: CodeUnit;
  readonly address: number;
}

/** A variable in the data, for debuggers. */
export interface PlacedVariable {
  readonly name: string;
  readonly type: string;
  readonly address: number;
}

/** Eight bytes at `at` hold `target`, an address in the image: to be moved with the image (R_X86_64_RELATIVE). */
export interface RelativeFixup {
  readonly at: number;
  readonly target: number;
}

export interface LinkedImage {
  readonly base: number;
  /** The address after the last byte of bss. */
  readonly end: number;
  readonly positionIndependent: boolean;
  /** Start of the room that the container asked for before relro. */
  readonly dynamicAddress: number;
  readonly regions: Readonly<Record<RegionName, Region>>;
  readonly code: readonly PlacedCode[];
  readonly variables: readonly PlacedVariable[];
  readonly types: ReadonlyMap<string, DebugType>;
  /** In the order of the input. */
  readonly symbols: ReadonlyMap<string, LinkedSymbol>;
  /** Ascending by `at`. Empty when the image has a fixed base. */
  readonly relative: readonly RelativeFixup[];
}

interface Piece {
  readonly unit: CodeUnit | DataUnit;
  readonly kind: "code" | "data";
  readonly size: number;
  readonly address: number;
}

interface Placement {
  readonly address: number;
  readonly align: number;
  readonly end: number;
  readonly pieces: readonly Piece[];
}

const INT3 = 0xcc;
const CODE_ALIGN = 16;

/**
 * Links object files.
 * @throws ZpolineError LINK_UNDEFINED, LINK_DUPLICATE, LINK_RANGE (a rel32 that does not reach), LINK_TEXT_ADDRESS (an
 * absolute address in code that must be position independent), LINK_UNIT (an impossible alignment, mark, relocation, or
 * order of line or unwind rows), LINK_BASE.
 */
export function link(objects: readonly ObjectFile[], options: LinkOptions = {}): LinkedImage {
  const base = options.base ?? 0;
  const room = options.room ?? { tables: 0, dynamic: 0 };
  const positionIndependent = options.base === undefined;
  if (base % PAGE !== 0) throw new ZpolineError("LINK_BASE", `base ${base} is not a multiple of the page size ${PAGE}`);
  const code = objects.flatMap((object) => object.code);
  const data = objects.flatMap((object) => object.data);
  const inRegion = (region: RegionName) => data.filter((unit) => regionOf(unit, positionIndependent) === region);

  const rodata = place(base + room.tables, inRegion("rodata"));
  const text = place(alignUp(rodata.end, PAGE), code);
  const dynamicAddress = alignUp(text.end, PAGE);
  const relro = place(dynamicAddress + room.dynamic, inRegion("relro"));
  const initialised = place(alignUp(relro.end, PAGE), inRegion("data"));
  const bss = place(initialised.end, inRegion("bss"));

  const placements: Record<RegionName, Placement> = { rodata, text, relro, data: initialised, bss };
  const bounds = {
    __image_start: base,
    __text_start: text.address,
    __text_end: text.end,
    __image_end: bss.end,
    ...options.provided,
  };
  const symbols = defineSymbols(placements, bounds);
  const contents = {
    rodata: copyBytes(rodata, 0),
    text: copyBytes(text, INT3),
    relro: copyBytes(relro, 0),
    data: copyBytes(initialised, 0),
    bss: { address: bss.address, size: bss.end - bss.address, align: bss.align, bytes: new Uint8Array(0) },
  };
  const relative = relocate(placements, contents, symbols, positionIndependent);
  return {
    base,
    end: bss.end,
    positionIndependent,
    dynamicAddress,
    regions: contents,
    code: text.pieces.map((piece) => ({ unit: piece.unit as CodeUnit, address: piece.address })),
    variables: placedVariables(placements),
    types: new Map(objects.flatMap((object) => [...(object.types ?? [])])),
    symbols,
    relative,
  };
}

function placedVariables(placements: Readonly<Record<RegionName, Placement>>): PlacedVariable[] {
  return Object.values(placements).flatMap(({ pieces }) =>
    pieces.flatMap(({ unit, address }) =>
      ("variables" in unit ? (unit.variables ?? []) : []).map(({ name, type, offset }) => ({
        name,
        type,
        address: address + offset,
      })),
    ),
  );
}

function regionOf(unit: DataUnit, positionIndependent: boolean): RegionName {
  const holdsAddresses = unit.relocs.some((reloc) => reloc.kind === "abs64");
  if (!unit.writable) return holdsAddresses && positionIndependent ? "relro" : "rodata";
  return unit.relocs.length > 0 || unit.bytes.some((byte) => byte !== 0) ? "data" : "bss";
}

function place(start: number, units: readonly (CodeUnit | DataUnit)[]): Placement {
  let end = start;
  let greatest = 1;
  const pieces: Piece[] = [];
  for (const unit of units) {
    const align = unit.align ?? CODE_ALIGN;
    if (align < 1 || align > PAGE || (align & (align - 1)) !== 0)
      throw badUnit(unit.name, `alignment ${align} is not a power of two up to ${PAGE}`);
    const isData = "size" in unit;
    const size = isData ? unit.size : unit.bytes.length;
    if (size < unit.bytes.length) throw badUnit(unit.name, `size ${size} is less than its ${unit.bytes.length} bytes`);
    if (!isData) checkRows(unit);
    const address = alignUp(end, align);
    pieces.push({ unit, kind: isData ? "data" : "code", size, address });
    end = address + size;
    greatest = Math.max(greatest, align);
  }
  return { address: pieces[0]?.address ?? start, align: greatest, end, pieces };
}

function checkRows({ name, bytes, lines = [], unwind = [], contexts = [] }: CodeUnit): void {
  for (const [what, rows] of Object.entries({ line: lines, unwind, context: contexts })) {
    rows.reduce((last, { at }) => {
      if (at < last || at > bytes.length) throw badUnit(name, `${what} row at ${at} is out of order`);
      return at;
    }, 0);
  }
}

function defineSymbols(
  placements: Record<RegionName, Placement>,
  bounds: Readonly<Record<string, number>>,
): Map<string, LinkedSymbol> {
  const symbols = new Map<string, LinkedSymbol>();
  const owners = new Map<string, string>();
  const define = (symbol: LinkedSymbol, owner: string) => {
    const first = owners.get(symbol.name);
    if (first !== undefined)
      throw new ZpolineError("LINK_DUPLICATE", `symbol "${symbol.name}" is defined by ${first} and by ${owner}`, {
        fix: "give one of them another name",
      });
    owners.set(symbol.name, owner);
    symbols.set(symbol.name, symbol);
  };
  for (const [name, address] of Object.entries(bounds)) {
    const region = name.startsWith("__text_") ? "text" : undefined;
    define({ name, address, size: 0, kind: "bound", region }, "the linker");
  }
  for (const [region, placement] of Object.entries(placements) as [RegionName, Placement][]) {
    for (const { unit, kind, size, address } of placement.pieces) {
      define({ name: unit.name, address, size, kind, region }, `unit "${unit.name}"`);
      for (const [name, offset] of Object.entries(unit.marks ?? {})) {
        if (offset < 0 || offset > size) throw badUnit(unit.name, `mark "${name}" at ${offset} lies outside`);
        define({ name, address: address + offset, size: size - offset, kind: "mark", region }, `unit "${unit.name}"`);
      }
    }
  }
  return symbols;
}

function copyBytes(placement: Placement, fill: number): Region {
  const size = placement.end - placement.address;
  const bytes = new Uint8Array(size).fill(fill);
  for (const piece of placement.pieces) {
    const at = piece.address - placement.address;
    bytes.fill(0, at, at + piece.size);
    bytes.set(piece.unit.bytes, at);
  }
  return { address: placement.address, size, align: placement.align, bytes };
}

function relocate(
  placements: Record<RegionName, Placement>,
  regions: Record<RegionName, Region>,
  symbols: ReadonlyMap<string, LinkedSymbol>,
  positionIndependent: boolean,
): RelativeFixup[] {
  const relative: RelativeFixup[] = [];
  const undefinedUsers = new Map<string, Set<string>>();
  for (const [name, placement] of Object.entries(placements) as [RegionName, Placement][]) {
    const region = regions[name];
    const view = new DataView(region.bytes.buffer);
    for (const piece of placement.pieces) {
      for (const reloc of piece.unit.relocs) {
        checkReloc(reloc, piece, positionIndependent);
        const symbol = symbols.get(reloc.symbol);
        if (symbol === undefined) {
          const users = undefinedUsers.get(reloc.symbol) ?? new Set();
          undefinedUsers.set(reloc.symbol, users.add(piece.unit.name));
          continue;
        }
        const at = piece.address + reloc.at;
        const target = symbol.address + reloc.addend;
        if (reloc.kind === "rel32") {
          view.setInt32(at - region.address, distance32(at + 4, target, reloc, piece), true);
        } else {
          view.setBigInt64(at - region.address, BigInt(target), true);
          if (positionIndependent) relative.push({ at, target });
        }
      }
    }
  }
  if (undefinedUsers.size > 0) throw undefinedSymbols(undefinedUsers);
  return relative.sort((a, b) => a.at - b.at);
}

function checkReloc(reloc: Reloc, piece: Piece, positionIndependent: boolean): void {
  const { name } = piece.unit;
  if (reloc.at < 0 || reloc.at + (reloc.kind === "rel32" ? 4 : 8) > piece.size)
    throw badUnit(name, `relocation at ${reloc.at} lies outside its ${piece.size} bytes`);
  if (reloc.kind === "abs64" && piece.kind === "code" && positionIndependent)
    throw new ZpolineError(
      "LINK_TEXT_ADDRESS",
      `code unit "${name}" holds the absolute address of "${reloc.symbol}" at +${reloc.at}`,
      { cause: "the image is position independent and its code is never written to", fix: "use a rel32 reference" },
    );
}

function distance32(from: number, to: number, reloc: Reloc, piece: Piece): number {
  const distance = to - from;
  if (distance !== (distance | 0))
    throw new ZpolineError(
      "LINK_RANGE",
      `"${reloc.symbol}" is out of reach of the rel32 at "${piece.unit.name}"+${reloc.at}`,
      { cause: `the distance is ${distance} bytes` },
    );
  return distance;
}

function badUnit(name: string, why: string): ZpolineError {
  return new ZpolineError("LINK_UNIT", `cannot link unit "${name}": ${why}`);
}

function undefinedSymbols(users: ReadonlyMap<string, ReadonlySet<string>>): ZpolineError {
  const list = [...users].map(([symbol, units]) => `"${symbol}" (used by ${[...units].join(", ")})`);
  return new ZpolineError("LINK_UNDEFINED", `undefined ${list.length === 1 ? "symbol" : "symbols"} ${list.join(", ")}`);
}
