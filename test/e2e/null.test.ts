/** Calls, jumps and pointers to page 0 do what they do natively, although page 0 is mapped. */
import { describe, expect, test } from "vitest";
import { LIBRARY, MODES } from "./conformance/modes.ts";
import { fixture, type Outcome, run } from "./run.ts";

/** What is said of a program that copies code, and of sites without room for a jump. */
const GAPS = /^zpoline: trace is incomplete: (code was made at run time|a system call instruction was left).*\n/gm;

const withoutGaps = (outcome: Outcome): Outcome => ({ ...outcome, stderr: outcome.stderr.replace(GAPS, "") });

describe.each(MODES)("a call to page 0: $name", (mode) => {
  const program = fixture("null.c");

  const hooked = (scenario: string): Outcome => withoutGaps(mode.run([program, scenario]));

  test("reaches the handler with all registers as natively", () => {
    const native = run([program, "all"]);
    expect(native.status).toBe(0);
    expect(native.stdout).toMatch(/call 0x200: signal 11 code 1 errno 0 addr 0x200 rip 200,/);
    expect(hooked("all")).toEqual(native);
  });

  test.each(["die", "die-at-0x200", "die-by-tail-call", "die-ignored", "die-blocked"])("%s", (scenario) => {
    const native = run([program, scenario]);
    expect(native).toMatchObject({ signal: "SIGSEGV", status: null });
    expect(hooked(scenario)).toEqual(native);
  });
});

/** A jump leads elsewhere from another place (docs/limits.md). */
const withoutJump = MODES.filter(({ patch }) => ["zero", "trap", "zero+trap"].includes(patch));

test.each(withoutJump)("rewritten code that the program copies elsewhere makes its calls: $name", (mode) => {
  const command = [fixture("null.c"), "copied"];
  expect(withoutGaps(mode.run(command))).toEqual(run(command));
});

describe.each(MODES)("the sites of a library that is unloaded are forgotten: $name", (mode) => {
  const library = (...flags: readonly string[]) => fixture("same-place.c", "-shared", "-fPIC", "-nostdlib", ...flags);

  test("another library in the same place calls NULL where the first made a system call", () => {
    const command = [fixture("replaced.c", "-ldl"), library(), library("-DTHROUGH_NULL")];
    const native = run(command);
    expect(native.stdout).toMatch(/^(the system call: 1\nin the same place: 1\nsignal 11 code 1 addr \(nil\)\n){3}$/);
    expect(withoutGaps(mode.run(command))).toEqual(native);
  });
});

test("a debugger sees the crash where it is", () => {
  const { stdout } = run([
    ...["gdb", "-batch", "-nx", "-ex", "set startup-with-shell off", "-ex", `set environment LD_PRELOAD ${LIBRARY}`],
    ...["-ex", "run", "-ex", "print $_siginfo._sifields._sigfault.si_addr", "-ex", "print $_siginfo.si_code"],
    ...["-ex", "bt", "--args", fixture("null.c"), "die-at-0x200"],
  ]);
  expect(stdout).toMatch(/received signal SIGSEGV/);
  expect(stdout).toMatch(/\$1 = \(void \*\) 0x200\n\$2 = 1\n/);
  expect(stdout).toMatch(/#0 +0x0*200 in .*\n#1 .* main \(/);
});
