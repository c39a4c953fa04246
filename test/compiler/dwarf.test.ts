import { execFileSync, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { link } from "../../src/compiler/link.ts";
import type { CodeUnit, LineRow, ObjectFile } from "../../src/compiler/object.ts";
import { writeExecutable, writeSharedObject } from "../../src/elf/write.ts";
import { code, data, hex, rel32, text, writer } from "./units.ts";

let directory = "";
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "zpoline-dwarf-"));
  mkdirSync(join(directory, "guest"));
  for (const name of ["main", "other"])
    writeFileSync(
      join(directory, "guest", `${name}.ts`),
      Array.from({ length: 20 }, (_, i) => `${name} ${i + 1}\n`).join(""),
    );
});
afterAll(() => rmSync(directory, { recursive: true }));

function put(name: string, bytes: Uint8Array): string {
  const path = join(directory, name);
  writeFileSync(path, bytes, { mode: 0o755 });
  return path;
}

function gdb(program: string, commands: string[]): string {
  const args = commands.flatMap((command) => ["-ex", command]);
  return spawnSync("gdb", ["-nx", "-batch", ...args, program], { cwd: directory, encoding: "utf8" }).stdout;
}

const line = (at: number, number: number, column = 1, file = "guest/main.ts"): LineRow => ({
  at,
  line: number,
  column,
  file,
});
const entry = { at: 0, cfa: { reg: 7, offset: 8 }, saved: [] };

/** begin() calls answer(), which calls hello() (a template without lines) and has a line of another file inside. */
const program: ObjectFile = {
  code: [
    code("begin", hex("50 e8 00000000 59 90 c3"), {
      relocs: [rel32(2, "answer")],
      lines: [line(0, 3, 5), line(6, 4), line(8, 5)],
      unwind: [entry, { ...entry, at: 1, cfa: { reg: 7, offset: 16 } }, { ...entry, at: 7 }],
    }),
    { ...writer("hello", "message", 6), unwind: [entry] },
    code("answer", hex("50 e8 00000000 b8 2a000000 59 c3"), {
      relocs: [rel32(2, "hello")],
      lines: [line(0, 7), line(1, 8), line(6, 2, 3, "guest/other.ts"), line(11, 9)],
      unwind: [entry, { ...entry, at: 1, cfa: { reg: 7, offset: 16 } }, { ...entry, at: 12 }],
    }),
  ],
  data: [data("message", text("hello\n"))],
};

describe("gdb, in a program that the shared object is preloaded into", () => {
  test("stops at a line, shows it, walks back, and steps through lines and over code without any", () => {
    const path = put("libmain.so", writeSharedObject([program], { soname: "libmain.so", init: ["begin"] }));
    const output = gdb("/bin/true", [
      "set startup-with-shell off",
      "set breakpoint pending on",
      `set environment LD_PRELOAD=${path}`,
      "break guest/main.ts:8",
      "run",
      "bt 2",
      "step",
      "step",
      "step",
    ]);
    expect(output).toMatch(/Breakpoint 1, (0x\w+ in )?answer \(\) at \.\/guest\/main\.ts:8\n8\tmain 8\n/);
    expect(output).toMatch(/#0 .*answer \(\) at \.\/guest\/main\.ts:8\n#1 .* begin \(\) at \.\/guest\/main\.ts:3\n/);
    expect(output).toMatch(
      /8\tmain 8\n[\s\S]*hello\n2\tother 2\n[\s\S]*9\tmain 9\n[\s\S]*begin \(\) at \.\/guest\/main\.ts:4\n4\tmain 4\n/,
    );
  });

  test("finds functions by name and lines by address", () => {
    const path = put("libmain.so", writeSharedObject([program], { soname: "libmain.so" }));
    const output = gdb(path, ["info line answer", "info line guest/other.ts:2", "info symbol hello"]);
    expect(output).toMatch(
      /Line 7 of "\.\/guest\/main\.ts" starts at address 0x\w+ <answer> and ends at 0x\w+ <answer\+1>/,
    );
    expect(output).toMatch(/Line 2 of "\.\/guest\/other\.ts" starts at address 0x\w+ <answer\+6>/);
    expect(output).toContain("hello in section .text");
  });
});

test("addr2line names function and line, relative to the source directory", () => {
  const path = put("program", writeExecutable([program], { entry: "begin", sourceDirectory: "/somewhere" }));
  const symbols = execFileSync("nm", [path], { encoding: "utf8" });
  const [, start] = /^(\w+) t answer$/m.exec(symbols)!;
  const address = (Number.parseInt(start!, 16) + 7).toString(16);
  for (const tool of ["addr2line", "eu-addr2line"])
    expect(execFileSync(tool, ["-f", "-e", path, address], { encoding: "utf8" })).toMatch(
      /^answer\n\/somewhere\/guest\/other\.ts:2(:3)?\n$/,
    );
});

test("code without lines has no debug sections", () => {
  const path = put("bare", writeExecutable([{ code: [code("_start", hex("0f 0b"))], data: [] }]));
  expect(execFileSync("readelf", ["-SW", path], { encoding: "utf8" })).not.toContain(".debug_");
});

test("readelf and eu-elflint find nothing to warn of", () => {
  const path = put("libmain.so", writeSharedObject([program], { soname: "libmain.so", init: ["begin"] }));
  const run = spawnSync("readelf", ["-aW", "-wilLarsf", path], { encoding: "utf8" });
  expect(run).toMatchObject({ stderr: "", status: 0 });
  for (const args of [[], ["--gnu-ld"]])
    expect(spawnSync("eu-elflint", [...args, path], { encoding: "utf8" }).stdout).toBe("No errors\n");
});

describe("the line table", () => {
  /** eu-readelf's reading of .debug_line: "address file:line:column" for each row, ends of sequences left out. */
  function decoded(path: string): string[] {
    const output = execFileSync("eu-readelf", ["--debug-dump=decodedline", path], { encoding: "utf8" });
    const rows: string[] = [];
    let file = "";
    for (const text of output.split("\n")) {
      file = /^ {2}\.\/(\S+) \(mtime/.exec(text)?.[1] ?? file;
      const row = /^ +(\d+):(\d+) +S +(\*?) +0 +0 +0 0x(\w+)/.exec(text);
      if (row && row[3] === "") rows.push(`${Number.parseInt(row[4]!, 16)} ${file}:${row[1]}:${row[2]}`);
    }
    return rows;
  }

  const step = fc.record({
    gap: fc.constantFrom(1, 2, 16, 17, 18, 127, 128, 300),
    line: fc.oneof(fc.integer({ min: 1, max: 30 }), fc.integer({ min: 1, max: 100_000 })),
    column: fc.integer({ min: 0, max: 200 }),
    file: fc.constantFrom("guest/a.ts", "guest/b.ts", "guest/hook/c.ts"),
  });

  test("reads back row by row", () => {
    fc.assert(
      fc.property(fc.array(fc.array(step, { maxLength: 12 }), { minLength: 1, maxLength: 4 }), (functions) => {
        const units = functions.map((steps, i): CodeUnit => {
          let end = 0;
          const lines = steps.map(({ gap, ...where }) => {
            const at = end;
            end += gap;
            return { at, ...where };
          });
          return code(`f${i}`, new Uint8Array(end + 1).fill(0x90), { lines });
        });
        fc.pre(units.some((unit) => unit.lines!.length > 0));
        const objects = [{ code: units, data: [] }];
        const path = put("lines", writeExecutable(objects, { base: 0x400000, entry: "f0" }));
        const expected = link(objects, { base: 0x401000 }).code.flatMap(({ unit, address }) =>
          unit.lines!.map((row) => `${address + row.at} ${row.file}:${row.line}:${row.column}`),
        );
        expect(decoded(path)).toEqual(expected);
      }),
      { numRuns: 40 },
    );
  });
});
