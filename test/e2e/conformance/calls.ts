/** No silent miss: a trace shows as many calls as strace does, wherever the instruction stands; or it says that it does not. */
import { describe, expect, test } from "vitest";
import { PATCHES, usesTrap } from "../patches.ts";
import { strace, zpoline } from "../run.ts";
import type { Exception } from "./modes.ts";

export interface Counted {
  readonly name: string;
  readonly command: () => readonly string[];
  /** The calls to count: not those that ld.so makes before we look, nor those that the kernel starts again. */
  readonly calls: readonly string[];
  /** What `zero` says is missing; then it may show less. */
  readonly gap?: RegExp;
  readonly except?: readonly Exception[];
}

/** How often each call begins in the lines of a trace. */
function count(lines: readonly string[], names: readonly string[]): Record<string, number> {
  const begins = (name: string) => lines.filter((line) => line.match(/^\d+\s+(\w+)\(/)?.[1] === name).length;
  return Object.fromEntries(names.map((name) => [name, begins(name)]));
}

const LEFT = /^zpoline: trace is incomplete: a system call instruction was left as it is: /m;

export function asManyCallsAsStraceSees(cases: readonly Counted[]): void {
  describe.each(cases)("as many calls as strace sees: $name", ({ command, calls, gap, except = [] }) => {
    let expected: Record<string, number> | undefined;

    const patches = PATCHES.filter((patch) => except.every((one) => one.patch !== patch));
    test.each(patches)("%s", (patch) => {
      expected ??= count(strace(command()).lines, calls);
      expect(Math.min(...Object.values(expected))).toBeGreaterThan(0);
      const { lines, stderr } = zpoline(command(), { patch });
      const seen = count(lines, calls);
      if (usesTrap(patch)) expect(stderr).toBe("");
      else if (gap !== undefined) expect(stderr).toMatch(gap);
      const mayMiss = !usesTrap(patch) && (gap !== undefined || (patch === "jump" && LEFT.test(stderr)));
      for (const name of calls) {
        if (mayMiss) expect(seen[name], name).toBeLessThanOrEqual(expected[name]!);
        else expect(seen[name], name).toBe(expected[name]);
      }
    });
  });
}
