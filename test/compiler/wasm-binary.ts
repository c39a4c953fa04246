/** Writes WebAssembly binaries (core specification 2.0, section 5): the pieces that modules are put together from. */

/** Bytes, nested as they were put together. */
export type Bytes = Uint8Array | readonly (number | Bytes)[];

export const I32 = 0x7f;
export const I64 = 0x7e;
export const FUNCREF = 0x70;
export const END = 0x0b;

export const SECTION = {
  custom: 0,
  type: 1,
  import: 2,
  function: 3,
  table: 4,
  memory: 5,
  global: 6,
  export: 7,
  start: 8,
  element: 9,
  code: 10,
  data: 11,
  dataCount: 12,
} as const;
/** The order in which sections must come. */
const ORDER = [1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 10, 11] as const;

/** Unsigned LEB128. */
export function unsigned(value: number | bigint): number[] {
  const out: number[] = [];
  let rest = BigInt(value);
  do {
    const more = rest >> 7n;
    out.push(Number(rest & 0x7fn) | (more === 0n ? 0 : 0x80));
    rest = more;
  } while (rest !== 0n);
  return out;
}

/** Signed LEB128. */
export function signed(value: number | bigint): number[] {
  const out: number[] = [];
  for (let rest = BigInt(value); ; rest >>= 7n) {
    const byte = Number(rest & 0x7fn);
    const done = rest >> 6n === 0n || rest >> 6n === -1n;
    out.push(byte | (done ? 0 : 0x80));
    if (done) return out;
  }
}

export function name(text: string): Bytes {
  const bytes = new TextEncoder().encode(text);
  return [unsigned(bytes.length), bytes];
}

/** A list: its length, its items. */
export const list = (items: readonly Bytes[]): Bytes => [unsigned(items.length), items];

export function flatten(bytes: Bytes): Uint8Array {
  const out: number[] = [];
  const visit = (part: Bytes): void => {
    for (const item of part) {
      if (typeof item === "number") out.push(item);
      else visit(item);
    }
  };
  visit(bytes);
  return Uint8Array.from(out);
}

/** With its size in front. */
export function sized(bytes: Bytes): Bytes {
  const flat = flatten(bytes);
  return [unsigned(flat.length), flat];
}

/** A function's code; `locals` are the types of its locals. */
export const body = (locals: readonly number[], code: Bytes): Bytes =>
  sized([list(locals.map((type) => [1, type])), code, END]);

export const functionType = (params: readonly number[], results: readonly number[]): Bytes => [
  0x60,
  list(params.map((type) => [type])),
  list(results.map((type) => [type])),
];

/** Limits of a memory or table; `is64`: addressed by i64. */
export const limits = (min: number | bigint, max?: number | bigint, is64 = false): Bytes => [
  (max === undefined ? 0 : 1) | (is64 ? 4 : 0),
  unsigned(min),
  max === undefined ? [] : unsigned(max),
];

export const constant = (type: number, value: bigint): Bytes => [type === I32 ? 0x41 : 0x42, signed(value)];

/** A module of these sections; absent ones are left out. */
export function module(sections: ReadonlyMap<number, Bytes>): Uint8Array {
  const parts = ORDER.flatMap((id) => {
    const content = sections.get(id);
    return content === undefined ? [] : [[id, sized(content)]];
  });
  return flatten([[0, 0x61, 0x73, 0x6d, 1, 0, 0, 0], ...parts]);
}

/** A read position in a module. */
export class Cursor {
  readonly bytes: Uint8Array;
  at: number;

  constructor(bytes: Uint8Array, at = 0) {
    this.bytes = bytes;
    this.at = at;
  }

  unsigned(): number {
    let result = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = this.bytes[this.at++]!;
      result += (byte & 0x7f) * scale;
      if (byte < 0x80) return result;
    }
  }

  take(length: number): Uint8Array {
    this.at += length;
    return this.bytes.subarray(this.at - length, this.at);
  }

  /** Lengths in front of pieces, as in the code section. */
  pieces(): Uint8Array[] {
    return Array.from({ length: this.unsigned() }, () => this.take(this.unsigned()));
  }
}

/** The content of each section, custom ones left out. */
export function sections(bytes: Uint8Array): Map<number, Uint8Array> {
  const out = new Map<number, Uint8Array>();
  const cursor = new Cursor(bytes, 8);
  while (cursor.at < bytes.length) {
    const [id] = cursor.take(1);
    const content = cursor.take(cursor.unsigned());
    if (id !== SECTION.custom) out.set(id!, content);
  }
  return out;
}
