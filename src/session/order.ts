import type { RawRecord } from "./chunks.ts";

/**
 * Puts the records of all threads into the order of time.
 *
 * They become readable in any order. What is newer than the newest record of the pass before is held back for one pass,
 * in which a thread that has taken its time stamp earlier has had the time to commit.
 */
export class Order {
  /** Records as they are read, to be appended to. */
  readonly incoming: RawRecord[] = [];
  #held: RawRecord[] = [];
  #newest = Number.NEGATIVE_INFINITY;
  /** In order; those before #next were taken. */
  #ready: RawRecord[] = [];
  #next = 0;

  /** Ends a pass: what was known before it may go. */
  endPass(): void {
    this.#release(this.#newest);
  }

  /** Nothing more will come in: all may go. */
  endAll(): void {
    this.#release(Number.POSITIVE_INFINITY);
  }

  /** Records that may be taken. */
  get backlog(): number {
    return this.#ready.length - this.#next;
  }

  /** The next records in order, at most `most`. */
  take(most: number): readonly RawRecord[] {
    const taken = this.#ready.slice(this.#next, this.#next + most);
    this.#next += taken.length;
    if (this.#next === this.#ready.length) {
      this.#ready = [];
      this.#next = 0;
    }
    return taken;
  }

  #release(limit: number): void {
    if (this.incoming.length === 0 && this.#held.length === 0) return;
    for (const record of this.incoming) {
      this.#held.push(record);
      if (record.ticks > this.#newest) this.#newest = record.ticks;
    }
    this.incoming.length = 0;
    this.#held.sort((a, b) => a.ticks - b.ticks);
    const kept = this.#held.findIndex((record) => record.ticks > limit);
    const end = kept < 0 ? this.#held.length : kept;
    for (let i = 0; i < end; i++) this.#ready.push(this.#held[i] as RawRecord);
    this.#held = this.#held.slice(end);
  }
}
