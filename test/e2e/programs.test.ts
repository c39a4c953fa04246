/** Real programs behave under `zpoline trace -f` as they do natively, and their calls are the ones that strace shows. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { PROGRAMS, sh } from "./real-programs.ts";
import { callsByProcess, fixture, nameOf, run, scratch, strace, zpoline } from "./run.ts";

/** What is said of a program that makes code at run time (node): the only gap that any of these has. */
const JIT_GAP = /^zpoline: trace is incomplete: code was made at run time.*\n/;

/** A new directory of the same name in two places: output that names it is the same. */
function place(name: string, kind: string): string {
  const dir = join(scratch, kind, name.replace(/\W+/g, "-"));
  mkdirSync(dir, { recursive: true });
  return dir;
}

describe("same output and exit status as natively", () => {
  test.each(PROGRAMS)("%s", (name, command) => {
    const native = run(command, { cwd: place(name, "native") });
    const { lines, ...hooked } = zpoline(command, { cwd: place(name, "hooked") });
    expect({ ...hooked, stderr: hooked.stderr.replace(JIT_GAP, "") }).toEqual(native);
    expect(lines.length).toBeGreaterThan(10);
    const last = lines.at(-1)!;
    expect(last).toMatch(/\+\+\+ (exited with \d+|killed by SIG\w+) \+\+\+$/);
  });

  test.each(["registers.c", "processes.c", "numbers.c"])("%s", (source) => {
    const program = fixture(source);
    const native = run([program]);
    expect(native.status).toBe(0);
    const { lines, ...hooked } = zpoline([program]);
    expect(hooked).toEqual(native);
    expect(lines.length).toBeGreaterThan(10);
  });
});

describe("the same calls in the same order as strace shows", () => {
  mkdirSync(join(scratch, "tree"), { recursive: true });
  for (let i = 0; i < 20; i++) writeFileSync(join(scratch, "tree", `f${i}`), "x".repeat(i * 100));

  test.each([
    ["/bin/true", ["/bin/true"]],
    ["ls -la", ["ls", "-la", "tree"]],
    ["cat", ["cat", "tree/f1", "tree/f2", "tree/none"]],
    ["sort", ["sort", "tree/f19"]],
    ["sqlite3", ["sqlite3", ":memory:", "select 1"]],
    ["sed", ["sed", "s/x/y/", "tree/f3"]],
  ] as const)("%s", (_name, command) => {
    const ours = callsByProcess(zpoline(command).lines);
    const theirs = callsByProcess(strace(command).lines);
    expect(ours.length).toBe(theirs.length);
    for (const [i, calls] of ours.entries()) {
      expect(calls.map(nameOf)).toEqual(visible(theirs[i]!.map(nameOf), i === 0));
    }
  });
});

test("as many calls of each name as strace shows in bash and what it starts, one process after the other", () => {
  const command = sh("ls tree > list; sort list; wc -l < list; (exit 3); echo $?");
  const ours = callsByProcess(zpoline(command).lines);
  const theirs = callsByProcess(strace(command).lines);
  // A handler of SIGCHLD runs whenever a child happens to end: the order of its calls among others is not the same twice.
  const names = (calls: readonly string[]): string[] => calls.map(nameOf).toSorted();
  expect(ours.map(names)).toEqual(theirs.map((calls, i) => visible(calls.map(nameOf), i === 0).toSorted()));
});

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
