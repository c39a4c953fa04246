/** The system call sites of an ELF file, and what would become of each inside a program. */
import type { ElfFile } from "../elf/read.ts";
import { ZpolineError } from "../errors.ts";
import { instructionText } from "./instruction.ts";
import { type FileLayout, layoutOf, type MappedPiece } from "./layout.ts";
import type { ScanModule } from "./module.ts";
import { type Reason, reasonOf } from "./reasons.ts";
import { FunctionNames, type NamedAddress } from "./symbols.ts";

export type Patch = "zero" | "jump" | "none";
/** Which patch is the usual one. */
export type Usual = "zero" | "jump";

/** Bytes before and behind a site that the stub of a jump holds. */
export interface Window {
  readonly before: number;
  readonly after: number;
}

export interface Instruction {
  readonly bytes: Uint8Array;
  /** Of instructions that have to do with the call. */
  readonly text: string | undefined;
  /** Part of the window of a jump. */
  readonly moved: boolean;
}

export interface ScannedSite {
  /** As in the file. */
  readonly address: number;
  /** By name, or by the address where it starts ("0x1234"); undefined when neither is known. */
  readonly function: NamedAddress | undefined;
  /** Up to two instructions before the site, the site, and all of its window. */
  readonly code: readonly Instruction[];
  /** Where the instruction before sets rax to a constant. */
  readonly number: number | undefined;
  /** Whether it is known to be an instruction. */
  readonly certain: boolean;
  readonly patch: Patch;
  /** Of a jump. */
  readonly window: Window | undefined;
  /** Why not the usual patch, or why not something better; undefined for the usual site. */
  readonly reason: Reason | undefined;
}

export interface FileScan {
  /** Those that are certain, and those that may be instructions, by address. */
  readonly sites: readonly ScannedSite[];
  /** Bytes 0f 05 and 0f 34 that are part of other instructions. */
  readonly falsePairs: number;
  /** What may be an instruction, beyond those of one segment that have room: they stay as they are. */
  readonly beyond: number;
}

/** A page of the file at `address` lies at `address + bias`, modulo 2^32, in the module's memory. */
interface Placed {
  readonly guest: ScanModule;
  readonly usual: Usual;
  readonly layout: FileLayout;
  readonly base: number;
}

/** How far before a site decoding begins when its function is not known, or begins farther away than FAR. */
const NEARBY = 64;
const FAR = 1 << 16;
/** Instructions shown before a site. */
const BEFORE = 2;

/**
 * @throws ZpolineError SCAN_NO_CODE (nothing is mapped), SCAN_TOO_BIG (segments span more than 4 GiB), ELF_TRUNCATED or
 * ELF_CORRUPT.
 */
export function scanElf(guest: ScanModule, file: ElfFile, usual: Usual): FileScan {
  const layout = layoutOf(file);
  const base = layout.size < 2 ** 32 ? guest.place(layout.low % 2 ** 32, layout.size) >>> 0 : 0;
  if (base === 0) {
    throw new ZpolineError("SCAN_TOO_BIG", `${file.name} takes too much memory to be scanned`, {
      cause: `its segments span ${layout.size} bytes; room is for somewhat less than 2 GiB, or 4 GiB at fixed addresses`,
      fix: "none: at run time zpoline has no such limit",
    });
  }
  const placed = { guest, usual, layout, base };
  try {
    for (const piece of layout.pieces) fill(placed, piece, file.source.read(piece.offset, piece.length));
    guest.open(base, layout.size, layout.low % 2 ** 32, layout.first);
    const names = new FunctionNames(file);
    const scans = layout.pieces.filter(({ executable }) => executable).map((piece) => scanPiece(placed, piece, names));
    const total = (count: (scan: FileScan) => number) => scans.reduce((sum, scan) => sum + count(scan), 0);
    return {
      sites: scans.flatMap(({ sites }) => sites),
      falsePairs: total((scan) => scan.falsePairs),
      beyond: total((scan) => scan.beyond),
    };
  } finally {
    // The next file finds zeros.
    for (const piece of layout.pieces) bytesAt(placed, piece.address, piece.length).fill(0);
  }
}

function bytesAt({ guest, layout, base }: Placed, address: number, length: number): Uint8Array {
  return new Uint8Array(guest.memory.buffer, base + (address - layout.low), length);
}

/** `contents` may be shorter than the piece: behind its last byte a file's last page holds zeros. */
function fill(placed: Placed, { address, length, zeroFrom }: MappedPiece, contents: Uint8Array): void {
  const bytes = bytesAt(placed, address, length);
  bytes.set(contents);
  if (zeroFrom < address + length) bytes.fill(0, zeroFrom - address);
}

function scanPiece(placed: Placed, { address: start, length }: MappedPiece, names: FunctionNames): FileScan {
  const { guest, usual, layout, base } = placed;
  const from = base + (start - layout.low);
  const count = guest.find(from, from + length, usual === "jump") >>> 0;
  const judged = Math.min(count, guest.MOST_SITES.value);
  const kept = Array.from({ length: judged }, (_, index) => index);
  return {
    sites: kept.map((index) => describe(placed, index, start, names)),
    falsePairs: guest.falsePairs(),
    beyond: count - judged,
  };
}

function describe(placed: Placed, index: number, textStart: number, names: FunctionNames): ScannedSite {
  const { guest, layout, base } = placed;
  const inFile = (pointer: number) => layout.low + ((pointer >>> 0) - base);
  const address = inFile(guest.addressOf(index));
  const start = guest.functionOf(index) === 0 ? undefined : inFile(guest.functionOf(index));
  const number = guest.numberOf(index);
  const patch = patchOf(guest, index);
  const window = patch === "jump" ? { before: guest.beforeOf(index), after: guest.afterOf(index) } : undefined;
  return {
    address,
    function: names.at(address) ?? (start === undefined ? undefined : unnamed(start, address)),
    code: codeAt(placed, decodeFrom(start, textStart, address), address, window),
    number: number < 0 ? undefined : number,
    certain: guest.verdictOf(index) === guest.VERDICT_SITE.value,
    patch,
    window,
    reason: reasonOf(guest, index),
  };
}

function patchOf(guest: ScanModule, index: number): Patch {
  const patch = guest.patchOf(index);
  return patch === guest.PATCH_ZERO.value ? "zero" : patch === guest.PATCH_JUMP.value ? "jump" : "none";
}

function decodeFrom(start: number | undefined, textStart: number, address: number): number {
  return start !== undefined && address - start <= FAR ? start : Math.max(textStart, address - NEARBY);
}

function unnamed(start: number, address: number): NamedAddress {
  return { name: `0x${start.toString(16)}`, offset: address - start };
}

/** Instructions before the site at `address`, decoded one after the other from `from` on, the site, and its window. */
function codeAt(placed: Placed, from: number, address: number, window: Window | undefined): Instruction[] {
  const moved = window !== undefined;
  const start = address - (window?.before ?? 0);
  const inWindow = decodeLine(placed, start, address, true);
  const before = decodeLine(placed, from, start, false);
  return [
    ...before.slice(Math.max(before.length + Math.min(inWindow.length - BEFORE, 0), 0)),
    ...inWindow,
    instruction(placed, address, 2, moved),
    ...decodeLine(placed, address + 2, address + 2 + (window?.after ?? 0), true),
  ];
}

/** The instructions from `from` up to `end`, as far as they reach it in a line; the last one may be cut off. */
function decodeLine(placed: Placed, from: number, end: number, moved: boolean): Instruction[] {
  const { guest, layout, base } = placed;
  const at = (place: number) => base + (place - layout.low);
  let line: Instruction[] = [];
  for (let place = from; place < end; ) {
    const length = guest.lengthAt(at(place), at(end));
    if (length > 0) line.push(instruction(placed, place, length, moved));
    else if (moved) return [...line, instruction(placed, place, end - place, moved)];
    else line = [];
    place += length || 1;
  }
  return line;
}

function instruction(placed: Placed, address: number, length: number, moved: boolean): Instruction {
  const bytes = bytesAt(placed, address, length).slice();
  return { bytes, text: instructionText(bytes), moved };
}
