/**
 * System calls of 32-bit programs, which a 64-bit one can make by `int $0x80`. In events and elsewhere such a call is told from
 * the others by its number: that of the 32-bit table plus I386.
 */
import { I386_NUMBERS } from "./i386-numbers.ts";
import { NUMBERS } from "./numbers.ts";

/** Greater than all that the kernel reads of a number. */
export const I386 = 2 ** 32;
/** From here on new calls have one number in both tables. */
const COMMON = 424;

const names = (numbers: Readonly<Record<string, number>>) =>
  new Map(Object.entries(numbers).map(([name, nr]) => [nr, name]));
const NAMES = names(I386_NUMBERS);
const NAMES_X86_64 = names(NUMBERS);

/** Number of a call, as events have it. */
export const i386 = (name: keyof typeof I386_NUMBERS): number => I386 + I386_NUMBERS[name];

/** Name of a call that has a number from I386 on; undefined where the kernel has none. */
export function i386Name(nr: number): string | undefined {
  const own = nr - I386;
  return own < COMMON ? NAMES.get(own) : NAMES_X86_64.get(own);
}

/** The number of the call of the same name in 64-bit programs; undefined where they have none, or the call has no name. */
export function sameCall(nr: number): number | undefined {
  return (NUMBERS as Readonly<Record<string, number>>)[i386Name(nr) ?? ""];
}
