/** A trace through the loader door begins with the program's first instruction: its calls are those that strace shows. */

import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { callsByProcess, fixture, fixtureBy, nameOf, run, scratch, strace, zpoline } from "../e2e/run.ts";

const FLAGS = ["-f", "--via", "loader", "--patch", "auto"];
const bare = `${scratch}/bare`;
run(["gcc", "-nostdlib", "-static", "-o", bare, fileURLToPath(new URL("../fixtures/entry.S", import.meta.url))]);

/** Of each process. When a child ends, and interrupts its parent, is a matter of chance. */
const namesOf = (lines: readonly string[]): string[][] =>
  callsByProcess(lines).map((calls) => calls.map(nameOf).filter((name) => name !== "rt_sigreturn"));

/** Without the exec of the program itself. */
const native = (command: readonly string[]): string[][] => {
  const [first = [], ...others] = namesOf(strace(command).lines);
  return [first.slice(1), ...others];
};

describe("a trace", () => {
  test.each([
    ["/bin/true"],
    ["busybox", "true"],
    ["ls", "-l", "/"],
    [fixture("say.c", "-static")],
    [fixture("say.c", "-static-pie")],
    [fixtureBy("musl-gcc", "say.c")],
    [fixtureBy("musl-gcc", "say.c", "-static")],
    ["sh", "-c", "busybox echo one; /bin/true; exec env -i /bin/echo two"],
  ])("of %s has the calls of strace, from the first to the last", (...command) => {
    const traced = zpoline(command, {}, FLAGS);
    expect(namesOf(traced.lines)).toEqual(native(command));
    expect(traced.stderr).toBe("");
  });

  test("of a program without any library has its calls", () => {
    const traced = zpoline([bare], {}, FLAGS);
    const [calls = []] = callsByProcess(traced.lines).map((list) => list.map(nameOf));
    expect([...new Set(calls)]).toEqual(["write", "exit"]); // as many writes as its stack is long
    expect(traced.stderr).toBe("");
    expect(traced.status).toBe(42);
  });
});
