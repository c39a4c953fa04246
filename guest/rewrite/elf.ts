/**
 * A 64-bit ELF image in memory: what its program headers say, nothing believed. Every read is checked against the
 * readable segments and the range that the caller vouches for, so that a hostile file cannot make us fault.
 */

const PHDR_SIZE: usize = 56;
const PT_LOAD: u32 = 1;
const PT_DYNAMIC: u32 = 2;
const PT_GNU_EH_FRAME: u32 = 0x6474e550;
const PF_X: u32 = 1;
const PF_R: u32 = 4;

const DYN_SIZE: usize = 16;
const DT_HASH: u64 = 4;
const DT_SYMTAB: u64 = 6;
const DT_GNU_HASH: u64 = 0x6ffffef5;

const SYM_SIZE: usize = 24;
const STT_FUNC: u32 = 2;
const STT_GNU_IFUNC: u32 = 10;

/** An image and where it keeps its function boundaries. Addresses are absolute; 0 when there is none. */
// @ts-ignore: decorator
@unmanaged
export class Image {
  /** Added to the addresses in the file. */
  bias: usize;
  /** The program headers, and how many. */
  headers: usize;
  headerCount: usize;
  /** Nothing outside [low, high) is read. */
  low: usize;
  high: usize;
  /** .eh_frame_hdr. */
  frameHeader: usize;
  /** .eh_frame, for images that have it without .eh_frame_hdr. */
  frames: usize;
  framesEnd: usize;
  /** Functions that either of them describes. */
  described: usize;
  /** Dynamic symbols. */
  symbols: usize;
  symbolCount: usize;
  /** Where the functions begin that dynamic symbols name: u32, counted from `low`, ascending; 0 until sortStarts. */
  starts: usize;
  startCount: usize;
}

/**
 * Looks at an image whose program headers are at `headers`, inside [low, high). Whatever is malformed counts as missing.
 * The unwind tables are left to openFrames.
 */
export function openElf(image: Image, bias: usize, headers: usize, count: usize, low: usize, high: usize): void {
  image.bias = bias;
  image.headers = headers;
  image.headerCount = 0;
  image.low = low;
  image.high = high;
  image.frameHeader = 0;
  image.frames = 0;
  image.framesEnd = 0;
  image.described = 0;
  image.symbols = 0;
  image.symbolCount = 0;
  image.starts = 0;
  if (headers < low || headers >= high || (high - headers) / PHDR_SIZE < count) return;
  image.headerCount = count;
  let dynamic: usize = 0;
  let dynamicSize: usize = 0;
  for (let i: usize = 0; i < count; i++) {
    const header = headers + i * PHDR_SIZE;
    const type = load<u32>(header);
    if (type == PT_GNU_EH_FRAME) image.frameHeader = segmentStart(image, header);
    if (type == PT_DYNAMIC) {
      dynamic = segmentStart(image, header);
      dynamicSize = segmentSize(header);
    }
  }
  if (dynamic && readable(image, dynamic, dynamicSize)) openSymbols(image, dynamic, dynamicSize);
}

// @ts-ignore: decorator
@inline
export function segmentStart(image: Image, header: usize): usize {
  return image.bias + <usize>load<u64>(header, 16);
}

// @ts-ignore: decorator
@inline
export function segmentSize(header: usize): usize {
  return <usize>load<u64>(header, 40);
}

/** Whether [address, address + size) lies in [low, high) and in one readable segment. */
export function readable(image: Image, address: usize, size: usize): bool {
  if (address < image.low || address > image.high || image.high - address < size) return false;
  for (let i: usize = 0; i < image.headerCount; i++) {
    const header = image.headers + i * PHDR_SIZE;
    if (load<u32>(header) != PT_LOAD || !(load<u32>(header, 4) & PF_R)) continue;
    const offset = address - segmentStart(image, header);
    const room = segmentSize(header);
    if (offset < room && room - offset >= size) return true;
  }
  return false;
}

/** The header of the `index`-th segment that is readable and not executable; 0 when there are no more. */
export function dataSegment(image: Image, index: u32): usize {
  let seen: u32 = 0;
  for (let i: usize = 0; i < image.headerCount; i++) {
    const header = image.headers + i * PHDR_SIZE;
    if (load<u32>(header) != PT_LOAD || (load<u32>(header, 4) & (PF_R | PF_X)) != PF_R) continue;
    if (seen++ == index) return header;
  }
  return 0;
}

function openSymbols(image: Image, dynamic: usize, size: usize): void {
  let symbols: usize = 0;
  let count: usize = 0;
  for (let offset: usize = 0; offset + DYN_SIZE <= size; offset += DYN_SIZE) {
    const tag = load<u64>(dynamic + offset);
    if (!tag) break;
    const address = dynamicAddress(image, <usize>load<u64>(dynamic + offset, 8));
    if (tag == DT_SYMTAB) symbols = address;
    // Number of symbols in the table: stated by DT_HASH, to be derived from DT_GNU_HASH.
    if (tag == DT_HASH && readable(image, address, 8)) count = load<u32>(address, 4);
    if (tag == DT_GNU_HASH && !count) count = countGnuHash(image, address);
  }
  if (!count || !readable(image, symbols, count * SYM_SIZE)) return;
  image.symbols = symbols;
  image.symbolCount = count;
}

/** A pointer in the dynamic section: glibc's loader has added the bias in place, others leave it as in the file. */
// @ts-ignore: decorator
@inline
function dynamicAddress(image: Image, value: usize): usize {
  return value >= image.low && value < image.high ? value : value + image.bias;
}

/** Number of symbols that a DT_GNU_HASH table knows: one more than the end of the last chain. */
function countGnuHash(image: Image, table: usize): usize {
  if (!readable(image, table, 16)) return 0;
  const buckets = load<u32>(table);
  const first = load<u32>(table, 4);
  const bloom = load<u32>(table, 8);
  const start = table + 16 + <usize>bloom * 8;
  if (bloom > 1 << 24 || buckets > 1 << 24 || !readable(image, start, <usize>buckets * 4)) return 0;
  let last: u32 = 0;
  for (let i: u32 = 0; i < buckets; i++) {
    const symbol = load<u32>(start + <usize>i * 4);
    if (symbol > last) last = symbol;
  }
  if (last < first) return 0;
  const chains = start + <usize>buckets * 4;
  while (readable(image, chains + <usize>(last - first) * 4, 4)) {
    if (load<u32>(chains + <usize>(last - first) * 4) & 1) return <usize>last + 1;
    last++;
  }
  return 0;
}

/** Start of the function that dynamic symbol `index` names; 0 when it names no function of this image. */
export function symbolFunction(image: Image, index: usize): usize {
  const symbol = image.symbols + index * SYM_SIZE;
  const type = <u32>load<u8>(symbol, 4) & 15;
  if ((type != STT_FUNC && type != STT_GNU_IFUNC) || !load<u16>(symbol, 6)) return 0;
  return image.bias + <usize>load<u64>(symbol, 8);
}
