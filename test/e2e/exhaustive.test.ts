/**
 * No call passes by: the kernel itself tells where every entry comes from, and after a program's start all of them come from
 * our library. Where one does not, the trace says so.
 */
import { basename, join } from "node:path";
import { describe, expect, test } from "vitest";
import { libraryPath } from "../../src/session/library.ts";
import { type KernelEntries, kernelEntries, whyNoTracepoints } from "./kernel-entries.ts";
import { COMPILED, PROGRAMS } from "./real-programs.ts";
import { fixture, place, scratch, ZPOLINE } from "./run.ts";

const LIBRARY = basename(libraryPath());
const why = whyNoTracepoints();

function traced(patch: string, command: readonly string[], name: string): KernelEntries {
  const trace = [process.execPath, ZPOLINE, "trace", "-f", "--patch", patch, "-o", join(scratch, "trace"), "--"];
  return kernelEntries([...trace, ...command], LIBRARY, { cwd: place("exhaustive", patch, name) });
}

/** All programs but zpoline itself. */
const watched = ({ images }: KernelEntries) => images.filter(({ first }) => !first);

/** What came from elsewhere, each place once; and programs in which nothing came from our library. */
function missed(entries: KernelEntries): readonly string[] {
  const calls = watched(entries).flatMap(({ name, outside }) => outside.map((call) => `${name}: ${call}`));
  const images = watched(entries).filter(({ hooked }) => !hooked);
  return [...new Set([...calls, ...images.map(({ name }) => `${name}: never hooked`)])];
}

const because = why === undefined ? "" : ` (left out: ${why})`;

describe.skipIf(why !== undefined)(`all entries to the kernel come from our library: auto${because}`, () => {
  test.each([...PROGRAMS, ...COMPILED])("%s", (name, command) => {
    const entries = traced("auto", command, name);
    expect(entries.lost).toBe(0);
    expect(missed(entries)).toEqual([]);
    expect(entries.stderr).not.toContain("incomplete");
    const inside = watched(entries).map(({ inside }) => inside);
    expect(Math.max(...inside)).toBeGreaterThan(10);
  });
});

describe.skipIf(why !== undefined)(`a call that passes by is noticed, and reported${because}`, () => {
  test("code made at run time, without the net", () => {
    const entries = traced("jump", [fixture("jit/rwx.c")], "rwx");
    expect(missed(entries).filter((text) => text.endsWith("//anon")).length).toBeGreaterThan(0);
    expect(entries.stderr).toMatch(/incomplete: code was made at run time/);
  });

  test("a file that is left out", () => {
    const env = { ...process.env, ZPOLINE_EXCLUDE: "libc.so.6" };
    const trace = [
      process.execPath,
      ZPOLINE,
      "trace",
      "-f",
      "--patch",
      "jump",
      "-o",
      join(scratch, "trace"),
      "--",
      "ls",
    ];
    const entries = kernelEntries(trace, LIBRARY, { env });
    expect(missed(entries).filter((text) => text.endsWith("/libc.so.6")).length).toBeGreaterThan(0);
    expect(entries.stderr).toMatch(/incomplete: a file was not rewritten/);
  });

  test("a program that is never hooked", () => {
    const entries = traced("jump", ["sh", "-c", "/bin/busybox true; true"], "static");
    expect(missed(entries)).toContain("busybox: never hooked");
    expect(entries.stderr).toMatch(/incomplete: exec was not followed/);
  });
});
