import * as L from "../image/layout.ts";
import type { Clock } from "./clock.ts";
import { walkRecords } from "./records.ts";
import type { Ring } from "./ring.ts";

/** A committed record: `memory` holds it whole at `at` and will not change. */
export interface RawRecord {
  readonly pid: number;
  readonly tid: number;
  /** Its time stamp, by Clock.ticks. */
  readonly ticks: number;
  readonly memory: Buffer;
  readonly at: number;
}

/** Guests write the time stamp last, the reader erases it with all else when it frees the chunk. */
export function isStamped(table: Buffer, at: number): boolean {
  return (table.readUInt32LE(at + L.CHUNK_TSC) | table.readUInt32LE(at + L.CHUNK_TSC + 4)) !== 0;
}

const scratch = Buffer.allocUnsafeSlow(L.RING_CHUNK_SIZE);

/**
 * The reader's place in one chunk, from the moment a guest took it until it is free again.
 *
 * A copy by read(2) is not atomic: it may hold a commit word and yet older bytes of the record's body. So a body is only
 * trusted when it was copied by a later call than the one that saw the commit word (or the chunk's final state).
 */
export class Chunk {
  readonly index: number;
  readonly pid: number;
  readonly tid: number;
  /** A guest's bytes made no sense; nothing more is read from this chunk. */
  damaged = false;
  readonly #ring: Ring;
  readonly #clock: Clock;
  /** The first bytes up to here are done with. */
  #next = 0;
  /** Records at or after #next that were delivered already: they lie behind a hole. */
  readonly #delivered = new Set<number>();

  constructor(index: number, pid: number, tid: number, ring: Ring, clock: Clock) {
    this.index = index;
    this.pid = pid;
    this.tid = tid;
    this.#ring = ring;
    this.#clock = clock;
  }

  /** Appends what its owner has committed since the last time. */
  readLive(into: RawRecord[]): void {
    if (this.damaged || this.#isUntouched()) return;
    const start = this.#next;
    const length = L.RING_CHUNK_SIZE - start;
    this.#ring.read(scratch, this.#position(), length);
    const seen: number[] = [];
    const walk = walkRecords(scratch, length, false, (at) => {
      if (!this.#delivered.has(start + at)) seen.push(at);
    });
    this.damaged = walk.damaged;
    if (seen.length > 0) {
      const memory = Buffer.allocUnsafe(walk.end);
      this.#ring.read(memory, this.#position(), walk.end);
      this.#deliver(memory, seen, into);
    }
    this.#advance(walk.firstHole < 0 ? walk.end : walk.firstHole, seen);
  }

  /**
   * Appends the rest of a chunk that its owner has left. Returns false while there are holes: a handler may have filled
   * the chunk while the code that it interrupted has still to commit its record.
   */
  readFinal(into: RawRecord[]): boolean {
    if (this.damaged) return true;
    const start = this.#next;
    const length = L.RING_CHUNK_SIZE - start;
    const memory = Buffer.allocUnsafeSlow(length);
    this.#ring.read(memory, this.#position(), length);
    const seen: number[] = [];
    const walk = walkRecords(memory, length, true, (at) => {
      if (!this.#delivered.has(start + at)) seen.push(at);
    });
    this.damaged = walk.damaged;
    this.#deliver(memory, seen, into);
    this.#advance(walk.firstHole < 0 ? walk.end : walk.firstHole, seen);
    return walk.firstHole < 0;
  }

  /** Cheap: has anything been reserved at the place that comes next? */
  #isUntouched(): boolean {
    if (this.#next + L.RECORD_BODY > L.RING_CHUNK_SIZE) return true;
    this.#ring.read(scratch, this.#position(), 4);
    return scratch.readUInt32LE(0) === 0;
  }

  #advance(by: number, delivered: readonly number[]): void {
    const start = this.#next;
    this.#next += by;
    for (const at of delivered) if (at >= by) this.#delivered.add(start + at);
    for (const at of this.#delivered) if (at < this.#next) this.#delivered.delete(at);
  }

  #deliver(memory: Buffer, offsets: readonly number[], into: RawRecord[]): void {
    const { pid, tid } = this;
    for (const at of offsets) {
      into.push({ pid, tid, ticks: this.#clock.ticks(memory, at + L.RECORD_TSC), memory, at });
    }
  }

  #position(): number {
    return L.RING_CHUNKS + this.index * L.RING_CHUNK_SIZE + this.#next;
  }
}
