import type { EventSink } from "../events.ts";
import * as L from "../image/layout.ts";
import { Chunk, isStamped } from "./chunks.ts";
import type { Clock } from "./clock.ts";
import type { GapList } from "./gaps.ts";
import { Narrator, type Status } from "./narrator.ts";
import { Order } from "./order.ts";
import { anyoneMaps, processLives, threadLives } from "./processes.ts";
import type { Ring } from "./ring.ts";

/** Full chunks kept back because of a record without its commit word; the oldest of more are given up. */
const MOST_KEPT = 64;
/** Least time between two looks at who is alive, in milliseconds; more when a look takes long. */
const CENSUS_EVERY = 50;
const CENSUS_SHARE = 20;
/** Records told in one pass: a sink may be slow, and guests wait meanwhile. */
const TOLD_PER_PASS = 1 << 14;
/** With more than this to tell, nothing more is read; the ring fills up, and guests come to wait. */
const MOST_BACKLOG = 1 << 19;
/** After this many passes, where nothing is left to tell, everything that a process left has been told. */
const PASSES_TO_DIE = 3;

export interface ReaderOptions {
  readonly ring: Ring;
  readonly sink: EventSink;
  readonly clock: Clock;
  readonly gaps: GapList;
  /** Process id of the program that was started. */
  readonly root: number;
  /** Why the program may not get hooked, as far as its file tells; "" when nothing speaks against it. */
  readonly unhookable?: string;
  /** A clock in milliseconds; performance.now by default. */
  readonly now?: () => number;
}

/** Turns what guests write into the ring into one stream of events in the order of time. */
export class Reader {
  readonly #ring: Ring;
  readonly #clock: Clock;
  readonly #gaps: GapList;
  readonly #narrator: Narrator;
  readonly #root: number;
  readonly #unhookable: string;
  readonly #table = Buffer.alloc(L.RING_MAX_CHUNKS * L.RING_CHUNK_ENTRY);
  readonly #chunks = new Map<number, Chunk>();
  readonly #kept = new Set<Chunk>();
  readonly #dying = new Map<number, number>();
  readonly #order = new Order();
  #passes = 0;
  /** Events that guests have lost, as far as they are among the gaps. */
  #lost = 0;
  readonly #now: () => number;
  #nextCensus: number;
  #rootStatus: Status | undefined;
  /** Process ids of another pid namespace were seen: /proc does not know who is alive. */
  #foreign = false;

  constructor(options: ReaderOptions) {
    const { ring, sink, clock, gaps, root, unhookable = "", now = () => performance.now() } = options;
    this.#ring = ring;
    this.#clock = clock;
    this.#gaps = gaps;
    this.#root = root;
    this.#now = now;
    this.#nextCensus = now() + CENSUS_EVERY;
    this.#narrator = new Narrator(sink, clock, gaps, root);
    this.#unhookable = unhookable;
  }

  /** Reads what is new and tells what is old enough. Returns how many records it had to do with: 0 means all is quiet. */
  pass(): number {
    this.#passes += 1;
    this.#ring.beat();
    if (this.#order.backlog < MOST_BACKLOG) this.#readAll();
    const read = this.#order.incoming.length;
    this.#order.endPass();
    const told = this.#order.take(TOLD_PER_PASS);
    for (const record of told) this.#narrator.tell(record);
    if (this.#order.backlog === 0) this.#buryDead();
    return Math.max(read, told.length);
  }

  #readAll(): void {
    const free = this.#readChunks();
    if (this.#now() >= this.#nextCensus) this.#census();
    if (free * 4 < this.#ring.chunkCount) this.#ring.grow();
  }

  /** Whether something has been missed so far. */
  hasGaps(): boolean {
    this.#noteLost();
    return !this.#gaps.isEmpty;
  }

  /** Whether a process that was seen is still alive. */
  anyoneLives(): boolean {
    if (this.#foreign) return anyoneMaps(this.#ring.path);
    return this.#narrator.living().some(processLives);
  }

  /** The program that was started has ended, by wait(2). */
  rootEnded(status: Status): void {
    this.#rootStatus = status;
    this.#dying.set(this.#root, this.#passes);
  }

  /**
   * Reads what is left, tells everything and adds what was missed to the gaps. `interrupted`: the signal by which others
   * were given up that may live on.
   */
  finish(interrupted?: string): void {
    this.#readChunks();
    for (const chunk of this.#chunks.values()) chunk.readFinal(this.#order.incoming);
    this.#order.endAll();
    for (const record of this.#order.take(Number.POSITIVE_INFINITY)) this.#narrator.tell(record);
    if (interrupted !== undefined && this.anyoneLives()) this.#gaps.add("still-running", 0, interrupted);
    this.#narrator.finish(this.#rootStatus ?? {});
    if (!(this.#narrator.rootStarted || this.#gaps.concerns(this.#root)))
      this.#gaps.add("not-hooked", this.#root, this.#unhookable);
    for (const chunk of this.#chunks.values()) this.#noteDamage(chunk);
    this.#noteLost();
  }

  #noteLost(): void {
    const lost = this.#ring.lost();
    if (lost > this.#lost) this.#gaps.add("ring-overflow", 0, "", lost - this.#lost);
    this.#lost = lost;
  }

  /** Returns how many chunks are free. */
  #readChunks(): number {
    const count = this.#ring.chunkCount;
    this.#ring.read(this.#table, L.RING_CHUNK_TABLE, count * L.RING_CHUNK_ENTRY);
    let free = 0;
    for (let index = 0; index < count; index++) {
      const at = index * L.RING_CHUNK_ENTRY;
      const state = this.#table.readUInt32LE(at + L.CHUNK_STATE);
      if (state === L.STATE_FREE) {
        free += 1;
      } else if (state === L.STATE_OWNED) {
        this.#chunk(index, at)?.readLive(this.#order.incoming);
      } else {
        this.#readFull(index, at);
      }
    }
    return free;
  }

  #readFull(index: number, at: number): void {
    this.#ring.beat();
    const chunk = this.#chunk(index, at);
    if (chunk === undefined) {
      this.#ring.free(index); // taken by a process that died before it wrote anything
    } else if (chunk.readFinal(this.#order.incoming)) {
      this.#free(chunk);
    } else {
      this.#kept.add(chunk);
      const [oldest] = this.#kept;
      if (oldest !== undefined && this.#kept.size > MOST_KEPT) this.#free(oldest);
    }
  }

  /** The chunk at `index`, once its owner has stamped it: only then does the entry say who that is. */
  #chunk(index: number, at: number): Chunk | undefined {
    const known = this.#chunks.get(index);
    if (known !== undefined) return known;
    // Again, because the copy may hold an old part of the entry beside a new one.
    this.#ring.read(this.#table.subarray(at), L.RING_CHUNK_TABLE + at, L.RING_CHUNK_ENTRY);
    if (!isStamped(this.#table, at)) return undefined;
    const pid = this.#table.readUInt32LE(at + L.CHUNK_PID);
    const tid = this.#table.readUInt32LE(at + L.CHUNK_TID);
    const chunk = new Chunk(index, pid, tid, this.#ring, this.#clock);
    this.#chunks.set(index, chunk);
    this.#clock.pair(
      this.#clock.ticks(this.#table, at + L.CHUNK_TSC),
      this.#clock.realTime(this.#table, at + L.CHUNK_TIME),
    );
    if (pid === 1 && this.#root !== 1) this.#foreign = true;
    return chunk;
  }

  #free(chunk: Chunk): void {
    this.#noteDamage(chunk);
    this.#kept.delete(chunk);
    this.#chunks.delete(chunk.index);
    this.#ring.free(chunk.index);
  }

  #noteDamage(chunk: Chunk): void {
    if (chunk.damaged) this.#gaps.add("ring-damaged", chunk.pid, "");
  }

  /** Looks who has died, and takes back their chunks. */
  #census(): void {
    const began = this.#now();
    if (!this.#foreign) {
      for (const chunk of [...this.#chunks.values()]) {
        if (threadLives(chunk.pid, chunk.tid)) continue;
        chunk.readFinal(this.#order.incoming);
        this.#free(chunk);
      }
      for (const pid of this.#narrator.living()) {
        if (pid === this.#root || this.#dying.has(pid)) continue;
        if (processLives(pid)) this.#narrator.lives(pid);
        else this.#dying.set(pid, this.#passes);
      }
    }
    const now = this.#now();
    this.#nextCensus = now + Math.max(CENSUS_EVERY, (now - began) * CENSUS_SHARE);
  }

  /** Only to be called when nothing that was read before this pass is left to tell. */
  #buryDead(): void {
    for (const [pid, pass] of this.#dying) {
      if (this.#passes - pass < PASSES_TO_DIE) continue;
      this.#dying.delete(pid);
      this.#narrator.died(pid, pid === this.#root ? this.#rootStatus : undefined);
    }
  }
}
