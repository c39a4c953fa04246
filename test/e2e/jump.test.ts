/** Near stubs: where they lie, and what they do to a program that is interrupted in them. */
import { copyFileSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { libraryPath } from "../../src/session/library.ts";
import { readAudit } from "./audit.ts";
import { hook } from "./c-hooks.ts";
import { fixture, run, scratch, zpoline } from "./run.ts";

const jumps = (command: readonly string[], variables: readonly string[] = []) =>
  run(["env", `LD_PRELOAD=${libraryPath()}`, "ZPOLINE_PATCH=jump", ...variables, ...command]);

test.each([
  ["nobody", []],
  ["a no-op hook", ["ZPOLINE_HOOK=noop:*"]],
  ["a C hook", [`LIBZPHOOK=${hook("pass")}`]],
])("every kind of window, interrupted by a handler that walks the stack: %s", (_, variables) => {
  const program = fixture("windows.c");
  expect(jumps([program], variables)).toEqual(run([program]));
});

test("a moved instruction faults where it stood, and goes on from there", () => {
  const program = fixture("moved-fault.c");
  const native = run([program]);
  expect(native).toMatchObject({ status: 0, stdout: expect.stringMatching(/^before: 1\n(.*\n)+behind: 110\n/m) });
  expect(jumps([program])).toEqual(native);
});

test("code that threads are running is changed where one aligned word is enough, and else left", () => {
  const { stdout, status } = jumps([fixture("retext.c")], ["ZPOLINE_HOOK=constant:110"]);
  const answered = ["aligned, answered by the hook: 200", "crossing, answered by the hook: 0"];
  expect({ stdout, status }).toEqual({ stdout: `${["wrong answers: 0", ...answered].join("\n")}\n`, status: 0 });
});

test("where memory that was written must not become executable", () => {
  const sites = (wrapper: readonly string[]) => {
    const log = join(scratch, `denied.${wrapper[1]}`);
    const { status } = run([...wrapper, "env", ...variables, `ZPOLINE_AUDIT=${log}`, "/bin/true"]);
    expect(status).toBe(0);
    return readAudit(log).flatMap(({ type, fileOffset, patch }) => (type === "site" ? [[fileOffset, patch]] : []));
  };
  const variables = [`LD_PRELOAD=${libraryPath()}`, "ZPOLINE_PATCH=jump"];
  const usual = sites([]);
  expect(usual.filter(([, patch]) => patch === "jump").length).toBeGreaterThan(100);
  expect(sites([fixture("deny.c"), "execute-written", "--"])).toEqual(usual);
  expect(sites([fixture("deny.c"), "write-text", "--"])).toEqual(usual);
});

test("all windows of the fixture but that which is none become jumps", () => {
  const log = join(scratch, "windows.audit");
  const program = fixture("windows.c");
  jumps([program], [`ZPOLINE_AUDIT=${log}`]);
  const sites = readAudit(log).filter(({ type, file }) => type === "site" && file === program);
  expect(sites.map(({ patch }) => patch)).toEqual([...Array.from({ length: 9 }, () => "jump"), "none"]);
});

test.each([["-pie"], ["-no-pie"]])("the heap grows as far as natively: %s", (flag) => {
  const program = fixture("heap.c", flag);
  const native = run([program]);
  expect(native.stdout).toBe("MiB: 2048\nback: 0\n");
  expect(jumps([program])).toEqual(native);
});

test("hundreds of libraries, loaded again and again", () => {
  const directory = join(scratch, "many");
  mkdirSync(directory);
  const plugin = fixture("plugin.c", "-shared", "-fPIC");
  const copies = Array.from({ length: 300 }, (_, i) => join(directory, `${i}.so`));
  for (const copy of copies) copyFileSync(plugin, copy);
  const command = [fixture("many-libraries.c"), ...copies];
  const { stdout, status, lines } = zpoline(command, { patch: "jump" });
  expect({ stdout, status }).toEqual({ stdout: run(command).stdout, status: 0 });
  expect(stdout).toMatch(/^libraries whose call is right: 300$/m);
  expect(lines.filter((line) => / getuid\(\) /.test(line))).toHaveLength(2 * 3 * 300);
});
