/** Real programs behave under a C hook that does all that hooks may do, and passes every call on, as they do natively. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import type { PatchChoice } from "../../src/session/session.ts";
import { hook, hooked } from "./c-hooks.ts";
import { PATCHES } from "./patches.ts";
import { PROGRAMS } from "./real-programs.ts";
import { fixture, place, run, scratch } from "./run.ts";

/** What thorough.c has written: programs that began, and calls counted when processes ended. */
function logged(file: string): { readonly begun: number; readonly calls: readonly number[] } {
  const text = readFileSync(file, "utf8");
  for (const line of text.trim().split("\n")) expect(line).toMatch(/^(begin|end) \d+ calls 0 wrong$/);
  return {
    begun: text.match(/^begin/gm)!.length,
    calls: [...text.matchAll(/^end (\d+)/gm)].map((match) => Number(match[1])),
  };
}

let logs = 0;

function compare(patch: PatchChoice, name: string, command: readonly string[]) {
  const log = join(scratch, `log.${logs++}`);
  const native = run(command, { cwd: place("native", patch, name) });
  const cwd = place("hooked", patch, name);
  const outcome = hooked(hook("thorough"), command, { cwd, patch, env: { HOOK_LOG: log } });
  expect(outcome).toEqual(native);
  return { native, ...logged(log) };
}

/** The hook's last words are written before `exit_group`, for which libc has no room for a jump. */
const seesEnd = (patch: PatchChoice): boolean => patch !== "jump";

describe.each(PATCHES)("%s", (patch) => {
  test.each(PROGRAMS)("%s", (name, command) => {
    const { begun, native, calls } = compare(patch, name, command);
    expect(begun).toBeGreaterThan(0);
    if (native.signal === null && seesEnd(patch)) expect(Math.max(...calls)).toBeGreaterThan(10);
  });

  test.each([["registers.c"], ["processes.c"], ["numbers.c"], ["processes.c", "-no-pie"]] as const)(
    "%s %s",
    (source, ...flags) => {
      const { native, calls } = compare(patch, `${source}${flags.join("")}`, [fixture(source, ...flags)]);
      expect(native.status).toBe(0);
      if (seesEnd(patch)) expect(Math.max(...calls)).toBeGreaterThan(10);
    },
  );
});
