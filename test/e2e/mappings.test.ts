/** Programs that load libraries, and change mappings, after our start. */
import { expect, test } from "vitest";
import { libraryPath } from "../../src/session/library.ts";
import { PATCHES } from "./patches.ts";
import { fixture, run, zpoline } from "./run.ts";

const hooked = (command: readonly string[]) => run(["env", `LD_PRELOAD=${libraryPath()}`, ...command]);

test("a library is not read where the loader has not mapped it yet", () => {
  const flags = ["-shared", "-fPIC", "-nostdlib", "-s", "-fno-asynchronous-unwind-tables", "-Wl,--no-eh-frame-hdr"];
  const { stdout, signal } = hooked([fixture("dlopen.c"), fixture("late.c", ...flags)]);
  expect([stdout, signal]).toEqual(["loaded\n", null]);
});

test.each(["shared", "private"])("code in memory that has a name, %s, is a gap", (sharing) => {
  const { stdout, stderr } = zpoline([fixture("memfd-code.c"), sharing], { patch: "zero" });
  expect(stdout).toBe("42\n");
  expect(stderr).toMatch(/^zpoline: trace is incomplete: code was made at run time; .*: \/memfd:code/);
});

/** What fixtures/overmap.c prints: for each range, lines `call: result`. */
const results = (stdout: string) =>
  stdout.split(/^range \d+\n/m).map((text) => text.split("\n").filter((line) => line !== "" && line !== "end"));

/** The flag makes its name one that the fixture knows. */
const hook = fixture("hooks/pass.c", "-shared", "-fPIC", "-Wl,-soname,pass.so");

const HOOKS = [
  ["nothing", []],
  ["a C hook", [`LIBZPHOOK=${hook}`]],
] as const;
const WAYS = PATCHES.flatMap((patch) => HOOKS.map(([name, variables]) => ({ patch, name, variables })));

test.each(WAYS)(
  "our mappings cannot be taken away, and calls over them are answered as if nothing lay there: $patch, $name",
  ({ patch, variables }) => {
    const program = fixture("overmap.c");
    const [, hole] = results(run([program]).stdout);
    const refused = (error: string) => (line: string) => line.replace(/^(mmap|mremap to it|shmat): 0$/, `$1: ${error}`);
    const { stdout, signal } = hooked(["env", `ZPOLINE_PATCH=${patch}`, ...variables, program]);
    expect([signal, stdout.endsWith("end\n")]).toEqual([null, true]);
    const [, ...ranges] = results(stdout);
    const [sled, slots] = patch === "zero" ? ranges.splice(0, 2) : [];
    const plain = hole!.filter((line) => !/around|^mincore|^\d/.test(line));
    if (patch === "zero") {
      expect(sled).toEqual(plain.map(refused("EPERM")));
      expect(slots).toEqual(hole!.map(refused("ENOMEM")));
    }
    for (const range of ranges) expect(range).toEqual(plain.map(refused("ENOMEM")));
    // Text and data of the library, and the stubs of jumps.
    expect(ranges.length).toBeGreaterThanOrEqual(patch === "jump" ? 5 : 2);
  },
);
