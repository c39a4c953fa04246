/** Debuggers on a hooked program. */
import { describe, expect, test } from "vitest";
import { fixture, run } from "../run.ts";
import { LIBRARY } from "./modes.ts";

describe.each([
  ["nothing looked at", []],
  ["every call through the stub", ["ZPOLINE_HOOK=noop:*"]],
] as const)("%s", (_name, variables) => {
  const environment = [`LD_PRELOAD=${LIBRARY}`, ...variables];

  test("gdb steps through hooked calls, instruction by instruction, and lets the program go on", () => {
    const program = fixture("plain.c");
    const settings = [
      "set debuginfod enabled off",
      "set startup-with-shell off",
      ...environment.map((variable) => `set environment ${variable.replace("=", " ")}`),
    ];
    const steps = [...settings, "break main", "run", "stepi 3000", "next 3", "continue"];
    const { stdout } = run(["gdb", "-batch", "-nx", ...steps.flatMap((step) => ["-ex", step]), program]);
    expect(stdout).not.toContain("Program received signal");
    expect(stdout).toMatch(/exited with code 06/);
  });

  test("strace sees what it sees natively", () => {
    const program = fixture("plain.c");
    const native = run(["strace", "-f", "-o", "native.strace", program]);
    const hooked = run(["strace", "-f", "-o", "hooked.strace", "env", ...environment, program]);
    expect(hooked).toEqual(native);
    const getppids = (file: string) => run(["grep", "-c", "getppid()", file]).stdout;
    expect(getppids("hooked.strace")).toBe(getppids("native.strace"));
  });
});
