/**
 * Function extents from unwind tables (LSB Core, "Exception Frames"; DWARF 5 section 6.4): `.eh_frame_hdr` is a sorted
 * index of `.eh_frame`, in which every FDE names the start and the size of a function. Static executables of gcc have
 * `.eh_frame` without the index: it is searched for in their data.
 */
import { dataSegment, Image, readable, segmentSize, segmentStart } from "./elf";

/** A function. */
// @ts-ignore: decorator
@unmanaged
export class Extent {
  /** First address; 0 when nothing at or before the address in question is known. */
  start: usize;
  /** End of what the unwind table describes; equal to `start` when it does not say. */
  end: usize;
  /** Where the next known function starts: at most the end of the text. */
  next: usize;
}

// Pointer encodings (DW_EH_PE_*): format in the low 4 bits, what it counts from in the others.
const FORMAT_ABSOLUTE: u32 = 0x00;
const FORMAT_UDATA4: u32 = 0x03;
const FORMAT_UDATA8: u32 = 0x04;
const FORMAT_SDATA4: u32 = 0x0b;
const FORMAT_SDATA8: u32 = 0x0c;
const FROM_ZERO: u32 = 0x00;
const FROM_FIELD: u32 = 0x10;
const UNKNOWN: u32 = 0xff;

/** As many bytes of a CIE as the "R" data of compilers may be away: a CIE is always followed by an FDE or an end mark. */
const CIE_READ: usize = 28;

/** The only layout of .eh_frame_hdr that linkers write: count udata4, table of sdata4 pairs that count from its start. */
const HEADER_ENCODINGS: u32 = 0x3b03;
const HEADER_TABLE: usize = 12;

/**
 * Checks .eh_frame_hdr. In an image without it, searches for `.eh_frame`: tables that start like one are walked to their
 * end mark.
 */
export function openFrames(image: Image): void {
  const indexed = image.frameHeader;
  if (indexed) {
    image.described = openHeader(image, indexed);
    if (!image.described) image.frameHeader = 0;
    return;
  }
  let attempts: u32 = 16;
  for (let index: u32 = 0; ; index++) {
    const header = dataSegment(image, index);
    if (!header) return;
    const start = segmentStart(image, header);
    const size = segmentSize(header);
    if (size < 16 || !readable(image, start, size)) continue;
    const last = start + size - 16;
    for (let p = (start + 3) & ~(<usize>3); p <= last; p += 4) {
      if (load<u32>(p, 4) || load<u16>(p, 8) != 0x7a01) continue; // CIE, version 1, augmentation "z…"
      image.framesEnd = tableEnd(image, p, start + size);
      if (image.framesEnd) {
        image.frames = p;
        return;
      }
      if (!--attempts) return;
    }
  }
}

/** Number of functions in .eh_frame_hdr; 0 when it is not as linkers write it, or not readable. */
function openHeader(image: Image, header: usize): usize {
  if (!readable(image, header, HEADER_TABLE)) return 0;
  if (load<u8>(header) != 1 || load<u16>(header, 2) != HEADER_ENCODINGS) return 0;
  const count: usize = load<u32>(header, 8);
  return !(count >> 28) && readable(image, header + HEADER_TABLE, count * 8) ? count : 0;
}

/** Address of the end mark of a table of CIEs and FDEs; 0 when this is none. Counts its functions. */
function tableEnd(image: Image, table: usize, limit: usize): usize {
  let p = table;
  let functions: usize = 0;
  while (limit - p >= 4) {
    const length: usize = load<u32>(p);
    if (!length) {
      image.described = functions;
      return functions ? p : 0;
    }
    if (length < 12 || limit - p - 4 < length) return 0;
    const back: usize = load<u32>(p, 4);
    if (back) {
      if (back > p + 4 - table || load<u32>(p + 4 - back, 4)) return 0;
      functions++;
    }
    p += 4 + length;
  }
  return 0;
}

/** Narrows `extent` to the function that covers or precedes `address`, as far as unwind tables know. */
export function frameExtent(image: Image, address: usize, extent: Extent): void {
  if (image.frameHeader) searchHeader(image, address, extent);
  else if (image.frames) searchFrames(image, address, extent);
}

function searchHeader(image: Image, address: usize, extent: Extent): void {
  const header = image.frameHeader;
  const count = image.described;
  // Invariant: entries below `low` start at or before the address, entries from `high` on after it.
  let low: usize = 0;
  let high = count;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (tableStart(header, middle) <= address) low = middle + 1;
    else high = middle;
  }
  if (low < count) narrow(extent, tableStart(header, low), 0, address);
  if (!low) return;
  const start = tableStart(header, low - 1);
  const frame = header + <isize>load<i32>(header + HEADER_TABLE + (low - 1) * 8, 4);
  narrow(extent, start, frameSize(image, frame), address);
}

// @ts-ignore: decorator
@inline
function tableStart(header: usize, index: usize): usize {
  return header + <isize>load<i32>(header + HEADER_TABLE + index * 8);
}

/** Takes into account that a function of `size` bytes (0: unknown) starts at `start`. */
export function narrow(extent: Extent, start: usize, size: usize, address: usize): void {
  if (start > address) {
    if (start < extent.next) extent.next = start;
  } else if (start > extent.start) {
    extent.start = start;
    extent.end = start + size > start ? start + size : start;
  }
}

function searchFrames(image: Image, address: usize, extent: Extent): void {
  let encoding = UNKNOWN;
  let cie: usize = 0;
  // openFrames has walked the table: lengths and references hold.
  for (let p = image.frames; p < image.framesEnd; p += 4 + <usize>load<u32>(p)) {
    const back: usize = load<u32>(p, 4);
    if (!back) continue;
    if (p + 4 - back != cie) {
      cie = p + 4 - back;
      encoding = frameEncoding(cie);
    }
    const end = p + 4 + <usize>load<u32>(p);
    const width = pointerSize(encoding);
    if (!width || end - p - 8 < 2 * width) continue;
    narrow(extent, readPointer(p + 8, encoding), readPointer(p + 8 + width, encoding & 15), address);
  }
}

/** Size of the function that the FDE at `frame` describes; 0 when it cannot be read. */
function frameSize(image: Image, frame: usize): usize {
  if (!readable(image, frame, 8)) return 0;
  const length: usize = load<u32>(frame);
  const cie = frame + 4 - <usize>load<u32>(frame, 4);
  if (!readable(image, frame + 4, length) || !readable(image, cie, CIE_READ)) return 0;
  const encoding = frameEncoding(cie);
  const width = pointerSize(encoding);
  return width && length >= 4 + 2 * width ? readPointer(frame + 8 + width, encoding & 15) : 0;
}

/**
 * How the FDEs of a CIE encode pointers (the "R" of its augmentation); UNKNOWN when this is no such CIE. Reads at most
 * CIE_READ bytes, and these must be readable.
 */
function frameEncoding(cie: usize): u32 {
  if (load<u32>(cie, 4) || load<u8>(cie, 8) != 1) return UNKNOWN;
  const end = cie + CIE_READ;
  const augmentation = cie + 9;
  if (load<u8>(augmentation) != 0x7a) return UNKNOWN; // 'z'
  let p = augmentation;
  while (p < end && load<u8>(p)) p++;
  p++;
  // Code alignment, data alignment, return register (version 1: one byte), size of the augmentation data.
  p = skipLeb(p, end);
  p = skipLeb(p, end) + 1;
  p = skipLeb(p, end);
  for (let letter = augmentation + 1; p < end; letter++) {
    const c: u32 = load<u8>(letter);
    if (c == 0x52) return load<u8>(p); // 'R'
    if (c == 0x50) p += 1 + pointerSize(load<u8>(p)); // 'P': encoding, personality
    else if (c == 0x4c) p++; // 'L'
    else if (c != 0x53 && c != 0x42) return UNKNOWN; // 'S' and 'B' have no data
  }
  return UNKNOWN;
}

// @ts-ignore: decorator
@inline
function skipLeb(start: usize, end: usize): usize {
  let p = start;
  while (p < end && load<u8>(p) & 0x80) p++;
  return p + 1;
}

/** Bytes of a pointer of this encoding; 0 when it is not one that linkers use in FDEs. */
function pointerSize(encoding: u32): usize {
  const from = encoding & 0x70;
  if (from != FROM_ZERO && from != FROM_FIELD) return 0;
  const format = encoding & 15;
  if (format == FORMAT_SDATA4 || format == FORMAT_UDATA4) return 4;
  return format == FORMAT_ABSOLUTE || format == FORMAT_UDATA8 || format == FORMAT_SDATA8 ? 8 : 0;
}

function readPointer(p: usize, encoding: u32): usize {
  const format = encoding & 15;
  let value: usize = 0;
  if (format == FORMAT_SDATA4) value = <usize>(<isize>load<i32>(p));
  else if (format == FORMAT_UDATA4) value = load<u32>(p);
  else value = <usize>load<u64>(p);
  return encoding & 0x70 ? value + p : value;
}
