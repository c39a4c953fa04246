/**
 * Makes a failing random program small: not the program itself is cut down but the random numbers that it was made from
 * (a shorter or smaller list is a simpler program, and always a valid one).
 */
import type { Source, Span } from "./random.ts";

/** Gives the numbers of a list, then zeros. */
export function replaying(numbers: readonly number[]): Source {
  let at = 0;
  return () => numbers[at++] ?? 0;
}

export interface Shrinking {
  /** Whether the program of these numbers still fails. */
  readonly fails: (numbers: readonly number[]) => boolean;
  /** The optional things in the program of these numbers: each becomes simplest when a single 0 stands for it. */
  readonly spans: (numbers: readonly number[]) => readonly Span[];
  /** How often `fails` may be called. */
  readonly tries: number;
}

/** In the order of their starts, the longer one first. */
const isAfter = (a: Span, b: Span): boolean => a.start > b.start || (a.start === b.start && a.end < b.end);

/** The least list found for which `fails` holds: without optional things first, then without single numbers. */
export function shrink(numbers: readonly number[], { fails, spans, tries }: Shrinking): number[] {
  let best = [...numbers];
  let left = tries;
  const attempt = (candidate: number[]): boolean => {
    if (left <= 0) return false;
    left--;
    if (!fails(candidate)) return false;
    best = candidate;
    return true;
  };
  /** Leaves out what can be left out: outer things before those inside them. */
  const simplify = (): boolean => {
    let any = false;
    let last: Span = { start: -1, end: 0 };
    for (;;) {
      const next = spans(best)
        .filter(({ start, end }) => end - start > 1 && isAfter({ start, end }, last))
        .sort((a, b) => (isAfter(a, b) ? 1 : -1))[0];
      if (next === undefined || left <= 0) return any;
      if (attempt([...best.slice(0, next.start), 0, ...best.slice(next.end)])) any = true;
      last = next;
    }
  };
  const shorten = (): boolean => {
    let any = false;
    for (let at = best.length - 1; at >= 0 && left > 0; at--) {
      if (attempt(best.toSpliced(at, 1)) || (best[at] !== 0 && attempt(best.with(at, 0)))) any = true;
    }
    return any;
  };
  while (simplify() && left > 0);
  while (left > 0 && (shorten() || simplify()));
  return best;
}
