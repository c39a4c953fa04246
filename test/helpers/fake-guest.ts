import * as fs from "node:fs";
import * as L from "../../src/image/layout.ts";

const NONE = -1;

/** Ticks of a counter that runs at 1 GHz and stood at `BASE_TICKS` at `BASE_TIME`: one tick is one nanosecond. */
export const BASE_TICKS = 5_000_000_000_000n;
export const BASE_TIME = 1_700_000_000_000_000_000n;

export interface PayloadInput {
  readonly arg: number;
  readonly kind: number;
  readonly bytes: Uint8Array;
  readonly full?: number;
}

export function cstring(arg: number, text: string): PayloadInput {
  return { arg, kind: L.CAPTURE_CSTRING, bytes: Buffer.from(text) };
}

/** Writes into a ring file as one thread of a guest does, by the rules of layout.ts. Times are ticks after BASE_TICKS. */
export class FakeThread {
  readonly pid: number;
  readonly tid: number;
  readonly #fd: number;
  #chunk = NONE;
  #offset = L.RING_CHUNK_SIZE;
  #chunks = 0;

  constructor(path: string, pid: number, tid = pid) {
    this.pid = pid;
    this.tid = tid;
    this.#fd = fs.openSync(path, "r+");
  }

  /** A whole record. Returns where it is in the file. */
  record(type: number, ticks: number, body: Uint8Array, payloads: readonly PayloadInput[] = []): number {
    const at = this.reserve(body.length + payloads.reduce((sum, { bytes }) => sum + 8 + pad(bytes.length), 0));
    this.fill(at, ticks, body, payloads);
    this.commit(at, type);
    return at;
  }

  /** First step: room for a header and `length` bytes; only the size is written. */
  reserve(length: number): number {
    const size = L.RECORD_BODY + pad(length);
    if (this.#offset + size > L.RING_CHUNK_SIZE) this.#nextChunk();
    const at = this.#position();
    this.#offset += size;
    this.#write32(at + L.RECORD_SIZE, size);
    return at;
  }

  /** Second step. */
  fill(at: number, ticks: number, body: Uint8Array, payloads: readonly PayloadInput[] = []): void {
    this.#write64(at + L.RECORD_TSC, BASE_TICKS + BigInt(ticks));
    this.write(at + L.RECORD_BODY, body);
    let p = at + L.RECORD_BODY + body.length;
    for (const { arg, kind, bytes, full = bytes.length } of payloads) {
      const header = Buffer.alloc(8);
      header.writeUInt8(arg, 0);
      header.writeUInt8(kind, 1);
      header.writeUInt16LE(bytes.length, 2);
      header.writeUInt32LE(full, 4);
      this.write(p, header);
      this.write(p + 8, bytes);
      p += 8 + pad(bytes.length);
    }
  }

  /** Third step. */
  commit(at: number, type: number): void {
    this.#write32(at + L.RECORD_TYPE, type + L.RECORD_MAGIC * 0x10000);
  }

  enter(ticks: number, nr: number, args: readonly number[] = [], payloads: readonly PayloadInput[] = []): void {
    const body = Buffer.alloc(L.ENTER_PAYLOADS - L.RECORD_BODY);
    body.writeUInt32LE(nr, L.ENTER_NR - L.RECORD_BODY);
    body.writeBigUInt64LE(0x7f0000001002n, L.ENTER_IP - L.RECORD_BODY);
    args.forEach((arg, i) => {
      body.writeBigUInt64LE(BigInt.asUintN(64, BigInt(arg)), L.ENTER_ARGS - L.RECORD_BODY + 8 * i);
    });
    this.record(L.TYPE_ENTER, ticks, body, payloads);
  }

  exit(
    ticks: number,
    nr: number,
    entered: number,
    result: number | bigint,
    payloads: readonly PayloadInput[] = [],
  ): void {
    const body = Buffer.alloc(L.EXIT_PAYLOADS - L.RECORD_BODY);
    body.writeUInt32LE(nr, L.EXIT_NR - L.RECORD_BODY);
    body.writeBigUInt64LE(BASE_TICKS + BigInt(entered), L.EXIT_ENTER_TSC - L.RECORD_BODY);
    body.writeBigInt64LE(BigInt(result), L.EXIT_RESULT - L.RECORD_BODY);
    this.record(L.TYPE_EXIT, ticks, body, payloads);
  }

  /** A call that takes one tick. */
  call(ticks: number, nr: number, args: readonly number[] = [], result = 0): void {
    this.enter(ticks, nr, args);
    this.exit(ticks + 1, nr, ticks, result);
  }

  /** `executed`: what execve was given. */
  start(ticks: number, exe: string, ppid = 1, executed = exe): void {
    const body = Buffer.alloc(L.START_PAYLOADS - L.RECORD_BODY);
    body.writeUInt32LE(this.pid, L.START_PID - L.RECORD_BODY);
    body.writeUInt32LE(ppid, L.START_PPID - L.RECORD_BODY);
    body.writeBigUInt64LE(BASE_TIME + BigInt(ticks), L.START_TIME - L.RECORD_BODY);
    body.writeBigUInt64LE(BASE_TICKS + BigInt(ticks - 5), L.START_BEGIN_TSC - L.RECORD_BODY);
    body.writeUInt32LE(7, L.START_PATCHED - L.RECORD_BODY);
    body.writeUInt32LE(2, L.START_LEFT - L.RECORD_BODY);
    body.writeUInt32LE(L.PATCHES_JUMP | L.PATCHES_TRAP, L.START_PATCHES - L.RECORD_BODY);
    this.record(L.TYPE_START, ticks, body, [cstring(0, exe), cstring(1, executed)]);
  }

  gap(ticks: number, kind: number, value: number, detail: string): void {
    const body = Buffer.alloc(L.GAP_PAYLOADS - L.RECORD_BODY);
    body.writeUInt32LE(kind, L.GAP_KIND - L.RECORD_BODY);
    body.writeBigUInt64LE(BigInt(value), L.GAP_VALUE - L.RECORD_BODY);
    this.record(L.TYPE_GAP, ticks, body, [cstring(0, detail)]);
  }

  child(ticks: number, parentPid: number, parentTid = parentPid): void {
    const body = Buffer.alloc(8);
    body.writeUInt32LE(parentPid, 0);
    body.writeUInt32LE(parentTid, 4);
    this.record(L.TYPE_CHILD, ticks, body);
  }

  /** Counts an event that found no room. */
  lose(): void {
    const word = Buffer.alloc(8);
    fs.readSync(this.#fd, word, 0, 8, L.RING_H_LOST);
    this.#write64(L.RING_H_LOST, word.readBigUInt64LE() + 1n);
  }

  /** Leaves bytes unwritten, as a handler that jumps out between reserving and writing the size does. */
  skip(bytes: number): void {
    this.#offset += bytes;
  }

  /** Gives the chunk back. */
  release(): void {
    if (this.#chunk !== NONE) this.#write32(entryOf(this.#chunk) + L.CHUNK_STATE, L.STATE_FULL);
    this.#chunk = NONE;
    this.#offset = L.RING_CHUNK_SIZE;
  }

  /** Where the chunk begins in the file. */
  get chunkPosition(): number {
    return L.RING_CHUNKS + this.#chunk * L.RING_CHUNK_SIZE;
  }

  get chunk(): number {
    return this.#chunk;
  }

  write(position: number, bytes: Uint8Array): void {
    fs.writeSync(this.#fd, bytes, 0, bytes.length, position);
  }

  close(): void {
    fs.closeSync(this.#fd);
  }

  #nextChunk(): void {
    const count = this.#read32(L.RING_H_CHUNK_COUNT);
    for (let i = 0; i < count; i++) {
      if (this.#read32(entryOf(i) + L.CHUNK_STATE) !== L.STATE_FREE) continue;
      this.release();
      this.#write32(entryOf(i) + L.CHUNK_STATE, L.STATE_OWNED);
      this.#prepare(i);
      return;
    }
    throw new Error("no free chunk");
  }

  #prepare(chunk: number): void {
    this.#chunk = chunk;
    this.#offset = 0;
    this.write(this.chunkPosition, new Uint8Array(L.RING_CHUNK_SIZE));
    const entry = entryOf(chunk);
    this.#write32(entry + L.CHUNK_TID, this.tid);
    this.#write32(entry + L.CHUNK_PID, this.pid);
    this.#write32(entry + L.CHUNK_SEQ, this.#chunks++);
    this.#write64(entry + L.CHUNK_TIME, BASE_TIME);
    this.#write64(entry + L.CHUNK_TSC, BASE_TICKS);
  }

  #position(): number {
    return this.chunkPosition + this.#offset;
  }

  #read32(position: number): number {
    const word = Buffer.alloc(4);
    fs.readSync(this.#fd, word, 0, 4, position);
    return word.readUInt32LE();
  }

  #write32(position: number, value: number): void {
    const word = Buffer.alloc(4);
    word.writeUInt32LE(value);
    this.write(position, word);
  }

  #write64(position: number, value: bigint): void {
    const word = Buffer.alloc(8);
    word.writeBigUInt64LE(value);
    this.write(position, word);
  }
}

function pad(length: number): number {
  return (length + 7) & ~7;
}

function entryOf(chunk: number): number {
  return L.RING_CHUNK_TABLE + chunk * L.RING_CHUNK_ENTRY;
}
