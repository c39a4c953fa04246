/** What the guest compiler is measured on: the same work as bench/compiler/reference.c. */
// asc takes "./guest/…" for its own library where this folder is the root: hence the long way round.
import { parseMaps } from "../../guest/rewrite/maps";
import { LENGTHS } from "./lengths";

const MODRM: u32 = 8;
const ESCAPE: u32 = 16;
const PREFIX: u32 = 32;
const GROUP_3: u32 = 64;

/** The length of the instruction at `start`; what does not exist counts as one byte. */
// @ts-expect-error: decorator
@inline
function instructionLength(start: usize): usize {
  let p = start;
  let wide = false;
  let short = false;
  let op: u32 = load<u8>(p++);
  let entry: u32 = unchecked(LENGTHS[op]);
  while (entry & PREFIX) {
    if (op == 0x66) short = true;
    wide = (op & 0xf8) == 0x48;
    op = load<u8>(p++);
    entry = unchecked(LENGTHS[op]);
  }
  if (entry & ESCAPE) {
    op = <u32>load<u8>(p++) | 0x100;
    entry = unchecked(LENGTHS[op]);
    if (entry & ESCAPE) {
      p++;
      entry = op == 0x138 ? MODRM : MODRM | 1;
    }
  }
  let immediate = entry & 7;
  if (entry & MODRM) {
    const modrm: u32 = load<u8>(p++);
    const mod = modrm >> 6;
    if (mod != 3) {
      if ((modrm & 7) == 4) {
        const sib: u32 = load<u8>(p++);
        if (!mod && (sib & 7) == 5) p += 4;
      } else if (!mod && (modrm & 7) == 5) {
        p += 4;
      }
      if (mod == 1) p++;
      else if (mod == 2) p += 4;
    }
    if (entry & GROUP_3 && !(modrm & 0x30)) immediate = op & 1 ? 5 : 1;
  }
  if (immediate == 5) immediate = short && !wide ? 2 : 4;
  else if (immediate == 6) immediate = wide ? 8 : short ? 2 : 4;
  else if (immediate == 7) immediate = 8;
  return p + <usize>immediate - start;
}

/** Sums lengths and branches, so that nothing can be left out. */
export function lengths(start: usize, end: usize): u64 {
  let sum: u64 = 0;
  for (let p = start; p < end; ) {
    const n = instructionLength(p);
    sum = sum * 3 + n;
    p += n;
  }
  return sum;
}

/** How often the bytes of `syscall` stand in [start, end). */
export function scan(start: usize, end: usize): u64 {
  let found: u64 = 0;
  for (let p = start; p + 1 < end; p++) {
    if (load<u8>(p) == 0x0f && load<u8>(p, 1) == 0x05) found++;
  }
  return found;
}

const records: usize = memory.data(64 * 1024);

/** The text in [start, end) as records. */
export function maps(start: usize, end: usize): u64 {
  const count = parseMaps(start, end, records, records + 64 * 1024);
  return count * 31 + load<u64>(records + 56 * (<usize>count - 1));
}

/** A hash table with open addressing: the number of entries is a power of two, and a key of 0 ends a chain. */
@unmanaged
class Entry {
  key: u64;
  value: u64;
}

@unmanaged
class Table {
  shift: u32;
  mask: u32;
}

function lookUp(table: Table, key: u64): u64 {
  const first = changetype<usize>(table) + offsetof<Table>();
  const mask: u64 = table.mask;
  let i = (key * 0x9e3779b97f4a7c15) >> table.shift;
  while (true) {
    const entry = changetype<Entry>(first + <usize>i * offsetof<Entry>());
    if (entry.key == key) return entry.value;
    if (!entry.key) return 0;
    i = (i + 1) & mask;
  }
}

/** Looks up the keys in [keys, end) of 8 bytes each. */
export function hash(keys: usize, end: usize, table: usize): u64 {
  let sum: u64 = 0;
  for (let p = keys; p < end; p += 8) sum += lookUp(changetype<Table>(table), load<u64>(p));
  return sum;
}
