/** Where the kernel and ld.so map the segments of a file: whole pages of it, as mmap does. */
import { alignUp } from "../elf/bytes.ts";
import { PF_R, PF_W, PF_X, PT_LOAD } from "../elf/constants.ts";
import type { ElfFile, ElfSegment } from "../elf/read.ts";
import { ZpolineError } from "../errors.ts";

const PAGE = 4096;

/** Bytes [offset, offset + length) of the file, at `address`; zeros from `zeroFrom` (an address) on. */
export interface MappedPiece {
  readonly address: number;
  readonly offset: number;
  readonly length: number;
  readonly zeroFrom: number;
  readonly executable: boolean;
}

export interface FileLayout {
  /** Address of the lowest page, and bytes from there to the end of the last one. */
  readonly low: number;
  readonly size: number;
  /** Bytes from `low` on that map the start of the file, where its headers are; 0 when `low` is not its start. */
  readonly first: number;
  readonly pieces: readonly MappedPiece[];
}

/** Throws ZpolineError ELF_TRUNCATED, ELF_CORRUPT, or SCAN_NO_CODE when nothing of the file is mapped. */
export function layoutOf(file: ElfFile): FileLayout {
  const segments = file.segments.filter(({ type, fileSize }) => type === PT_LOAD && fileSize > 0);
  const pieces = segments.map((segment) => pieceOf(file, segment));
  const [lowest, ...others] = pieces;
  if (lowest === undefined) {
    throw new ZpolineError("SCAN_NO_CODE", `${file.name} has no segments to map`, {
      cause: "it is an object file, or only holds what was split off a program (debugging information)",
      fix: "scan what it is linked into",
    });
  }
  if (others.some(({ address }) => address < lowest.address)) throw corrupt(file, "segments out of order");
  const end = Math.max(...pieces.map(({ address, length }) => address + length));
  const showsHeaders = lowest.offset === 0 && (segments[0]!.flags & PF_R) !== 0;
  return { low: lowest.address, size: end - lowest.address, first: showsHeaders ? lowest.length : 0, pieces };
}

function pieceOf(file: ElfFile, { address, offset, fileSize, memorySize, flags }: ElfSegment): MappedPiece {
  const end = offset + fileSize;
  if (end > file.source.size) {
    throw new ZpolineError("ELF_TRUNCATED", `${file.name} is truncated`, {
      cause: `a segment needs ${end} bytes, the file has ${file.source.size}`,
      fix: "copy or build the file again",
    });
  }
  const before = address % PAGE;
  if (before !== offset % PAGE) throw corrupt(file, "a segment that does not begin in its page as in the file");
  if (!Number.isSafeInteger(address + fileSize)) throw corrupt(file, "a segment outside of the address space");
  return {
    address: address - before,
    offset: offset - before,
    length: alignUp(before + fileSize, PAGE),
    zeroFrom: memorySize > fileSize && flags & PF_W ? address + fileSize : Number.POSITIVE_INFINITY,
    executable: (flags & PF_X) !== 0,
  };
}

function corrupt(file: ElfFile, what: string): ZpolineError {
  return new ZpolineError("ELF_CORRUPT", `${file.name} is not a sound ELF file`, {
    cause: `it has ${what}`,
    fix: "copy or build the file again",
  });
}
