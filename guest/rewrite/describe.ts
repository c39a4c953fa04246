/** Which image a mapping is part of: where its headers are, and how far it is mapped. */
import { PROT_READ } from "../std/sys";
import { mappingAt, Maps } from "./maps";

/** An image, as openImage takes it. All 0 where there are no headers. */
// @ts-ignore: decorator
@unmanaged
export class Bounds {
  bias: usize;
  headers: usize;
  count: usize;
  low: usize;
  high: usize;
}

const ELF_MAGIC: u32 = 0x464c457f;

// Program headers (elf(5)).
const PHDR_SIZE: usize = 56;
const MOST_HEADERS: usize = 64;
const PT_LOAD: u32 = 1;
const PF_R: u32 = 4;
const P_FLAGS: usize = 4;
const P_OFFSET: usize = 8;
const P_VADDR: usize = 16;
const P_FILESZ: usize = 32;
const PAGE_MASK: usize = ~(<usize>4095);

function sameFile(maps: Maps, a: u64, b: u64): bool {
  return mappingAt(maps, a).inode == mappingAt(maps, b).inode;
}

/** Address in the file of the page that the first PT_LOAD maps. */
function firstAddress(headers: usize, count: usize): usize {
  for (let i: usize = 0; i < count; i++) {
    const header = headers + i * PHDR_SIZE;
    if (load<u32>(header) == PT_LOAD) return load<usize>(header, P_VADDR) & PAGE_MASK;
  }
  return 0;
}

/**
 * The first byte of a readable segment that no readable mapping of [first, last] shows; -1 when all are there. While a
 * loader still maps the segments, the first mapping lies over the whole image: where it shows other bytes of the file, or
 * none, is not the segment.
 */
function mappedEnd(maps: Maps, first: u64, last: u64, header: usize, bias: usize): usize {
  if (load<u32>(header) != PT_LOAD || !(load<u32>(header, P_FLAGS) & PF_R)) return <usize>-1;
  let at = bias + load<usize>(header, P_VADDR);
  const toOffset = load<usize>(header, P_OFFSET) - at;
  const end = at + load<usize>(header, P_FILESZ);
  for (let i = first; i <= last && at < end; i++) {
    const mapping = mappingAt(maps, i);
    if (mapping.start > at || mapping.end <= at || !(mapping.protection & PROT_READ)) continue;
    if (<usize>mapping.offset - mapping.start == toOffset) at = mapping.end;
  }
  return at < end ? at : <usize>-1;
}

/**
 * The image that the mapping at `index` belongs to: the mappings of one file, from its start on. Segments need not lie
 * side by side; nothing is read behind the first byte of a segment that is not mapped.
 */
export function describe(maps: Maps, index: u64, bounds: Bounds): void {
  memory.fill(changetype<usize>(bounds), 0, offsetof<Bounds>());
  let first = index;
  while (first > 0 && mappingAt(maps, first).offset != 0 && sameFile(maps, first - 1, index)) first--;
  let last = index;
  while (mappingAt(maps, index).inode && last + 1 < maps.count && sameFile(maps, last + 1, index)) last++;
  const base = mappingAt(maps, first);
  const low = base.start;
  if (base.offset != 0 || !(base.protection & PROT_READ) || load<u32>(low) != ELF_MAGIC) return;
  const headers = low + load<usize>(low, 32); // e_phoff
  const count = <usize>load<u16>(low, 56); // e_phnum
  if (count > MOST_HEADERS || headers + count * PHDR_SIZE > base.end) return;
  const bias = low - firstAddress(headers, count);
  let high = mappingAt(maps, last).end;
  for (let i: usize = 0; i < count; i++) {
    const end = mappedEnd(maps, first, last, headers + i * PHDR_SIZE, bias);
    if (end < high) high = end;
  }
  bounds.bias = bias;
  bounds.headers = headers;
  bounds.count = count;
  bounds.low = low;
  bounds.high = high;
}
