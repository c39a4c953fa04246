/** A growing little-endian byte buffer. */
export class ByteSink {
  #bytes = new Uint8Array(256);
  length = 0;

  u8(value: number): void {
    if (this.length === this.#bytes.length) {
      const larger = new Uint8Array(this.length * 2);
      larger.set(this.#bytes);
      this.#bytes = larger;
    }
    this.#bytes[this.length++] = value;
  }

  /** The low `size` bytes of `value` (two's complement). */
  int(value: number | bigint, size: number): void {
    let rest = BigInt.asUintN(size * 8, BigInt(value));
    for (let i = 0; i < size; i++, rest >>= 8n) this.u8(Number(rest & 0xffn));
  }

  raw(bytes: Iterable<number>): void {
    for (const byte of bytes) this.u8(byte);
  }

  slice(start = 0, end = this.length): Uint8Array {
    return this.#bytes.slice(start, Math.min(end, this.length));
  }
}
