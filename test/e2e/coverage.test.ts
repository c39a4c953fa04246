/** What `zpoline trace --coverage FILE` writes: for tools that must know whether they have seen everything. */
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import type { Coverage } from "../../src/session/coverage.ts";
import { type Options, run, scratch, ZPOLINE } from "./run.ts";

const file = join(scratch, "coverage.json");

function traced(options: Options, ...args: readonly string[]): Coverage {
  run([process.execPath, ZPOLINE, "trace", "-o", "/dev/null", "--coverage", file, ...args], options);
  return JSON.parse(readFileSync(file, "utf8"));
}

function covered(command: readonly string[], ...flags: readonly string[]) {
  rmSync(file, { force: true });
  const trace = join(scratch, "coverage.trace");
  const outcome = run([process.execPath, ZPOLINE, "trace", "-o", trace, "--coverage", file, ...flags, ...command]);
  return { ...outcome, coverage: JSON.parse(readFileSync(file, "utf8")) };
}

describe("the file says", () => {
  test("that the trace is complete, and how many images had which patches", () => {
    const { coverage, stderr, status } = covered(["sh", "-c", "/bin/true; /bin/true; exit 3"], "-f", "--patch", "zero");
    expect(coverage).toEqual({ follow: true, complete: true, gaps: [], patches: { zero: 3 } });
    expect({ stderr, status }).toEqual({ stderr: "", status: 3 });
  });

  test("that it is complete by jumps alone: handlers return by a call of ours, not by libc's restorer", () => {
    const script = "trap 'echo caught' USR1; kill -USR1 $$";
    const { coverage, stdout } = covered(["bash", "-c", script], "--patch", "jump");
    expect(coverage).toEqual({ follow: false, complete: true, gaps: [], patches: { jump: 1 } });
    expect(stdout).toBe("caught\n");
    expect(readFileSync(join(scratch, "coverage.trace"), "utf8").match(/^rt_sigreturn\(.*$/gm)).toHaveLength(1);
  });

  test("what is missing, as the last lines on standard error do", () => {
    const { coverage, stderr } = covered(["sh", "-c", "/bin/busybox true"], "-f");
    expect(coverage).toMatchObject({
      complete: false,
      gaps: [{ kind: "exec-unhooked", pid: expect.any(Number), detail: "/bin/busybox", count: 1 }],
    });
    expect(stderr).toMatch(/^zpoline: trace is incomplete: exec was not followed .*: \/bin\/busybox \(pid \d+\)\n$/);
  });

  test("that children were not asked for", () => {
    const { coverage } = covered(["sh", "-c", "/bin/busybox true; exit"]);
    expect(coverage).toMatchObject({ follow: false, complete: true });
  });

  test("which patch was asked for: by ZPOLINE_PATCH, or by --patch, which has the last word", () => {
    const env = { ...process.env, ZPOLINE_PATCH: "trap" };
    const { patches } = traced({ env }, "true");
    expect(patches).toEqual({ trap: 1 });
    expect(traced({ env }, "--patch", "jump", "true").patches).toEqual({ jump: 1 });
    expect(Object.keys(traced({}, "true").patches)).toEqual([expect.stringMatching(/^jump(\+trap)?$/)]);
  });

  test("nothing, when zpoline did not come to its end", () => {
    writeFileSync(file, "old");
    const { status } = run([process.execPath, ZPOLINE, "trace", "-o", "/dev/full", "--coverage", file, "/bin/true"]);
    expect({ status, text: readFileSync(file, "utf8") }).toEqual({ status: 125, text: "" });
  });
});

test("a file that cannot be opened: nothing is started", () => {
  const command = ["sh", "-c", `touch ${join(scratch, "started")}`];
  const { status, stderr } = run([process.execPath, ZPOLINE, "trace", "--coverage", "/no/such/file", ...command]);
  expect(status).toBe(125);
  expect(stderr).toMatch(
    /^zpoline: cannot open \/no\/such\/file for the coverage \(OUTPUT_OPEN\)\n.*\n {2}fix: .*--coverage\n$/,
  );
  expect(run(["ls", join(scratch, "started")]).status).not.toBe(0);
});
