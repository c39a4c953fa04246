/** io_uring, which no hook can see into: reported, or answered as by a kernel that has none. */
import { describe, expect, test } from "vitest";
import { libraryPath } from "../../src/session/library.ts";
import { hook, hookedEnv } from "./c-hooks.ts";
import { fixture, run, zpoline } from "./run.ts";

const ENOSYS = 38;
const program = fixture("io-uring.c");
const native = run([program]);
const REFUSED = { stdout: `a ring: 0\nerrno: ${ENOSYS}\n`, stderr: "", status: 0, signal: null };

/** Where the kernel has none, or forbids it (kernel.io_uring_disabled). */
const isThere = native.stdout.startsWith("a ring: 1\n");

test.runIf(isThere)("is a gap", () => {
  const { stdout, stderr } = zpoline([program]);
  expect(stdout).toBe(native.stdout);
  expect(stderr).toMatch(/^zpoline: trace is incomplete: io_uring submits .*: io_uring_setup \(pid \d+\)\n$/);
});

describe("without io_uring there is no gap", () => {
  test("trace --no-io-uring", () => {
    const { lines, ...outcome } = zpoline([program], {}, ["-f", "--no-io-uring"]);
    expect(outcome).toEqual(REFUSED);
    expect(lines.filter((line) => line.includes("io_uring_setup"))).toEqual([
      expect.stringMatching(/ = -1 ENOSYS \(Function not implemented\)$/),
    ]);
  });

  test("ZPOLINE_IO_URING=off, also in what a program starts, and with a C hook", () => {
    const off = { ZPOLINE_IO_URING: "off" };
    const env = { ...process.env, LD_PRELOAD: libraryPath(), ...off };
    expect(run(["sh", "-c", `${program}; exit`], { env })).toEqual(REFUSED);
    expect(run([program], { env: hookedEnv(hook("pass"), off) })).toEqual(REFUSED);
  });
});
