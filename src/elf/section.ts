/** Sections in the making, and the string tables that they share. */
import { alignUp, ByteWriter } from "./bytes.ts";
import { SHF_ALLOC, SHT_STRTAB } from "./constants.ts";

export interface Section {
  readonly name: string;
  readonly type: number;
  readonly flags: number;
  /** Virtual address; 0 for a section that is not loaded. */
  readonly address: number;
  /** In memory; `bytes` is shorter only for .bss. */
  readonly size: number;
  readonly bytes: Uint8Array;
  readonly align: number;
  readonly entrySize: number;
  /** Name of the section that sh_link is about. */
  readonly link?: string;
  readonly info?: number;
}

/** A section whose address is not known yet. */
export type Draft = Pick<Section, "name" | "type" | "bytes"> &
  Partial<Pick<Section, "flags" | "align" | "entrySize" | "link" | "info">>;

/** Appends loaded sections one behind the other from an address on. */
export class Placer {
  readonly sections: Section[] = [];
  readonly start: number;
  end: number;

  constructor(start: number) {
    this.start = start;
    this.end = start;
  }

  get size(): number {
    return this.end - this.start;
  }

  /** The address that a section of this alignment would get now. */
  next(align: number): number {
    return alignUp(this.end, align);
  }

  add(draft: Draft): Section {
    const section = { ...unloaded(draft), flags: SHF_ALLOC | (draft.flags ?? 0), address: this.next(draft.align ?? 8) };
    this.end = section.address + section.size;
    this.sections.push(section);
    return section;
  }
}

/** A section that is in the file only. */
export function unloaded(draft: Draft): Section {
  return { flags: 0, align: 8, entrySize: 0, ...draft, address: 0, size: draft.bytes.length };
}

/** NUL-terminated strings, each kept once; offset 0 is the empty string. */
export class StringTable {
  readonly #writer = new ByteWriter().u8(0);
  readonly #offsets = new Map<string, number>([["", 0]]);

  /** Offset of the string. */
  add(text: string): number {
    const known = this.#offsets.get(text);
    if (known !== undefined) return known;
    const offset = this.#writer.length;
    this.#writer.cstring(text);
    this.#offsets.set(text, offset);
    return offset;
  }

  draft(name: string): Draft {
    return { name, type: SHT_STRTAB, align: 1, bytes: this.#writer.finish() };
  }
}
