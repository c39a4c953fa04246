/** What the dynamic loader reads: .dynsym, .dynstr, .gnu.hash, .rela.dyn and .dynamic. */
import type { LinkedSymbol, RelativeFixup } from "../compiler/link.ts";
import { ByteWriter } from "./bytes.ts";
import * as elf from "./constants.ts";
import type { Draft } from "./section.ts";
import { StringTable } from "./section.ts";

/** An exported symbol under its public name. */
export interface DynamicExport {
  readonly name: string;
  readonly symbol: LinkedSymbol;
  readonly sectionIndex: number;
}

/** A symbol of another object, wanted but not needed: eight bytes at `slot` get its address, or 0. */
export interface DynamicImport {
  readonly name: string;
  readonly slot: number;
}

export interface DynamicSymbols {
  readonly dynsym: Draft;
  readonly gnuHash: Draft;
  readonly dynstr: Draft;
  /** Offset of the shared object's name in .dynstr. */
  readonly sonameOffset: number | undefined;
  /** Offsets of the names of needed objects in .dynstr. */
  readonly neededOffsets: readonly number[];
}

/** Imports come first (symbol 1 on, in their order), then exports as .gnu.hash wants them: by bucket. */
export function dynamicSymbols(
  exports: readonly DynamicExport[],
  imports: readonly DynamicImport[],
  soname: string | undefined,
  needed: readonly string[] = [],
): DynamicSymbols {
  const strings = new StringTable();
  const buckets = Math.max(1, exports.length);
  const hashed = exports
    .map((entry) => ({ entry, hash: gnuHash(entry.name) }))
    .sort((a, b) => (a.hash % buckets) - (b.hash % buckets));
  const table = new ByteWriter().bytes(new Uint8Array(elf.SYM_SIZE));
  for (const { name } of imports) {
    table.u32(strings.add(name)).u8((elf.STB_WEAK << 4) | elf.STT_NOTYPE);
    table.u8(0).u16(elf.SHN_UNDEF).u64(0).u64(0);
  }
  for (const { entry } of hashed) {
    const type = entry.symbol.region === "text" ? elf.STT_FUNC : elf.STT_OBJECT;
    table.u32(strings.add(entry.name)).u8((elf.STB_GLOBAL << 4) | type);
    table.u8(0).u16(entry.sectionIndex).u64(entry.symbol.address).u64(entry.symbol.size);
  }
  const hashes = hashed.map(({ hash }) => hash);
  const sonameOffset = soname === undefined ? undefined : strings.add(soname);
  const neededOffsets = needed.map((name) => strings.add(name));
  return {
    dynsym: {
      name: ".dynsym",
      type: elf.SHT_DYNSYM,
      bytes: table.finish(),
      entrySize: elf.SYM_SIZE,
      link: ".dynstr",
      info: 1,
    },
    gnuHash: {
      name: ".gnu.hash",
      type: elf.SHT_GNU_HASH,
      bytes: gnuHashTable(hashes, buckets, 1 + imports.length),
      link: ".dynsym",
    },
    dynstr: strings.draft(".dynstr"),
    sonameOffset,
    neededOffsets,
  };
}

/** The GNU hash of a symbol name: h = h * 33 + c from 5381, 32 bits. */
export function gnuHash(name: string): number {
  let hash = 5381;
  for (const byte of new TextEncoder().encode(name)) hash = (Math.imul(hash, 33) + byte) >>> 0;
  return hash;
}

const BLOOM_SHIFT = 6;

/** Header, one 64-bit Bloom word, buckets, and the chain of hashes whose low bit ends a bucket. */
function gnuHashTable(hashes: readonly number[], buckets: number, firstSymbol: number): Uint8Array {
  const out = new ByteWriter().u32(buckets).u32(firstSymbol).u32(1).u32(BLOOM_SHIFT);
  let bloom = 0n;
  for (const hash of hashes) bloom |= (1n << BigInt(hash % 64)) | (1n << BigInt((hash >>> BLOOM_SHIFT) % 64));
  out.u64(bloom);
  for (let bucket = 0; bucket < buckets; bucket++) {
    const first = hashes.findIndex((hash) => hash % buckets === bucket);
    out.u32(first < 0 ? 0 : firstSymbol + first);
  }
  hashes.forEach((hash, i) => {
    const next = hashes[i + 1];
    const isLast = next === undefined || next % buckets !== hash % buckets;
    out.u32(isLast ? hash | 1 : hash & ~1);
  });
  return out.finish();
}

/** RELATIVE first (DT_RELACOUNT counts them), then one GLOB_DAT for each import. */
export function relocationTable(relative: readonly RelativeFixup[], imports: readonly DynamicImport[]): Draft {
  const out = new ByteWriter();
  for (const { at, target } of relative) out.u64(at).u64(elf.R_X86_64_RELATIVE).u64(target);
  imports.forEach(({ slot }, i) => {
    out
      .u64(slot)
      .u32(elf.R_X86_64_GLOB_DAT)
      .u32(i + 1)
      .u64(0);
  });
  return { name: ".rela.dyn", type: elf.SHT_RELA, bytes: out.finish(), entrySize: elf.RELA_SIZE, link: ".dynsym" };
}

/** .dynamic from its entries; DT_NULL is added. */
export function dynamicTable(entries: readonly (readonly [tag: number, value: number])[]): Draft {
  const out = new ByteWriter();
  for (const [tag, value] of [...entries, [elf.DT_NULL, 0] as const]) out.u64(tag).u64(value);
  return {
    name: ".dynamic",
    type: elf.SHT_DYNAMIC,
    flags: elf.SHF_WRITE,
    bytes: out.finish(),
    entrySize: elf.DYN_SIZE,
    link: ".dynstr",
  };
}
