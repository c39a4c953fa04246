/** Source maps (ECMA-426), as far as asc writes them: one generated line, whose columns are offsets in the module. */
import type { SourcePlace } from "./diagnostics.ts";

const DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

interface Row {
  readonly offset: number;
  readonly place: SourcePlace;
}

/** The numbers of one segment of "mappings" (base 64 VLQ). */
function decodeSegment(segment: string): number[] {
  const out: number[] = [];
  let value = 0;
  let shift = 0;
  for (const character of segment) {
    const digit = DIGITS.indexOf(character);
    value += (digit & 31) << shift;
    shift += 5;
    if (digit & 32) continue;
    out.push(value & 1 ? -(value >>> 1) : value >>> 1);
    value = 0;
    shift = 0;
  }
  return out;
}

export class SourceMap {
  readonly #rows: readonly Row[];

  constructor(json: string) {
    const { sources, mappings } = JSON.parse(json) as { sources: string[]; mappings: string };
    const rows: Row[] = [];
    let offset = 0;
    let source = 0;
    let line = 0;
    let column = 0;
    for (const segment of mappings.split(",")) {
      const [dOffset = 0, dSource, dLine = 0, dColumn = 0] = decodeSegment(segment);
      offset += dOffset;
      if (dSource === undefined) continue;
      source += dSource;
      line += dLine;
      column += dColumn;
      const file = sources[source] ?? "?";
      rows.push({ offset, place: { file, line: line + 1, column: column + 1 } });
    }
    this.#rows = rows;
  }

  /** The source place of the instruction at `offset`: that of the last row at or before it. */
  lookup(offset: number): SourcePlace | undefined {
    let low = 0;
    let high = this.#rows.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#rows[middle]!.offset <= offset) low = middle + 1;
      else high = middle;
    }
    return this.#rows[low - 1]?.place;
  }
}
