/** Writes linked guest code as ELF64 files: a shared object for LD_PRELOAD, or an executable without any library. */
import { createHash } from "node:crypto";
import { debugSections } from "../compiler/dwarf.ts";
import { ehFrame, ehFrameHeader, ehFrameHeaderSize, isUnwindable } from "../compiler/eh-frame.ts";
import type { LinkedImage, LinkedSymbol, Region, RegionName } from "../compiler/link.ts";
import { link } from "../compiler/link.ts";
import type { ObjectFile } from "../compiler/object.ts";
import { ZpolineError } from "../errors.ts";
import { alignUp, ByteWriter } from "./bytes.ts";
import * as elf from "./constants.ts";
import { dynamicSymbols, dynamicTable, relocationTable } from "./dynamic.ts";
import { assembleFile, MAX_HEADERS } from "./file.ts";
import type { Section } from "./section.ts";
import { Placer, unloaded } from "./section.ts";
import { symbolTable } from "./symtab.ts";

export interface SharedObjectOptions {
  readonly soname: string;
  /** Symbols of functions that the dynamic loader calls, in this order: f(argc, argv, envp). */
  readonly init?: readonly string[];
  /** Public name → symbol. */
  readonly exports?: Readonly<Record<string, string>>;
  /**
   * Weak imports: public name → symbol of eight writable bytes, which the dynamic loader fills with the address of
   * the name, or with 0 where no loaded object defines it.
   */
  readonly imports?: Readonly<Record<string, string>>;
  /** initfirst: run `init` before that of any other object. nodelete: dlclose does not unload. */
  readonly flags?: readonly ("initfirst" | "nodelete")[];
  /** What the file names in line rows are relative to, for debuggers; "." when not given. */
  readonly sourceDirectory?: string;
}

export interface ExecutableOptions {
  /** Symbol that the kernel jumps to, with the stack of a new process (argc at rsp); "_start" when not given. */
  readonly entry?: string;
  /**
   * Load address, a multiple of the page size; 0x400000 when not given. "pie": anywhere. Then nothing applies the
   * relocations but the program itself: the Elf64_Rela entries lie from `__rela_start` to `__rela_end`.
   */
  readonly base?: number | "pie";
  /**
   * The dynamic loader that starts it, which honours LD_PRELOAD, loads the libraries that are needed, and applies the
   * relocations. For a base of "pie" only.
   */
  readonly dynamic?: { readonly loader: string; readonly needed: readonly string[] };
  /** What the file names in line rows are relative to, for debuggers; "." when not given. */
  readonly sourceDirectory?: string;
}

/** What the two kinds of file have in common. */
interface Container {
  readonly name: string;
  readonly type: number;
  readonly base: number | undefined;
  readonly entry: string | undefined;
  readonly soname: string | undefined;
  readonly init: readonly string[];
  readonly exports: Readonly<Record<string, string>>;
  readonly imports: Readonly<Record<string, string>>;
  readonly flags1: number;
  readonly loader: string | undefined;
  readonly needed: readonly string[];
  readonly sourceDirectory: string;
}

const FLAG_BITS = { initfirst: elf.DF_1_INITFIRST, nodelete: elf.DF_1_NODELETE } as const;
const DEFAULT_BASE = 0x400000;
const BUILD_ID_SIZE = 20;

/**
 * A shared object that needs no other, with symbols and a build id. Deterministic.
 * @throws ZpolineError as `link`, and LINK_UNDEFINED or LINK_REGION for a symbol named in the options.
 */
export function writeSharedObject(objects: readonly ObjectFile[], options: SharedObjectOptions): Uint8Array {
  return write(objects, {
    name: options.soname,
    type: elf.ET_DYN,
    base: undefined,
    entry: undefined,
    soname: options.soname,
    init: options.init ?? [],
    exports: options.exports ?? {},
    imports: options.imports ?? {},
    flags1: (options.flags ?? []).reduce((bits, flag) => bits | FLAG_BITS[flag], elf.DF_1_NOW),
    loader: undefined,
    needed: [],
    sourceDirectory: options.sourceDirectory ?? ".",
  });
}

/**
 * An executable that the kernel alone can start. Deterministic.
 * @throws ZpolineError as `link`, and LINK_UNDEFINED or LINK_REGION for the entry.
 */
export function writeExecutable(objects: readonly ObjectFile[], options: ExecutableOptions = {}): Uint8Array {
  const pie = options.base === "pie";
  return write(objects, {
    name: options.entry ?? "_start",
    type: pie ? elf.ET_DYN : elf.ET_EXEC,
    base: options.base === "pie" ? undefined : (options.base ?? DEFAULT_BASE),
    entry: options.entry ?? "_start",
    soname: undefined,
    init: [],
    exports: {},
    imports: {},
    flags1: elf.DF_1_NOW | elf.DF_1_PIE,
    loader: options.dynamic?.loader,
    needed: options.dynamic?.needed ?? [],
    sourceDirectory: options.sourceDirectory ?? ".",
  });
}

/**
 * The tables that lie before the code are as long as what they describe, and do not grow with addresses: a first link
 * with no room for them measures, the second is the one that counts.
 */
function write(objects: readonly ObjectFile[], container: Container): Uint8Array {
  const linkWith = (tables: number, dynamic: number, rela = { address: 0, size: 0 }) =>
    link(objects, {
      ...(container.base === undefined ? {} : { base: container.base }),
      room: { tables, dynamic },
      provided:
        container.soname !== undefined ? {} : { __rela_start: rela.address, __rela_end: rela.address + rela.size },
    });
  const probe = loadedSections(linkWith(MAX_HEADERS, 0), container, () => 0);
  const names = ["", ...probe.sections.map((section) => section.name)];
  const indexOf = (region: RegionName) => names.indexOf(REGION_SECTIONS[region].name);

  const rela = probe.sections.find((section) => section.name === ".rela.dyn");
  const image = linkWith(probe.tablesSize, probe.dynamicSize, rela);
  const { sections } = loadedSections(image, container, indexOf);
  const unloadedParts = [
    ...debugSections(image, container.sourceDirectory),
    ...symbolTable(image, container.name, container.exports, indexOf),
  ];
  const file = assembleFile({
    type: container.type,
    entry: container.entry === undefined ? 0 : wanted(image, container.entry, "the entry point", CODE).address,
    image,
    sections: [...sections, ...unloadedParts.map(unloaded)],
  });
  const id = sections.find((section) => section.name === BUILD_ID_SECTION)!;
  const hash = createHash("sha256").update(file).digest();
  file.set(hash.subarray(0, BUILD_ID_SIZE), id.address - image.base + id.size - BUILD_ID_SIZE);
  return file;
}

interface Loaded {
  readonly sections: readonly Section[];
  /** From the start of the image to the end of the tables. */
  readonly tablesSize: number;
  readonly dynamicSize: number;
}

function loadedSections(image: LinkedImage, container: Container, indexOf: (region: RegionName) => number): Loaded {
  const tables = new Placer(image.base + MAX_HEADERS);
  const dynamic = new Placer(image.dynamicAddress);
  tables.add(buildIdNote());
  if (container.loader !== undefined) tables.add(interpreterPath(container.loader));
  if (image.positionIndependent) addDynamic(tables, dynamic, image, container, indexOf);
  if (image.code.some(isUnwindable)) addUnwind(tables, image);
  const regions = (["rodata", "text"] as const).flatMap((name) => regionSection(image, name));
  const writable = (["relro", "data", "bss"] as const).flatMap((name) => regionSection(image, name));
  return {
    sections: [...tables.sections, ...regions, ...dynamic.sections, ...writable],
    tablesSize: tables.end - image.base,
    dynamicSize: dynamic.size,
  };
}

const BUILD_ID_SECTION = ".note.gnu.build-id";

/** With an id of zeros, to be filled in when the rest of the file is known. */
function buildIdNote() {
  const note = new ByteWriter().u32(4).u32(BUILD_ID_SIZE).u32(elf.NT_GNU_BUILD_ID).cstring("GNU");
  const bytes = note.bytes(new Uint8Array(BUILD_ID_SIZE)).finish();
  return { name: BUILD_ID_SECTION, type: elf.SHT_NOTE, bytes, align: 4 };
}

function interpreterPath(loader: string) {
  return { name: ".interp", type: elf.SHT_PROGBITS, bytes: new ByteWriter().cstring(loader).finish(), align: 1 };
}

function addDynamic(
  tables: Placer,
  dynamic: Placer,
  image: LinkedImage,
  container: Container,
  indexOf: (region: RegionName) => number,
): void {
  const exports = Object.entries(container.exports).map(([name, target]) => {
    const symbol = wanted(image, target, `the export "${name}"`);
    return { name, symbol, sectionIndex: indexOf(symbol.region!) };
  });
  const imports = Object.entries(container.imports).map(([name, target]) => {
    const slot = wanted(image, target, `the import "${name}"`, ["data", "bss"]);
    return { name, slot: slot.address };
  });
  const symbols = dynamicSymbols(exports, imports, container.soname, container.needed);
  const hash = tables.add(symbols.gnuHash);
  const dynsym = tables.add(symbols.dynsym);
  const dynstr = tables.add(symbols.dynstr);

  const init = container.init.map((name) => wanted(image, name, "a constructor", CODE).address);
  const slots = init.map((target, i) => ({ at: image.dynamicAddress + i * 8, target }));
  const relative = [...slots, ...image.relative];
  const relocations = relocationTable(relative, imports);

  const entries: [number, number][] = symbols.neededOffsets.map((offset) => [elf.DT_NEEDED, offset]);
  if (symbols.sonameOffset !== undefined) entries.push([elf.DT_SONAME, symbols.sonameOffset]);
  if (init.length > 0) {
    const bytes = init.reduce((out, target) => out.u64(target), new ByteWriter()).finish();
    const section = { name: ".init_array", type: elf.SHT_INIT_ARRAY, flags: elf.SHF_WRITE, bytes, entrySize: 8 };
    entries.push([elf.DT_INIT_ARRAY, dynamic.add(section).address], [elf.DT_INIT_ARRAYSZ, bytes.length]);
  }
  entries.push([elf.DT_GNU_HASH, hash.address]);
  entries.push([elf.DT_STRTAB, dynstr.address], [elf.DT_STRSZ, dynstr.size]);
  entries.push([elf.DT_SYMTAB, dynsym.address], [elf.DT_SYMENT, elf.SYM_SIZE]);
  if (relocations.bytes.length > 0) {
    const rela = tables.add(relocations);
    entries.push([elf.DT_RELA, rela.address], [elf.DT_RELASZ, rela.size], [elf.DT_RELAENT, elf.RELA_SIZE]);
    entries.push([elf.DT_RELACOUNT, relative.length]);
  }
  entries.push([elf.DT_FLAGS, elf.DF_BIND_NOW], [elf.DT_FLAGS_1, container.flags1]);
  dynamic.add(dynamicTable(entries));
}

/** The index comes first; it is as long as there are functions, so that the frames' address is known before it. */
function addUnwind(tables: Placer, image: LinkedImage): void {
  const indexAddress = tables.next(4);
  const frameAddress = alignUp(indexAddress + ehFrameHeaderSize(image.code), 8);
  const frame = ehFrame(image.code, frameAddress);
  const index = ehFrameHeader(frame, frameAddress, indexAddress);
  tables.add({ name: ".eh_frame_hdr", type: elf.SHT_PROGBITS, bytes: index, align: 4 });
  tables.add({ name: ".eh_frame", type: elf.SHT_PROGBITS, bytes: frame.bytes, align: 8 });
}

const REGION_SECTIONS = {
  rodata: { name: ".rodata", type: elf.SHT_PROGBITS, flags: elf.SHF_ALLOC },
  text: { name: ".text", type: elf.SHT_PROGBITS, flags: elf.SHF_ALLOC | elf.SHF_EXECINSTR },
  relro: { name: ".data.rel.ro", type: elf.SHT_PROGBITS, flags: elf.SHF_ALLOC | elf.SHF_WRITE },
  data: { name: ".data", type: elf.SHT_PROGBITS, flags: elf.SHF_ALLOC | elf.SHF_WRITE },
  bss: { name: ".bss", type: elf.SHT_NOBITS, flags: elf.SHF_ALLOC | elf.SHF_WRITE },
} as const satisfies Record<RegionName, Pick<Section, "name" | "type" | "flags">>;

function regionSection(image: LinkedImage, name: RegionName): Section[] {
  const region: Region = image.regions[name];
  return region.size === 0 ? [] : [{ ...REGION_SECTIONS[name], ...region, entrySize: 0 }];
}

const CODE: readonly RegionName[] = ["text"];

/** The symbol that the options name, in one of the regions where any are given. */
function wanted(image: LinkedImage, name: string, role: string, regions?: readonly RegionName[]): LinkedSymbol {
  const symbol = image.symbols.get(name);
  if (symbol?.region === undefined)
    throw new ZpolineError("LINK_UNDEFINED", `undefined symbol "${name}" (used as ${role})`);
  if (regions !== undefined && !regions.includes(symbol.region))
    throw new ZpolineError("LINK_REGION", `symbol "${name}" cannot be ${role}`, {
      cause: `it lies in ${symbol.region}, not in ${regions.join(" or ")}`,
    });
  return symbol;
}
