/** `zpoline trace` for a user without any privilege, from the session's file to the last event. */
import { chmodSync, chownSync, copyFileSync, mkdirSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { type Options, place, run, strace, zpoline } from "./run.ts";
import { ORDINARY } from "./users.ts";

const isRoot = process.getuid?.() === 0;
let directories = 0;

/** A directory for the session's files, and what is left in it afterwards. */
function temporary(): { options: Options; left: () => readonly string[] } {
  const directory = place(`temporary-${directories++}`);
  const env = { PATH: process.env["PATH"], LC_ALL: "C", TMPDIR: directory };
  return { options: { user: ORDINARY, env }, left: () => readdirSync(directory) };
}

const PIPELINE = ["sh", "-c", "echo one two | tr ' ' '\\n' | sort -r | cat; ls /proc/self/fd >/dev/null; exit 3"];

describe.each(["jump", "trap", "jump+trap", "auto"] as const)("--patch %s", (patch) => {
  test("does as natively, shows what strace shows, leaves nothing behind", () => {
    const { options, left } = temporary();
    const { lines, stderr, ...outcome } = zpoline(PIPELINE, { ...options, patch });
    expect(outcome).toEqual({ stdout: "two\none\n", status: 3, signal: null });
    if (patch !== "jump") expect(stderr).toBe("");
    const calls = (trace: readonly string[], name: string) =>
      trace.filter((line) => new RegExp(`^\\d+ +${name}\\(`).test(line)).length;
    const expected = strace(PIPELINE, options).lines;
    for (const name of ["clone", "vfork", "wait4", "pipe", "pipe2", "dup2", "getdents64", "exit_group"]) {
      expect(calls(lines, name), name).toBe(calls(expected, name));
    }
    expect(left()).toEqual([]);
  });
});

test("the coverage says by what", () => {
  const { options } = temporary();
  const file = join(place("coverage"), "coverage.json");
  zpoline(["true"], options, ["-f", "--patch", "auto", "--coverage", file]);
  const coverage = JSON.parse(readFileSync(file, "utf8"));
  expect(coverage).toMatchObject({ complete: true, gaps: [] });
  expect(Object.keys(coverage.patches)).toEqual([expect.stringMatching(/^jump(\+trap)?$/)]);
});

test.runIf(isRoot)("a setuid program runs as it must, unhooked, and the trace says so", () => {
  const { options } = temporary();
  const program = join(place("setuid"), "id");
  copyFileSync("/usr/bin/id", program);
  chownSync(program, 1, 1);
  chmodSync(program, 0o4755);
  const { stdout, stderr, status } = zpoline(["sh", "-c", `${program} -u; exit 4`], { ...options, patch: "auto" });
  expect({ stdout, status }).toEqual({ stdout: "1\n", status: 4 });
  expect(stderr).toMatch(/^zpoline: trace is incomplete: exec was not followed .*\/id \(pid \d+\)\n$/);
});

test.runIf(isRoot)("a temporary directory that may not be written to", () => {
  const closed = join(place("closed"), "directory");
  mkdirSync(closed, 0o755);
  const env = { PATH: process.env["PATH"], TMPDIR: closed };
  const { stderr, status } = zpoline(["true"], { user: ORDINARY, env, patch: "auto" });
  expect(status).toBe(125);
  expect(stderr).toMatch(/^zpoline: cannot create .* \(RING_CREATE\)\n {2}cause: EACCES.*\n {2}fix: set TMPDIR/);
});

test("under the patch zero it says what is missing, and that auto needs nothing", () => {
  if (run(["cat", "/proc/sys/vm/mmap_min_addr"]).stdout === "0\n") return;
  const { options } = temporary();
  const { stderr, status } = zpoline(["true"], { ...options, patch: "zero" });
  expect(status).toBe(125);
  expect(stderr).toMatch(/\(NO_VA0\)\n {2}cause: vm\.mmap_min_addr is \d+, .*\n {2}fix: --patch auto/);
});
