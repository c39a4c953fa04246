/** Real programs behave under `zpoline trace -f` as they do natively, and their calls are the ones that strace shows. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import type { PatchChoice } from "../../src/session/session.ts";
import { PATCHES, usesTrap } from "./patches.ts";
import { COMPILED, PROGRAMS, sh } from "./real-programs.ts";
import { callsByProcess, nameOf, type Outcome, place, run, strace, zpoline } from "./run.ts";
import { ORDINARY, type User } from "./users.ts";

const ENDED = /\+\+\+ (exited with \d+|killed by SIG\w+) \+\+\+$/;

/** What is said of a program that makes code at run time (node): the only gap that any of these has. */
const JIT_GAP = /^zpoline: trace is incomplete: code was made at run time.*\n/;

/** Without the net, what is said of sites that have no room for a jump, and of code that was made. */
const GAPS =
  /^zpoline: trace is incomplete: (code was made at run time|a system call instruction was left|… and).*\n/gm;

const asFound = (outcome: Outcome, patch: PatchChoice): Outcome => ({
  ...outcome,
  stderr: outcome.stderr.replace(usesTrap(patch) ? "" : patch === "zero" ? JIT_GAP : GAPS, ""),
});

/** Every patch; and, but for `zero`, which needs the right to map address 0, without any privilege. */
const WAYS: readonly { patch: PatchChoice; user?: User }[] = [
  ...PATCHES.map((patch) => ({ patch })),
  ...PATCHES.filter((patch) => patch !== "zero").map((patch) => ({ patch, user: ORDINARY })),
];

/** Its null checks are reads that fault, which they do not where page 0 is mapped (docs/limits.md). */
const NEEDS_FAULTS: readonly string[] = ["java"];

describe.each([...PROGRAMS, ...COMPILED])("same output and exit status as natively: %s", (name, command) => {
  const ways = WAYS.filter(({ patch }) => !(patch === "zero" && NEEDS_FAULTS.includes(name)));
  test.each(ways.map((way) => ({ ...way, name: way.user?.name ?? "" })))("$patch $name", ({ name: _, ...way }) => {
    const native = run(command, { ...way, cwd: place("native", way.patch, way.user?.name ?? "", name) });
    const { lines, ...hooked } = zpoline(command, {
      ...way,
      cwd: place("hooked", way.patch, way.user?.name ?? "", name),
    });
    expect(asFound(hooked, way.patch)).toEqual(native);
    expect(lines.length).toBeGreaterThan(10);
    // Without the net, the end of a process whose libc has no room for a jump there is known, but not its status.
    const end = way.patch === "jump" ? /\+\+\+ (exited( with \d+)?|killed by SIG\w+) \+\+\+$/ : ENDED;
    expect(lines.at(-1)).toMatch(end);
  });
});

/** Those that see every call: some sites have no room for a jump. */
const EXHAUSTIVE = PATCHES.filter((patch) => patch !== "jump");

describe.each(EXHAUSTIVE)("the same calls in the same order as strace shows: %s", (patch) => {
  const tree = place("tree");
  for (let i = 0; i < 20; i++) writeFileSync(join(tree, `f${i}`), "x".repeat(i * 100));

  test.each([
    ["/bin/true", ["/bin/true"]],
    ["ls -la", ["ls", "-la", "tree"]],
    ["cat", ["cat", "tree/f1", "tree/f2", "tree/none"]],
    ["sort", ["sort", "tree/f19"]],
    ["sqlite3", ["sqlite3", ":memory:", "select 1"]],
    ["sed", ["sed", "s/x/y/", "tree/f3"]],
  ] as const)("%s", (_name, command) => {
    const ours = callsByProcess(zpoline(command, { patch }).lines);
    const theirs = callsByProcess(strace(command).lines);
    expect(ours.length).toBe(theirs.length);
    for (const [i, calls] of ours.entries()) {
      expect(calls.map(nameOf)).toEqual(visible(theirs[i]!.map(nameOf), i === 0));
    }
  });
});

test.each(EXHAUSTIVE)(
  "as many calls of each name as strace shows in bash and what it starts, one after the other: %s",
  (patch) => {
    const command = sh("ls tree > list; sort list; wc -l < list; (exit 3); echo $?");
    const ours = callsByProcess(zpoline(command, { patch }).lines);
    const theirs = callsByProcess(strace(command).lines);
    // A handler of SIGCHLD runs whenever a child happens to end: the order of its calls among others is not the same twice.
    const names = (calls: readonly string[]): string[] => calls.map(nameOf).toSorted();
    expect(ours.map(names)).toEqual(theirs.map((calls, i) => visible(calls.map(nameOf), i === 0).toSorted()));
  },
);

/**
 * What strace shows where we look. A process begins as a copy of its parent, seen by both from its first call on, or with
 * an exec (the root's by the tracer itself). After an exec we see what comes after ld.so's last call before it runs
 * constructors: the munmap of its cache.
 */
function visible(calls: readonly string[], root: boolean): string[] {
  const images: string[][] = [[]];
  for (const call of calls) {
    images.at(-1)!.push(call);
    if (call === "execve") images.push([]);
  }
  const [first, ...others] = images;
  const afterLoading = (image: string[]): string[] => image.slice(image.indexOf("munmap") + 1);
  return [...(root ? [] : first!), ...others.flatMap(afterLoading)];
}
