/** What the guest's recorder would copy (the CAPTURE_* of src/image/layout.ts), over the memory of test cases. */
import { CallEvent, type Payload } from "../../src/events.ts";
import * as L from "../../src/image/layout.ts";
import { captureRows } from "../../src/syscalls/capture.ts";
import { Memory } from "./oracle.ts";

const ROWS = new DataView(captureRows().buffer);
export const DATA_LIMIT = 128;

/** The event of a call with this memory before and after it. `result` undefined leaves the call unfinished. */
export function makeEvent(
  nr: number,
  args: readonly bigint[],
  result: number | undefined,
  memory: Memory,
  { pid = 1000, tid = 1000, start = 0, end = 1000 } = {},
): CallEvent {
  const words = Buffer.alloc(48);
  args.forEach((value, i) => {
    words.writeBigUInt64LE(BigInt.asUintN(64, value), 8 * i);
  });
  const recorder = new Recorder(words, result ?? 0, memory);
  const event = new CallEvent(pid, tid, nr, 0x401000, start, words, 0, recorder.payloads(nr, L.ROW_ENTER));
  if (result !== undefined) finish(event, result, recorder.payloads(nr, L.ROW_EXIT), end);
  return event;
}

function finish(event: CallEvent, result: number, exit: readonly Payload[], end: number): void {
  event.result = result;
  event.end = end;
  if (result >= 0) event.exit = exit;
}

class Recorder {
  readonly #args: Buffer;
  readonly #result: number;
  readonly #memory: Memory;

  constructor(args: Buffer, result: number, memory: Memory) {
    this.#args = args;
    this.#result = result;
    this.#memory = memory;
  }

  payloads(nr: number, part: number): Payload[] {
    const payloads: Payload[] = [];
    for (let arg = 0; arg < 6 && nr < L.RING_ROWS; arg++) {
      const capture = ROWS.getUint16(nr * L.RING_ROW_SIZE + part + 2 * arg, true);
      const address = this.#address(arg);
      if (capture === L.CAPTURE_NONE || address === 0) continue;
      const got = this.#copy(capture & 15, capture >> 4, address);
      if (got === undefined)
        payloads.push({ arg, kind: L.PAYLOAD_FAULT, full: 0, memory: Buffer.alloc(0), at: 0, size: 0 });
      else {
        // Not at the start of its buffer, so that a reader that forgets `at` is found out.
        const memory = Buffer.concat([Buffer.alloc(8, 0xaa), got.bytes]);
        payloads.push({ arg, kind: capture & 15, full: got.full, memory, at: 8, size: got.bytes.length });
      }
    }
    return payloads;
  }

  #address(arg: number): number {
    return Number(this.#args.readBigUInt64LE(8 * arg));
  }

  #bytes(address: number, size: number): Buffer | undefined {
    const at = address - Memory.BASE;
    if (at < 0 || at + size > this.#memory.bytes.length) return undefined;
    return Buffer.from(this.#memory.bytes.subarray(at, at + size));
  }

  #limited(address: number, full: number, limit: number): { bytes: Buffer; full: number } | undefined {
    const bytes = this.#bytes(address, Math.min(full, limit));
    return bytes && { bytes, full: Math.min(full, 0xffffffff) };
  }

  #entries(address: number, length: number): { bytes: Buffer; full: number } {
    const bytes = this.#bytes(address, length) ?? Buffer.alloc(0);
    let full = 0;
    for (let p = 0; p + 18 <= bytes.length; full++) p += Math.max(bytes.readUInt16LE(p + 16), 18);
    return { bytes: Buffer.alloc(0), full };
  }

  #copy(kind: number, parameter: number, address: number): { bytes: Buffer; full: number } | undefined {
    const result = this.#result;
    switch (kind) {
      case L.CAPTURE_CSTRING:
        return this.#string(address, L.STRING_MAX);
      case L.CAPTURE_BUFFER:
        return this.#limited(address, this.#address(parameter), DATA_LIMIT);
      case L.CAPTURE_RESULT:
        return this.#limited(address, result, DATA_LIMIT);
      case L.CAPTURE_STRUCT:
        return this.#limited(address, parameter, parameter);
      case L.CAPTURE_LENGTH_AT: {
        const length = this.#bytes(this.#address(parameter), 4)?.readUInt32LE();
        return length === undefined ? undefined : this.#limited(address, length, DATA_LIMIT);
      }
      case L.CAPTURE_BITS: {
        const size = ((this.#args.readInt32LE(8 * parameter) + 63) >> 6) * 8;
        return this.#limited(address, Math.max(size, 0), DATA_LIMIT);
      }
      case L.CAPTURE_ARRAY: {
        const [size, count] = [parameter >> 3, this.#address(parameter & 7)];
        const room = Math.floor((DATA_LIMIT * 8) / size) * size;
        const got = this.#limited(address, size * count, room);
        return got && { ...got, full: count };
      }
      case L.CAPTURE_RESULT_ARRAY: {
        const room = Math.floor((DATA_LIMIT * 8) / parameter) * parameter;
        const got = this.#limited(address, parameter * result, room);
        return got && { ...got, full: result };
      }
      case L.CAPTURE_ENTRIES:
        return this.#entries(address, result);
      case L.CAPTURE_STRINGS:
      case L.CAPTURE_COUNT:
        return this.#strings(address, kind === L.CAPTURE_STRINGS);
      case L.CAPTURE_IOVEC:
        return this.#iovec(address, this.#address(parameter));
      case L.CAPTURE_MSGHDR:
        return this.#msghdr(address);
      default:
        throw new RangeError(`capture kind ${kind}`);
    }
  }

  #string(address: number, room: number): { bytes: Buffer; full: number } | undefined {
    const at = address - Memory.BASE;
    if (at < 0 || at >= this.#memory.bytes.length) return undefined;
    const end = this.#memory.bytes.indexOf(0, at);
    return this.#limited(address, end - at, room);
  }

  #strings(address: number, copy: boolean): { bytes: Buffer; full: number } | undefined {
    const texts: Buffer[] = [];
    for (let i = 0; ; i++) {
      const pointer = this.#bytes(address + 8 * i, 8)?.readBigUInt64LE();
      if (pointer === undefined) return undefined;
      if (pointer === 0n) return { bytes: copy ? Buffer.concat(texts) : Buffer.alloc(0), full: i };
      const text = this.#string(Number(pointer), L.STRING_MAX);
      if (text !== undefined) texts.push(text.bytes, Buffer.alloc(1));
    }
  }

  #iovec(address: number, count: number): { bytes: Buffer; full: number } | undefined {
    const vectors = this.#bytes(address, 16 * Math.min(count, 16));
    if (vectors === undefined) return undefined;
    const parts = [vectors];
    for (let at = 0; at < vectors.length; at += 16) {
      const length = Math.min(Number(vectors.readBigUInt64LE(at + 8)), DATA_LIMIT);
      parts.push(this.#bytes(Number(vectors.readBigUInt64LE(at)), length) ?? Buffer.alloc(length));
    }
    return { bytes: Buffer.concat(parts), full: count };
  }

  #msghdr(address: number): { bytes: Buffer; full: number } | undefined {
    const header = this.#bytes(address, 56);
    if (header === undefined) return undefined;
    const padded = (at: number, length: number, most: number): Buffer => {
      const pointer = Number(header.readBigUInt64LE(at));
      if (pointer === 0) return Buffer.alloc(0);
      const size = Math.min(length, most);
      const bytes = this.#bytes(pointer, size) ?? Buffer.alloc(size);
      return Buffer.concat([bytes, Buffer.alloc(-size & 7)]);
    };
    const name = padded(0, header.readUInt32LE(8), 128);
    const control = padded(32, Number(header.readBigUInt64LE(40)), 256);
    const data = this.#iovec(Number(header.readBigUInt64LE(16)), Number(header.readBigUInt64LE(24)));
    const bytes = Buffer.concat([header, name, control, data?.bytes ?? Buffer.alloc(0)]);
    return { bytes, full: data?.full ?? 0 };
  }
}
