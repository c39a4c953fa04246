import * as fs from "node:fs";

const TWO_32 = 4294967296;
/** Two pairs nearer than this say little about the frequency: 1 ms. */
const LEAST_DISTANCE = 1e6;
/** No time stamp counter is slower or faster (nanoseconds a tick: 20 GHz … 100 MHz). */
const LEAST_SLOPE = 0.05;
const MOST_SLOPE = 10;
/** 3 GHz. */
const FALLBACK_SLOPE = 1 / 3;

/**
 * Turns ticks of the time stamp counter into nanoseconds since `epoch`. The counter's frequency is not known to a
 * process; guests send pairs (ticks, CLOCK_REALTIME), and the two that are farthest apart give it. Until there are two,
 * it is what the kernel measured at boot.
 *
 * Counters are u64, too long for a double: all numbers here are differences, exact below 2^53 (26 days at 4 GHz).
 */
export class Clock {
  /** CLOCK_REALTIME in nanoseconds. */
  readonly epoch: bigint;
  readonly #epochLow: number;
  readonly #epochHigh: number;
  #baseLow = 0;
  #baseHigh = 0;
  #hasBase = false;
  #firstTicks = 0;
  #firstTime = 0;
  #hasPair = false;
  /** Nanoseconds a tick. */
  #slope: number;

  constructor(epoch: bigint = BigInt(Date.now()) * 1_000_000n, slope: number = nominalSlope()) {
    this.epoch = epoch;
    this.#epochLow = Number(epoch & 0xffffffffn);
    this.#epochHigh = Number(epoch >> 32n);
    this.#slope = slope;
  }

  /** The u64 counter at `at`, as ticks since the first one that was ever read. */
  ticks(memory: Buffer, at: number): number {
    const low = memory.readUInt32LE(at);
    const high = memory.readUInt32LE(at + 4);
    if (!this.#hasBase) {
      this.#hasBase = true;
      this.#baseLow = low;
      this.#baseHigh = high;
    }
    return (high - this.#baseHigh) * TWO_32 + (low - this.#baseLow);
  }

  /** The u64 CLOCK_REALTIME nanoseconds at `at`, since the epoch. */
  realTime(memory: Buffer, at: number): number {
    return (memory.readUInt32LE(at + 4) - this.#epochHigh) * TWO_32 + (memory.readUInt32LE(at) - this.#epochLow);
  }

  /** Says that the counter stood at `ticks` at `time` (nanoseconds since the epoch). */
  pair(ticks: number, time: number): void {
    if (!this.#hasPair) {
      this.#hasPair = true;
      this.#firstTicks = ticks;
      this.#firstTime = time;
      return;
    }
    const distance = time - this.#firstTime;
    const slope = distance / (ticks - this.#firstTicks);
    if (Math.abs(distance) < LEAST_DISTANCE || !isSlope(slope)) return;
    this.#slope = slope;
  }

  /** Nanoseconds since the epoch. */
  time(ticks: number): number {
    return this.#firstTime + (ticks - this.#firstTicks) * this.#slope;
  }
}

/** Nanoseconds a tick by /proc/cpuinfo: bogomips is twice the counter's megahertz (arch/x86/kernel/tsc.c, lpj_fine). */
function nominalSlope(): number {
  let text = "";
  try {
    text = fs.readFileSync("/proc/cpuinfo", "latin1");
  } catch {
    // No /proc: the fallback is as good as anything.
  }
  const slope = 2000 / Number(/^bogomips\s*: ([\d.]+)/m.exec(text)?.[1]);
  return isSlope(slope) ? slope : FALLBACK_SLOPE;
}

function isSlope(slope: number): boolean {
  return slope >= LEAST_SLOPE && slope <= MOST_SLOPE;
}
