/** Gives numbers below 2^32. */
export type Source = () => number;

/** A seeded source (xoshiro128**, Blackman and Vigna), so that a failure can be run again. */
export function seeded(seed: number): Source {
  // splitmix32 spreads the seed over the state, which must not be all zero.
  let x = seed >>> 0;
  const s = Uint32Array.from({ length: 4 }, () => {
    x = (x + 0x9e3779b9) >>> 0;
    let z = Math.imul(x ^ (x >>> 16), 0x85ebca6b);
    z = Math.imul(z ^ (z >>> 13), 0xc2b2ae35);
    return z ^ (z >>> 16);
  });
  return () => {
    const multiplied = Math.imul(s[1]!, 5);
    const result = Math.imul((multiplied << 7) | (multiplied >>> 25), 9) >>> 0;
    const shifted = s[1]! << 9;
    s[2]! ^= s[0]!;
    s[3]! ^= s[1]!;
    s[1]! ^= s[2]!;
    s[0]! ^= s[3]!;
    s[2]! ^= shifted;
    s[3] = (s[3]! << 11) | (s[3]! >>> 21);
    return result;
  };
}

/** The numbers of a source from `start` up to `end`, which something was made from. */
export interface Span {
  readonly start: number;
  readonly end: number;
}

/** Random choices of several kinds. */
export class Random {
  readonly #source: Source;
  #drawn = 0;
  /** Of all optional things so far, inner ones before outer ones. */
  readonly spans: Span[] = [];

  constructor(source: Source | number) {
    this.#source = typeof source === "number" ? seeded(source) : source;
  }

  u32(): number {
    this.#drawn++;
    return this.#source();
  }

  /**
   * Something that can be left out: what `write` makes, or, for a source that gives 0, something as simple as `simple`,
   * which draws no number.
   */
  optional<T>(simple: () => T, write: () => T): T {
    const start = this.#drawn;
    if (this.u32() === 0) return simple();
    const result = write();
    this.spans.push({ start, end: this.#drawn });
    return result;
  }

  u64(): bigint {
    return (BigInt(this.u32()) << 32n) | BigInt(this.u32());
  }

  /** A number in [0, limit). */
  below(limit: number): number {
    return this.u32() % limit;
  }

  /** True with a probability of `percent` in a hundred. */
  chance(percent: number): boolean {
    return this.below(100) < percent;
  }

  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)]!;
  }

  /** One of the values, as often as its weight says. */
  weighted<T>(choices: readonly (readonly [weight: number, value: T])[]): T {
    let left = this.below(choices.reduce((sum, [weight]) => sum + weight, 0));
    for (const [weight, value] of choices) {
      if (left < weight) return value;
      left -= weight;
    }
    throw new Error("no choice has a weight");
  }
}
