/** Small ELF images made by hand, for code that real programs do not show on demand. */
import type { MappedElf, Segment } from "../helpers/mapped-elf.ts";
import { PF_X, PT_GNU_EH_FRAME, PT_LOAD } from "../helpers/mapped-elf.ts";

export const TEXT = 0x1000;
const PHDR_SIZE = 56;
const PF_R = 4;

/** A function that the unwind table describes: offset in the text, and size. */
export interface Described {
  readonly at: number;
  readonly size: number;
}

/**
 * An image at address 0: program headers, `text` at TEXT, and unwind tables (none when `described` is empty) with the
 * usual encodings: pointers count from their own place, four bytes.
 */
export function tinyElf(text: readonly number[], described: readonly Described[]): MappedElf {
  const frames = (TEXT + text.length + 0xfff) & ~0xfff;
  const bytes = new Uint8Array(frames + 0x1000);
  const view = new DataView(bytes.buffer);
  bytes.set(text, TEXT);
  const segment = (type: number, flags: number, address: number, length: number): Segment => ({
    ...{ type, flags, address, offset: address },
    ...{ size: length, fileSize: length },
  });
  const segments = [
    segment(PT_LOAD, PF_R, 0, TEXT),
    segment(PT_LOAD, PF_R | PF_X, TEXT, text.length),
    segment(PT_LOAD, PF_R, frames, 0x1000),
    ...(described.length ? [segment(PT_GNU_EH_FRAME, PF_R, frames, 12 + 8 * described.length)] : []),
  ];
  for (const [i, s] of segments.entries()) {
    view.setUint32(64 + PHDR_SIZE * i, s.type, true);
    view.setUint32(64 + PHDR_SIZE * i + 4, s.flags, true);
    view.setBigUint64(64 + PHDR_SIZE * i + 16, BigInt(s.address), true);
    view.setBigUint64(64 + PHDR_SIZE * i + 40, BigInt(s.size), true);
  }
  if (described.length) writeFrames(bytes, view, frames, described);
  return { bytes, low: 0, headersAt: 64, headerCount: segments.length, segments };
}

function writeFrames(bytes: Uint8Array, view: DataView, frames: number, described: readonly Described[]): void {
  bytes.set([1, 0x1b, 0x03, 0x3b], frames);
  view.setUint32(frames + 8, described.length, true);
  const cie = frames + 0x400;
  // Length 20, CIE, version 1, "zR", alignments 1 and -8, register 16, one byte of data: pc-relative sdata4.
  bytes.set([20, 0, 0, 0, 0, 0, 0, 0, 1, 0x7a, 0x52, 0, 1, 0x78, 16, 1, 0x1b], cie);
  for (const [i, { at, size }] of described.entries()) {
    const fde = cie + 24 + 20 * i;
    view.setUint32(fde, 16, true);
    view.setUint32(fde + 4, fde + 4 - cie, true);
    view.setInt32(fde + 8, TEXT + at - (fde + 8), true);
    view.setUint32(fde + 12, size, true);
    view.setInt32(frames + 12 + 8 * i, TEXT + at - frames, true);
    view.setInt32(frames + 16 + 8 * i, fde - frames, true);
  }
}
