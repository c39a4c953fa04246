/**
 * Reads ELF64 files for x86-64: headers, segments, sections, symbols, notes. Only what is asked for is read. Whatever the
 * input, nothing but ZpolineError is thrown: ELF_NOT_ELF, ELF_CLASS (32-bit), ELF_ENDIAN, ELF_MACHINE, ELF_TRUNCATED or
 * ELF_CORRUPT. Addresses are numbers: one above 2^53, as no program in user space has, is rounded.
 */
import { ZpolineError } from "../errors.ts";
import { alignUp } from "./bytes.ts";
import * as elf from "./constants.ts";
import type { ByteSource } from "./source.ts";

export interface ElfFile {
  /** What messages call it. */
  readonly name: string;
  readonly source: ByteSource;
  /** e_type: ET_EXEC, ET_DYN or another. */
  readonly type: number;
  readonly entry: number;
  readonly segments: readonly ElfSegment[];
  /** Where the section headers are; a count of 0 when there are none. */
  readonly sectionTable: { readonly offset: number; readonly count: number; readonly nameSection: number };
}

export interface ElfSegment {
  readonly type: number;
  /** PF_R, PF_W, PF_X. */
  readonly flags: number;
  readonly offset: number;
  readonly address: number;
  readonly fileSize: number;
  readonly memorySize: number;
  readonly align: number;
}

export interface ElfSection {
  readonly name: string;
  readonly type: number;
  readonly flags: number;
  readonly address: number;
  readonly offset: number;
  readonly size: number;
  readonly link: number;
  readonly info: number;
  readonly align: number;
  readonly entrySize: number;
}

export interface ElfSymbol {
  readonly name: string;
  readonly value: number;
  readonly size: number;
  /** STT_FUNC, STT_OBJECT, … */
  readonly type: number;
  /** STB_LOCAL, STB_GLOBAL, STB_WEAK. */
  readonly binding: number;
  readonly sectionIndex: number;
}

export interface ElfNote {
  readonly owner: string;
  readonly type: number;
  readonly description: Uint8Array;
}

const MAGIC = [0x7f, 0x45, 0x4c, 0x46];
const PN_XNUM = 0xffff;
const ONLY_X86_64 = "zpoline works on 64-bit x86 programs: use a build for x86-64";

/** Whether the bytes start as an ELF file does. */
export function isElf(bytes: Uint8Array): boolean {
  return MAGIC.every((byte, i) => bytes[i] === byte);
}

/** Reads and checks the ELF header and the program headers. */
export function readElf(source: ByteSource, name: string): ElfFile {
  const start = source.read(0, Math.min(elf.EHDR_SIZE, source.size));
  if (!isElf(start)) throw new ZpolineError("ELF_NOT_ELF", `${name} is not an ELF file`);
  checkKind(start, name);
  const header = piece(source, name, "ELF header", 0, elf.EHDR_SIZE);
  if (header.u16(18) !== elf.EM_X86_64)
    throw new ZpolineError("ELF_MACHINE", `${name} is for another machine (e_machine ${header.u16(18)})`, {
      fix: ONLY_X86_64,
    });
  const sectionTable = readSectionTable(source, name, header);
  const count = header.u16(56) === PN_XNUM ? sectionTable.segmentCount : header.u16(56);
  if (count > 0 && header.u16(54) !== elf.PHDR_SIZE) throw corrupt(name, `program headers of ${header.u16(54)} bytes`);
  const table = piece(source, name, "program header table", header.size(32), count * elf.PHDR_SIZE);
  const segments = Array.from({ length: count }, (_, i) => readSegment(table, i * elf.PHDR_SIZE));
  return { name, source, type: header.u16(16), entry: header.address(24), segments, sectionTable };
}

function checkKind(start: Uint8Array, name: string): void {
  const [fileClass, data] = [start[4], start[5]];
  if (fileClass === undefined || data === undefined) throw truncated(name, "ELF header", elf.EHDR_SIZE, start.length);
  if (fileClass === elf.ELFCLASS32) throw new ZpolineError("ELF_CLASS", `${name} is 32-bit`, { fix: ONLY_X86_64 });
  if (fileClass !== elf.ELFCLASS64) throw corrupt(name, `an ELF class of ${fileClass}`);
  if (data === elf.ELFDATA2MSB) throw new ZpolineError("ELF_ENDIAN", `${name} is big-endian`, { fix: ONLY_X86_64 });
  if (data !== elf.ELFDATA2LSB) throw corrupt(name, `a data encoding of ${data}`);
}

/** Counts that do not fit the ELF header are in the first section header (gABI, "Extended section header"). */
function readSectionTable(source: ByteSource, name: string, header: Piece) {
  const offset = header.size(40);
  if (offset === 0) return { offset: 0, count: 0, nameSection: 0, segmentCount: PN_XNUM };
  if (header.u16(58) !== elf.SHDR_SIZE) throw corrupt(name, `section headers of ${header.u16(58)} bytes`);
  const first = piece(source, name, "section header table", offset, elf.SHDR_SIZE);
  const count = header.u16(60) === 0 ? first.size(32) : header.u16(60);
  const nameSection = header.u16(62) === elf.SHN_XINDEX ? first.u32(40) : header.u16(62);
  return { offset, count, nameSection, segmentCount: first.u32(44) };
}

function readSegment(table: Piece, at: number): ElfSegment {
  return {
    type: table.u32(at),
    flags: table.u32(at + 4),
    offset: table.size(at + 8),
    address: table.address(at + 16),
    fileSize: table.size(at + 32),
    memorySize: table.address(at + 40),
    align: table.address(at + 48),
  };
}

/** All sections, the empty section 0 included, so that indices are those of the file. */
export function readSections(file: ElfFile): ElfSection[] {
  const { source, name, sectionTable } = file;
  const { offset, count, nameSection } = sectionTable;
  const table = piece(source, name, "section header table", offset, count * elf.SHDR_SIZE);
  const unnamed = Array.from({ length: count }, (_, i) => readSection(table, i * elf.SHDR_SIZE));
  const namesHeader = unnamed[nameSection];
  if (nameSection === 0 || namesHeader === undefined) return unnamed.map(({ section }) => section);
  const names = stringTable(file, namesHeader.section);
  return unnamed.map(({ section, nameOffset }) => ({ ...section, name: names(nameOffset) }));
}

function readSection(table: Piece, at: number): { section: ElfSection; nameOffset: number } {
  const section = {
    name: "",
    type: table.u32(at + 4),
    flags: table.address(at + 8),
    address: table.address(at + 16),
    offset: table.address(at + 24),
    size: table.address(at + 32),
    link: table.u32(at + 40),
    info: table.u32(at + 44),
    align: table.address(at + 48),
    entrySize: table.address(at + 56),
  };
  return { section, nameOffset: table.u32(at) };
}

/** The bytes of a section; none for one that takes no room in the file. */
export function sectionBytes(file: ElfFile, section: ElfSection): Uint8Array {
  if (section.type === elf.SHT_NOBITS) return new Uint8Array(0);
  return piece(file.source, file.name, `section ${section.name}`, section.offset, section.size).bytes;
}

/** The symbols of .symtab or .dynsym, the empty symbol 0 left out; none when there is no such section. */
export function readSymbols(file: ElfFile, table: ".symtab" | ".dynsym"): ElfSymbol[] {
  const sections = readSections(file);
  const type = table === ".symtab" ? elf.SHT_SYMTAB : elf.SHT_DYNSYM;
  const section = sections.find((candidate) => candidate.type === type);
  if (section === undefined) return [];
  const strings = sections[section.link];
  if (strings === undefined) throw corrupt(file.name, `a ${table} without names`);
  const names = stringTable(file, strings);
  const entries = new Piece(sectionBytes(file, section), file.name);
  const count = Math.max(0, Math.floor(section.size / elf.SYM_SIZE) - 1);
  return Array.from({ length: count }, (_, i) => {
    const at = (i + 1) * elf.SYM_SIZE;
    const info = entries.u8(at + 4);
    return {
      name: names(entries.u32(at)),
      value: entries.address(at + 8),
      size: entries.address(at + 16),
      type: info & 15,
      binding: info >> 4,
      sectionIndex: entries.u16(at + 6),
    };
  });
}

/** The notes of all PT_NOTE segments. */
export function readNotes(file: ElfFile): ElfNote[] {
  return file.segments
    .filter((segment) => segment.type === elf.PT_NOTE)
    .flatMap((segment) => {
      const bytes = segmentPiece(file, segment, "note segment");
      const align = segment.align === 8 ? 8 : 4;
      const notes: ElfNote[] = [];
      for (let at = 0; at + 12 <= segment.fileSize; ) {
        const ownerAt = at + 12;
        const descriptionAt = alignUp(ownerAt + bytes.u32(at), align);
        const end = descriptionAt + bytes.u32(at + 4);
        if (end > segment.fileSize) throw corrupt(file.name, "a note that is longer than its segment");
        const owner = decode(bytes.bytes.subarray(ownerAt, ownerAt + bytes.u32(at))).replace(/\0+$/, "");
        notes.push({ owner, type: bytes.u32(at + 8), description: bytes.bytes.slice(descriptionAt, end) });
        at = alignUp(end, align);
      }
      return notes;
    });
}

/** The build id as hex digits, where the linker left one. */
export function buildId(file: ElfFile): string | undefined {
  const note = readNotes(file).find(({ owner, type }) => owner === "GNU" && type === elf.NT_GNU_BUILD_ID);
  return note && Array.from(note.description, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Path of the dynamic loader (PT_INTERP); a static program has none. */
export function interpreter(file: ElfFile): string | undefined {
  const segment = file.segments.find(({ type }) => type === elf.PT_INTERP);
  if (segment === undefined) return undefined;
  const { bytes } = segmentPiece(file, segment, "interpreter");
  const end = bytes.indexOf(0);
  if (end <= 0) throw corrupt(file.name, "an interpreter without a name");
  return decode(bytes.subarray(0, end));
}

function segmentPiece(file: ElfFile, { offset, fileSize }: ElfSegment, what: string): Piece {
  return piece(file.source, file.name, what, offset, fileSize);
}

function stringTable(file: ElfFile, section: ElfSection): (offset: number) => string {
  const bytes = sectionBytes(file, section);
  return (offset) => {
    const end = bytes.indexOf(0, offset);
    if (end < 0) throw corrupt(file.name, `a name at ${offset} outside of its string table`);
    return decode(bytes.subarray(offset, end));
  };
}

/** Bytes that are all there, as numbers. Offsets are from the start of the piece. */
class Piece {
  readonly bytes: Uint8Array;
  readonly #view: DataView;
  readonly #name: string;

  constructor(bytes: Uint8Array, name: string) {
    this.bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    this.#name = name;
  }

  u8(at: number): number {
    return this.#view.getUint8(at);
  }

  u16(at: number): number {
    return this.#view.getUint16(at, true);
  }

  u32(at: number): number {
    return this.#view.getUint32(at, true);
  }

  address(at: number): number {
    return Number(this.#view.getBigUint64(at, true));
  }

  /** An offset or size in the file. */
  size(at: number): number {
    const value = this.address(at);
    if (!Number.isSafeInteger(value)) throw corrupt(this.#name, `an offset or size of ${value}`);
    return value;
  }
}

function piece(source: ByteSource, name: string, what: string, offset: number, length: number): Piece {
  if (offset + length > source.size) throw truncated(name, what, offset + length, source.size);
  const bytes = source.read(offset, length);
  if (bytes.length < length) throw truncated(name, what, offset + length, offset + bytes.length);
  return new Piece(bytes, name);
}

function truncated(name: string, what: string, needed: number, size: number): ZpolineError {
  return new ZpolineError("ELF_TRUNCATED", `${name} is truncated`, {
    cause: `its ${what} needs ${needed} bytes, the file has ${size}`,
    fix: "copy or build the file again",
  });
}

function corrupt(name: string, what: string): ZpolineError {
  return new ZpolineError("ELF_CORRUPT", `${name} is not a sound ELF file`, {
    cause: `it has ${what}`,
    fix: "copy or build the file again",
  });
}

function decode(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes);
}
