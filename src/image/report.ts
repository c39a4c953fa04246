/** What there is to know of a compiled guest: stack and code sizes, as text. */
import type { CompiledGuest } from "../compiler/compile.ts";

const row = (...cells: readonly [number | undefined, string]): string =>
  `${String(cells[0] ?? "?").padStart(8)}  ${cells[1]}`;

/** Stack of each entry with its deepest chain of calls, then code size of each function, largest first; in bytes. */
export function describeGuest({ object, entries }: CompiledGuest): string {
  const stacks = [...entries].sort((a, b) => (b.maxStack ?? 0) - (a.maxStack ?? 0));
  const code = [...object.code].sort((a, b) => b.bytes.length - a.bytes.length);
  const total = code.reduce((sum, unit) => sum + unit.bytes.length, 0);
  return [
    "stack of the entry points, and the calls that need it:",
    ...stacks.map(({ name, maxStack, deepest }) =>
      row(maxStack, `${name}: ${deepest.map((step) => `${step.name} ${step.bytes}`).join(" → ")}`),
    ),
    `code of ${code.length} functions:`,
    ...code.map(({ name, bytes }) => row(bytes.length, name)),
    row(total, "in all"),
    "",
  ].join("\n");
}
