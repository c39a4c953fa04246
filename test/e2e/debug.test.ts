/** The guest can be debugged and profiled by the names and lines of its TypeScript. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { fixture, run, scratch } from "./run.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const library = join(root, "dist/libzpoline.so");

/** Number of the first line of a guest file that contains `text`. */
function lineOf(file: string, text: string): number {
  const lines = readFileSync(join(root, file), "utf8").split("\n");
  return lines.findIndex((line) => line.includes(text)) + 1;
}

/** What gdb says when it runs a program that is hooked. */
function gdb(environment: readonly string[], commands: readonly string[], program: string): string {
  const all = [
    "set debuginfod enabled off",
    "set startup-with-shell off",
    `set environment LD_PRELOAD ${library}`,
    ...environment.map((variable) => `set environment ${variable}`),
    "set breakpoint pending on",
    ...commands,
  ];
  return run(["gdb", "-batch", "-nx", ...all.flatMap((command) => ["-ex", command]), program], { cwd: root }).stdout;
}

const NOOP = ["ZPOLINE_HOOK noop:110"];

describe("debugging", () => {
  test("gdb stops at a TypeScript line inside /bin/true and shows the frames", () => {
    const line = lineOf("guest/main.ts", "const begin = rdtsc()");
    const stdout = gdb([], [`break guest/main.ts:${line}`, "run", "bt", "next", "continue"], "/bin/true");
    expect(stdout).toMatch(new RegExp(`Breakpoint 1, on_load .* at .*guest/main\\.ts:${line}\\n`));
    expect(stdout).toMatch(/#0 {2}on_load .*guest\/main\.ts:\d+/);
    expect(stdout).toMatch(/#\d+ .* _dl_start_user /);
    expect(stdout).toMatch(/exited normally/);
  });

  test.each(["zero", "jump"])("gdb walks from a guest function through the stub into the program: %s", (patch) => {
    const stdout = gdb(
      [...NOOP, `ZPOLINE_PATCH ${patch}`],
      ["break on_enter if *(long*)$rdi == 110", "run", "bt"],
      fixture("calls.c"),
    );
    expect(stdout).toMatch(/#0 .*on_enter/);
    expect(stdout).toMatch(/#1 .*zp_(stub|entry)/);
    expect(stdout).toMatch(/#2 .* main /);
  });

  const HOOKS = [
    ["a no-op hook", NOOP, "on_enter"],
    ["a hook without a call", ["ZPOLINE_HOOK constant:110"], "on_enter"],
    ["a C hook", [`LIBZPHOOK ${fixture("hooks/pass.c", "-shared", "-fPIC")}`], "on_hook_enter"],
  ] as const;
  test.each(
    HOOKS.flatMap(([name, environment, hook]) => [
      [`zero, ${name}`, environment, `${hook} zp_known`] as const,
      [`jump, ${name}`, [...environment, "ZPOLINE_PATCH jump"], `${hook} zp_jump_known`] as const,
    ]),
  )("gdb finds the caller from every instruction of a hooked call: %s", (_, environment, args) => {
    const script = join(root, "test/fixtures/step-through.py");
    const stdout = gdb(environment, [`set args ${args}`, `source ${script}`], fixture("calls.c"));
    expect(stdout).toMatch(/\d+ steps, lost at: \[\]\n/);
    expect(Number(/(\d+) steps/.exec(stdout)![1])).toBeGreaterThan(50);
  });

  test("gdb finds the interrupted function from every instruction on the way to a handler of a signal, and back", () => {
    const script = join(root, "test/fixtures/step-into-handler.py");
    const stdout = gdb([], [`source ${script}`], fixture("sigsys.c"));
    expect(stdout).toMatch(/\d+ steps to handler, \d+ back, lost at: \[\]\n/);
    expect(Number(/(\d+) back/.exec(stdout)![1])).toBeGreaterThan(20);
  });

  test("gdb shows parameters, classes and globals of the guest in TypeScript terms", () => {
    const stdout = gdb(
      NOOP,
      ["break on_enter if f->nr == 110", "run", "info args", "print *f", "ptype f", "print patchedSites"],
      fixture("calls.c"),
    );
    expect(stdout).toMatch(/\nf = 0x[0-9a-f]+\n/);
    expect(stdout).toMatch(/\n\$1 = \{nr = 110, a0 = \d+,.* result = \d+,.* ip = \d+\}\n/);
    expect(stdout).toMatch(/type = struct Frame \{\n {4}u64 nr;\n/);
    expect(Number(/\$2 = (\d+)/.exec(stdout)?.[1])).toBeGreaterThan(100);
  });

  test("gdb shows local variables of the guest", () => {
    const line = lineOf("guest/rewrite/maps.ts", "m.protection = protection");
    const stdout = gdb(
      [],
      [`break guest/rewrite/maps.ts:${line} if count == 2`, "run", "info locals", "print m == out", "print *m"],
      "/bin/true",
    );
    expect(stdout).toMatch(/\ncount = 2\n/);
    expect(stdout).toMatch(/\nm = 0x[0-9a-f]+\n/);
    // PROT_READ, or PROT_READ and PROT_EXEC: what a third mapping of a program is.
    expect(stdout).toMatch(/\nprotection = [15]\n/);
    expect(stdout).toMatch(/\n\$1 = 1\n/);
    const [, start, end] = /\n\$2 = \{start = (\d+), end = (\d+),/.exec(stdout)!;
    expect(Number(end)).toBeGreaterThan(Number(start));
  });

  test("perf names guest functions", () => {
    const data = join(scratch, "perf.data");
    const micro = fixture("calls.c");
    run([
      "perf",
      "record",
      "-q",
      "-e",
      "cpu-clock",
      "-F",
      "5000",
      "-o",
      data,
      "--",
      "env",
      `LD_PRELOAD=${library}`,
      "ZPOLINE_HOOK=noop:110",
      micro,
    ]);
    const { stdout } = run(["perf", "report", "--stdio", "-i", data, "--sort", "dso,symbol"]);
    expect(stdout).toMatch(/libzpoline\.so\s+\[\.\]\s+(on_enter|zp_stub|zp_entry)/);
  });
});
