/** A growing little-endian byte buffer. */
export class ByteWriter {
  #buffer = new Uint8Array(256);
  #view = new DataView(this.#buffer.buffer);
  #length = 0;

  /** Bytes written so far. */
  get length(): number {
    return this.#length;
  }

  u8(value: number): this {
    const at = this.#take(1);
    this.#view.setUint8(at, value);
    return this;
  }

  u16(value: number): this {
    const at = this.#take(2);
    this.#view.setUint16(at, value, true);
    return this;
  }

  /** The low 32 bits; negative values are written in two's complement. */
  u32(value: number): this {
    const at = this.#take(4);
    this.#view.setUint32(at, value, true);
    return this;
  }

  u64(value: number | bigint): this {
    const at = this.#take(8);
    this.#view.setBigUint64(at, BigInt.asUintN(64, BigInt(value)), true);
    return this;
  }

  /** The low `size` bytes of `value` (two's complement). */
  int(value: number | bigint, size: number): this {
    let rest = BigInt.asUintN(size * 8, BigInt(value));
    for (let i = 0; i < size; i++, rest >>= 8n) this.u8(Number(rest & 0xffn));
    return this;
  }

  /** Unsigned LEB128 of an integer from 0 to 2^53 - 1. */
  uleb(value: number): this {
    let rest = value;
    while (rest > 0x7f) {
      this.u8((rest % 128) | 0x80);
      rest = Math.floor(rest / 128);
    }
    return this.u8(rest);
  }

  /** Signed LEB128 of a safe integer. */
  sleb(value: number): this {
    let rest = value;
    while (rest < -64 || rest > 63) {
      this.u8((((rest % 128) + 128) % 128) | 0x80);
      rest = Math.floor(rest / 128);
    }
    return this.u8(rest & 0x7f);
  }

  bytes(value: ArrayLike<number>): this {
    const at = this.#take(value.length);
    this.#buffer.set(value, at);
    return this;
  }

  /** UTF-8 and a NUL. */
  cstring(value: string): this {
    return this.bytes(new TextEncoder().encode(value)).u8(0);
  }

  /** Fills up to a multiple of `alignment`. */
  align(alignment: number, fill = 0): this {
    while (this.#length % alignment !== 0) this.u8(fill);
    return this;
  }

  /** Overwrites four bytes written before. */
  patchU32(at: number, value: number): void {
    this.#view.setUint32(at, value, true);
  }

  /** A copy of what was written. */
  finish(): Uint8Array {
    return this.slice(0);
  }

  /** A copy of a part of what was written. */
  slice(start: number, end = this.#length): Uint8Array {
    return this.#buffer.slice(start, Math.min(end, this.#length));
  }

  #take(size: number): number {
    const at = this.#length;
    this.#length += size;
    if (this.#length > this.#buffer.length) {
      const grown = new Uint8Array(Math.max(this.#buffer.length * 2, this.#length));
      grown.set(this.#buffer);
      this.#buffer = grown;
      this.#view = new DataView(grown.buffer);
    }
    return at;
  }
}

/** The least multiple of `alignment` that is not below `value`. */
export function alignUp(value: number, alignment: number): number {
  return Math.ceil(value / alignment) * alignment;
}
