/** Names of bits or of values, in the order in which they are printed. */
export interface Names {
  /** Stands in a comment beside a value that has no name, such as "O_???". */
  readonly unknown: string;
  readonly entries: readonly (readonly [name: string, value: number])[];
  /** Name of a value that is not a set of bits; the first one where several names have the same value. */
  readonly byValue: ReadonlyMap<number, string>;
}

export function names(unknown: string, values: Readonly<Record<string, number>>): Names {
  const entries = Object.entries(values);
  const byValue = new Map<number, string>();
  for (const [name, value] of entries) if (!byValue.has(value)) byValue.set(value, name);
  return { unknown, entries, byValue };
}
