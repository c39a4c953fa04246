import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { ZpolineError } from "../errors.ts";
import * as L from "../image/layout.ts";
import { claimDirectory } from "./stale.ts";

/** Chunks that a new ring has: room for about 30 000 calls before the reader must have looked. */
export const INITIAL_CHUNKS = 128;
const ENTRY_BODY = L.RING_CHUNK_ENTRY - L.CHUNK_TID;

export interface RingOptions {
  /** The recording table: RING_ROWS rows of RING_ROW_SIZE bytes. */
  readonly table: Uint8Array;
  /** Most bytes to copy of one data buffer. */
  readonly dataLimit: number;
  /** Directory to make the session's directory in; by default os.tmpdir(). */
  readonly parent?: string;
  readonly chunks?: number;
}

/**
 * The file through which guests hand their events to this process (layout.ts has its layout), alone in a directory of
 * its own. Guests write it through a shared mapping, so every block must exist before they can see it: a missing one
 * would be a SIGBUS in the program that is watched.
 */
export class Ring {
  readonly directory: string;
  readonly path: string;
  readonly #fd: number;
  readonly #word = Buffer.alloc(8);
  readonly #none = Buffer.alloc(ENTRY_BODY);
  #chunkCount = 0;
  #beat = 0;
  #full = false;
  #open = true;

  /** Throws ZpolineError RING_CREATE when there is no room or no permission. */
  static create(options: RingOptions): Ring {
    const parent = options.parent ?? os.tmpdir();
    let directory: string | undefined;
    try {
      directory = claimDirectory(parent);
      return new Ring(directory, options);
    } catch (cause) {
      if (directory !== undefined) fs.rmSync(directory, { recursive: true, force: true });
      throw new ZpolineError("RING_CREATE", `cannot create the session's ring file in ${parent}`, {
        cause,
        fix: "set TMPDIR to a directory that you can write to and that has 8 MiB free",
      });
    }
  }

  private constructor(directory: string, options: RingOptions) {
    this.directory = directory;
    this.path = path.join(directory, "ring");
    this.#fd = fs.openSync(this.path, "wx+", 0o600);
    try {
      this.#writeHeader(options);
    } catch (error) {
      fs.closeSync(this.#fd);
      throw error;
    }
  }

  #writeHeader({ table, dataLimit, chunks = INITIAL_CHUNKS }: RingOptions): void {
    writeZeros(this.#fd, 0, L.RING_CHUNKS + chunks * L.RING_CHUNK_SIZE);
    writeAll(this.#fd, table.subarray(0, L.RING_ROWS * L.RING_ROW_SIZE), L.RING_TABLE);
    this.#write32(L.RING_H_VERSION, L.RING_VERSION);
    this.#write32(L.RING_H_DATA_LIMIT, dataLimit);
    this.#write32(L.RING_H_CHUNK_COUNT, chunks);
    this.#write32(L.RING_H_MAGIC, L.RING_MAGIC);
    this.#chunkCount = chunks;
  }

  get chunkCount(): number {
    return this.#chunkCount;
  }

  /** Reads `length` bytes at `position` to the start of `into`. */
  read(into: Uint8Array, position: number, length: number): void {
    let at = 0;
    while (at < length) {
      const n = fs.readSync(this.#fd, into, at, length - at, position + at);
      if (n === 0) throw new ZpolineError("RING_READ", `the ring file ${this.path} was cut short while in use`);
      at += n;
    }
  }

  /** Tells waiting guests that the reader is alive. */
  beat(): void {
    this.#beat += 1;
    this.#write64(L.RING_H_BEAT, BigInt(this.#beat));
  }

  /** Tells guests to stop recording: nobody will read. */
  closeForGuests(): void {
    this.#write32(L.RING_H_CLOSED, L.RING_CLOSED);
  }

  /** Tells guests to end their processes: those that the reader cannot see yet do so as soon as they record something. */
  endGuests(): void {
    this.#write32(L.RING_H_CLOSED, L.RING_ENDED);
  }

  /** Events that guests could not record. */
  lost(): number {
    this.read(this.#word, L.RING_H_LOST, 8);
    return Number(this.#word.readBigUInt64LE());
  }

  /** Makes a chunk free for guests. The entry is empty before its state says so. */
  free(chunk: number): void {
    const entry = L.RING_CHUNK_TABLE + chunk * L.RING_CHUNK_ENTRY;
    writeAll(this.#fd, this.#none, entry + L.CHUNK_TID);
    this.#write32(entry + L.CHUNK_STATE, L.STATE_FREE);
  }

  /** Doubles the chunks, up to RING_MAX_CHUNKS. Returns false when that is reached or the file system is full. */
  grow(): boolean {
    if (this.#full || this.#chunkCount >= L.RING_MAX_CHUNKS) return false;
    const chunks = Math.min(this.#chunkCount * 2, L.RING_MAX_CHUNKS);
    try {
      writeZeros(
        this.#fd,
        L.RING_CHUNKS + this.#chunkCount * L.RING_CHUNK_SIZE,
        (chunks - this.#chunkCount) * L.RING_CHUNK_SIZE,
      );
    } catch {
      this.#full = true;
      fs.ftruncateSync(this.#fd, L.RING_CHUNKS + this.#chunkCount * L.RING_CHUNK_SIZE);
      return false;
    }
    this.#write32(L.RING_H_CHUNK_COUNT, chunks);
    this.#chunkCount = chunks;
    return true;
  }

  /** Closes and removes the file and its directory. Guests that have it mapped may go on writing into it. */
  remove(): void {
    if (!this.#open) return;
    this.#open = false;
    try {
      this.closeForGuests();
    } finally {
      fs.closeSync(this.#fd);
      fs.rmSync(this.directory, { recursive: true, force: true });
    }
  }

  #write32(position: number, value: number): void {
    this.#word.writeUInt32LE(value, 0);
    writeAll(this.#fd, this.#word.subarray(0, 4), position);
  }

  #write64(position: number, value: bigint): void {
    this.#word.writeBigUInt64LE(value, 0);
    writeAll(this.#fd, this.#word, position);
  }
}

function writeAll(fd: number, bytes: Uint8Array, position: number): void {
  let at = 0;
  while (at < bytes.length) at += fs.writeSync(fd, bytes, at, bytes.length - at, position + at);
}

const ZEROS = Buffer.alloc(1 << 18);

function writeZeros(fd: number, position: number, length: number): void {
  for (let at = 0; at < length; at += ZEROS.length) {
    writeAll(fd, ZEROS.subarray(0, Math.min(ZEROS.length, length - at)), position + at);
  }
}
