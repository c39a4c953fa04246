/**
 * Makes a failing random program small: not the program itself is cut down but the random numbers that it was made from
 * (a shorter or smaller list is a simpler program, and always a valid one).
 */
import type { Source } from "./random.ts";

/** Notes the numbers that `source` gives. */
export function recording(source: Source): { readonly source: Source; readonly numbers: number[] } {
  const numbers: number[] = [];
  return {
    numbers,
    source: () => {
      const number = source();
      numbers.push(number);
      return number;
    },
  };
}

/** Gives the numbers of a list, then zeros. */
export function replaying(numbers: readonly number[]): Source {
  let at = 0;
  return () => numbers[at++] ?? 0;
}

/**
 * A list for which `fails` still holds, and of which no part can be left out or made zero.
 * @param tries how often to call `fails` at most
 */
export function shrink(
  numbers: readonly number[],
  fails: (numbers: readonly number[]) => boolean,
  tries: number,
): number[] {
  let best = [...numbers];
  let left = tries;
  const attempt = (candidate: number[]): boolean => {
    if (left-- <= 0 || !fails(candidate)) return false;
    best = candidate;
    return true;
  };
  for (let progress = true; progress && left > 0; ) {
    const before = best.length;
    const sumBefore = best.filter((number) => number !== 0).length;
    for (let size = best.length >> 1; size >= 1 && left > 0; size >>= 1) {
      for (let at = 0; at < best.length && left > 0; ) {
        if (attempt([...best.slice(0, at), ...best.slice(at + size)])) continue;
        const zeroed = best.map((number, i) => (i >= at && i < at + size ? 0 : number));
        if (best.slice(at, at + size).some((number) => number !== 0)) attempt(zeroed);
        at += size;
      }
    }
    progress = best.length < before || best.filter((number) => number !== 0).length < sumBefore;
  }
  return best;
}
