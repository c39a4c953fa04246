/** Real ELF files for tests of code that looks at mapped images. */
import { existsSync, readFileSync } from "node:fs";

export interface Segment {
  readonly type: number;
  readonly flags: number;
  readonly offset: number;
  readonly address: number;
  readonly fileSize: number;
  readonly size: number;
}

export interface MappedElf {
  /** The segments at their addresses, the lowest page first. */
  readonly bytes: Uint8Array;
  /** Virtual address of bytes[0]. */
  readonly low: number;
  /** Offset of the program headers in `bytes`, and their number. */
  readonly headersAt: number;
  readonly headerCount: number;
  readonly segments: readonly Segment[];
}

export const PT_LOAD = 1;
export const PT_GNU_EH_FRAME = 0x6474e550;
export const PF_X = 1;

/** Lays a 64-bit ELF file out as the kernel maps it. */
export function mapElf(path: string): MappedElf {
  const file = readFileSync(path);
  const headerOffset = Number(file.readBigUInt64LE(32));
  const headerCount = file.readUInt16LE(56);
  const segments = Array.from({ length: headerCount }, (_, i): Segment => {
    const at = headerOffset + 56 * i;
    const wide = (offset: number) => Number(file.readBigUInt64LE(at + offset));
    return {
      type: file.readUInt32LE(at),
      flags: file.readUInt32LE(at + 4),
      offset: wide(8),
      address: wide(16),
      fileSize: wide(32),
      size: wide(40),
    };
  });
  const loads = segments.filter((s) => s.type === PT_LOAD);
  const low = Math.min(...loads.map((s) => s.address)) & -4096;
  const bytes = new Uint8Array(Math.max(...loads.map((s) => s.address + s.size)) - low);
  for (const s of loads) bytes.set(file.subarray(s.offset, s.offset + s.fileSize), s.address - low);
  const first = loads.find((s) => s.offset <= headerOffset && headerOffset < s.offset + s.fileSize);
  if (!first) throw new Error(`${path}: the program headers are not mapped`);
  return { bytes, low, headersAt: first.address - first.offset + headerOffset - low, headerCount, segments };
}

/** Starts of the functions in .eh_frame_hdr, ascending; empty when the file has none. */
export function functionStarts(elf: MappedElf): number[] {
  const header = elf.segments.find((s) => s.type === PT_GNU_EH_FRAME);
  if (!header) return [];
  const view = new DataView(elf.bytes.buffer, header.address - elf.low);
  if (view.getUint8(2) !== 0x03 || view.getUint8(3) !== 0x3b) throw new Error("unusual .eh_frame_hdr encoding");
  return Array.from({ length: view.getUint32(8, true) }, (_, i) => header.address + view.getInt32(12 + 8 * i, true));
}

/** The bytes of the executable segments. */
export function codeRanges(elf: MappedElf): { start: number; end: number }[] {
  return elf.segments
    .filter((s) => s.type === PT_LOAD && s.flags & PF_X)
    .map((s) => ({ start: s.address, end: s.address + s.fileSize }));
}

/** Those of `paths` that exist on this machine. */
export function present(...paths: string[]): string[] {
  return paths.filter((path) => existsSync(path));
}
