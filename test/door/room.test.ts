/** Calls with little stack left, as programs of Go make them. */
import { describe, expect, test } from "vitest";
import { LIBRARY } from "../e2e/conformance/modes.ts";
import { fixture, run, zpoline } from "../e2e/run.ts";
import { throughDoor } from "./door.ts";

const program = fixture("cramped.c", "-static");
const dynamic = fixture("cramped.c");

describe.each(["auto", "jump", "zero"] as const)("with the patch %s, a program with the note of Go", (patch) => {
  test("makes calls that are recorded, with 500 bytes of stack", () => {
    const native = run([program]);
    expect(native.stdout).toContain("interrupted: 1, handled: 1\n");
    const { stdout, status, lines } = zpoline([program], {}, ["-f", "--via", "loader", "--patch", patch]);
    expect({ stdout, status }).toEqual({ stdout: native.stdout, status: 0 });
    if (patch !== "jump") expect(lines.filter((line) => line.includes("getppid(")).length).toBeGreaterThan(20_000);
  });

  test("and without a tracer, through either door", () => {
    const native = run([dynamic]);
    expect(throughDoor([dynamic], {}, patch)).toEqual(native);
    const env = { ...process.env, LD_PRELOAD: LIBRARY, ZPOLINE_PATCH: patch };
    expect(run([dynamic], { env })).toEqual(native);
  });
});
