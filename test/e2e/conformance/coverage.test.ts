/** No silent miss: a trace shows as many calls as strace does, wherever the instruction stands. */
import { describe, expect, test } from "vitest";
import { PATCHES, usesTrap } from "../patches.ts";
import { fixture, fixtureBy, strace, type Traced, zpoline } from "../run.ts";

/** Name, command, the calls to count: not those that ld.so makes before we look, nor those that the kernel starts again. */
const CASES: readonly [string, () => readonly string[], readonly string[]][] = [
  ["a library loaded by a thread, and again", () => [fixture("plugins.c"), plugin()], ["getuid"]],
  ["a syscall on two pages, one behind misleading bytes", () => [fixture("text.c")], ["getpid", "getppid"]],
  ["functions with a red zone", () => [fixture("redzone.c")], ["getppid", "clock_gettime"]],
  ["threads made by hand, forks of threads", () => [fixture("threads.c")], ["getppid", "gettid", "clone3"]],
  ["threads of musl", () => [fixtureBy("musl-gcc", "threads.c")], ["getppid", "pipe"]],
  ["cancellation points of musl", () => [fixtureBy("musl-gcc", "cancel.c")], ["nanosleep", "poll", "pause"]],
  ["threads that unmap their stack", () => [fixtureBy("musl-gcc", "detached.c")], ["getppid", "munmap", "exit"]],
  ["handlers on another stack", () => [fixture("altstack.c")], ["getppid", "rt_sigreturn", "tgkill"]],
  ["a filter of the program's own", () => [fixture("seccomp.c"), "errno"], ["getppid", "wait4", "prctl"]],
  ["a changed root, and another user", () => [fixture("privileges.c")], ["chroot", "mkdir", "setuid", "wait4"]],
];

const plugin = (): string => fixture("plugin.c", "-shared", "-fPIC");

/** How often each call begins in the lines of a trace. */
function count(lines: readonly string[], names: readonly string[]): Record<string, number> {
  const begins = (name: string) => lines.filter((line) => line.match(/^\d+\s+(\w+)\(/)?.[1] === name).length;
  return Object.fromEntries(names.map((name) => [name, begins(name)]));
}

const LEFT = "zpoline: trace is incomplete: a system call instruction was left as it is: ";

describe.each(CASES)("as many calls as strace sees: %s", (_name, command, names) => {
  let expected: Record<string, number> | undefined;

  test.each(PATCHES)("%s", (patch) => {
    expected ??= count(strace(command()).lines, names);
    const { lines, stderr }: Traced = zpoline(command(), { patch });
    if (patch === "jump" && stderr.includes(LEFT)) expectAtMost(count(lines, names), expected);
    else expect(count(lines, names)).toEqual(expected);
    if (usesTrap(patch)) expect(stderr).toBe("");
  });
});

/** What is not seen is reported. */
function expectAtMost(counts: Record<string, number>, most: Record<string, number>): void {
  for (const [name, count] of Object.entries(counts)) expect(count, name).toBeLessThanOrEqual(most[name]!);
}
