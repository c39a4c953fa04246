/** Puts sections into a file: ELF header, program headers, contents, section headers. */
import type { LinkedImage } from "../compiler/link.ts";
import { PAGE } from "../compiler/link.ts";
import { alignUp, ByteWriter } from "./bytes.ts";
import * as elf from "./constants.ts";
import type { Section } from "./section.ts";
import { StringTable, unloaded } from "./section.ts";

const MAX_SEGMENTS = 10;
/** Bytes at the start of the image that are kept for the ELF header and the program headers. */
export const MAX_HEADERS = elf.EHDR_SIZE + MAX_SEGMENTS * elf.PHDR_SIZE;

export interface FileContents {
  /** ET_EXEC or ET_DYN. */
  readonly type: number;
  readonly entry: number;
  readonly image: LinkedImage;
  /** In the order of the section headers; the loaded ones first, ascending. */
  readonly sections: readonly Section[];
}

interface Segment {
  readonly type: number;
  readonly flags: number;
  readonly address: number;
  readonly fileSize: number;
  readonly memorySize: number;
  readonly align: number;
}

/** A loaded byte lies in the file where it lies in the image. Other sections follow. */
export function assembleFile({ type, entry, image, sections }: FileContents): Uint8Array {
  const names = new StringTable();
  for (const section of sections) names.add(section.name);
  names.add(".shstrtab");
  const all = [...sections, unloaded(names.draft(".shstrtab"))];
  const segments = segmentsOf(image, sections);
  const loadedEnd = Math.max(
    ...segments.filter(({ type }) => type === elf.PT_LOAD).map(({ address, fileSize }) => address + fileSize),
  );

  const file = new ByteWriter().bytes(new Uint8Array(loadedEnd - image.base));
  const offsets = all.map((section) => {
    if (section.flags & elf.SHF_ALLOC) return section.address - image.base;
    file.align(section.align);
    const offset = file.length;
    file.bytes(section.bytes);
    return offset;
  });
  file.align(8);
  const sectionHeaders = file.length;
  file.bytes(new Uint8Array(elf.SHDR_SIZE));
  all.forEach((section, i) => {
    const linked = section.link === undefined ? 0 : 1 + all.findIndex(({ name }) => name === section.link);
    file.u32(names.add(section.name)).u32(section.type).u64(section.flags).u64(section.address);
    file
      .u64(offsets[i]!)
      .u64(section.size)
      .u32(linked)
      .u32(section.info ?? 0);
    file.u64(section.align).u64(section.entrySize);
  });

  const bytes = file.finish();
  for (const section of sections)
    if (section.flags & elf.SHF_ALLOC) bytes.set(section.bytes, section.address - image.base);
  bytes.set(elfHeader(type, entry, segments.length, sectionHeaders, all.length + 1), 0);
  bytes.set(programHeaders(segments, image.base), elf.EHDR_SIZE);
  return bytes;
}

function segmentsOf(image: LinkedImage, sections: readonly Section[]): Segment[] {
  const { rodata, text, data } = image.regions;
  const loaded = sections.filter(({ flags }) => flags & elf.SHF_ALLOC);
  const find = (name: string) => loaded.find((section) => section.name === name);
  const endOf = (section: { address: number; size: number }) => section.address + section.size;
  const segments: Segment[] = [];
  const add = (type: number, flags: number, address: number, end: number, align: number, memoryEnd = end) =>
    segments.push({ type, flags, address, fileSize: end - address, memorySize: memoryEnd - address, align });
  const { PF_R, PF_W, PF_X } = elf;

  const tables = loaded.filter((section) => section.address < rodata.address).map(endOf);
  add(elf.PT_LOAD, PF_R, image.base, Math.max(endOf(rodata), ...tables), PAGE);
  if (text.size > 0) add(elf.PT_LOAD, PF_R | PF_X, text.address, endOf(text), PAGE);
  const relroEnd = Math.max(
    image.dynamicAddress,
    ...loaded.filter(({ address }) => address >= image.dynamicAddress && address < data.address).map(endOf),
  );
  const relroPages = alignUp(relroEnd, PAGE);
  if (image.end > image.dynamicAddress || relroEnd > image.dynamicAddress)
    add(
      elf.PT_LOAD,
      PF_R | PF_W,
      image.dynamicAddress,
      data.size > 0 ? endOf(data) : relroPages,
      PAGE,
      Math.max(image.end, relroPages),
    );

  const dynamic = find(".dynamic");
  if (dynamic !== undefined) add(elf.PT_DYNAMIC, PF_R | PF_W, dynamic.address, endOf(dynamic), 8);
  for (const note of loaded.filter((section) => section.type === elf.SHT_NOTE))
    add(elf.PT_NOTE, PF_R, note.address, endOf(note), note.align);
  const unwindIndex = find(".eh_frame_hdr");
  if (unwindIndex !== undefined) add(elf.PT_GNU_EH_FRAME, PF_R, unwindIndex.address, endOf(unwindIndex), 4);
  add(elf.PT_GNU_STACK, PF_R | PF_W, 0, 0, 16);
  if (relroEnd > image.dynamicAddress) add(elf.PT_GNU_RELRO, PF_R, image.dynamicAddress, relroPages, 1);
  const loader = find(".interp");
  if (loader === undefined) return segments;
  add(elf.PT_INTERP, PF_R, loader.address, endOf(loader), 1);
  // Without it the dynamic loader takes a position independent program to lie where it was linked for.
  const headers = image.base + elf.EHDR_SIZE;
  add(elf.PT_PHDR, PF_R, headers, headers + (segments.length + 1) * elf.PHDR_SIZE, 8);
  return [...segments.slice(-2).reverse(), ...segments.slice(0, -2)];
}

function elfHeader(type: number, entry: number, segments: number, sectionHeaders: number, sections: number) {
  const out = new ByteWriter().bytes(new TextEncoder().encode("\x7fELF"));
  out.u8(elf.ELFCLASS64).u8(elf.ELFDATA2LSB).u8(elf.EV_CURRENT).align(16);
  out.u16(type).u16(elf.EM_X86_64).u32(elf.EV_CURRENT).u64(entry);
  out.u64(elf.EHDR_SIZE).u64(sectionHeaders).u32(0);
  out.u16(elf.EHDR_SIZE).u16(elf.PHDR_SIZE).u16(segments);
  return out
    .u16(elf.SHDR_SIZE)
    .u16(sections)
    .u16(sections - 1)
    .finish();
}

function programHeaders(segments: readonly Segment[], base: number): Uint8Array {
  const out = new ByteWriter();
  for (const { type, flags, address, fileSize, memorySize, align } of segments) {
    const offset = type === elf.PT_GNU_STACK ? 0 : address - base;
    out.u32(type).u32(flags).u64(offset).u64(address).u64(address).u64(fileSize).u64(memorySize).u64(align);
  }
  return out.finish();
}
