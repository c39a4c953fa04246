import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { ObjectFile } from "../../src/compiler/object.ts";
import * as elf from "../../src/elf/constants.ts";
import type { ElfFile } from "../../src/elf/read.ts";
import {
  buildId,
  interpreter,
  readElf,
  readNotes,
  readSections,
  readSymbols,
  sectionBytes,
} from "../../src/elf/read.ts";
import { memorySource, withFile } from "../../src/elf/source.ts";
import { writeSharedObject } from "../../src/elf/write.ts";
import { ZpolineError } from "../../src/errors.ts";
import { code, data, hex, text } from "../compiler/units.ts";

const entry = { at: 0, cfa: { reg: 7, offset: 8 }, saved: [] };
const object: ObjectFile = {
  code: [
    code("f", hex("b8 2a000000 c3"), {
      marks: { "f.end": 5 },
      lines: [{ at: 0, file: "a.ts", line: 1, column: 1 }],
      unwind: [entry],
    }),
  ],
  data: [data("hello", text("hello")), data("room", new Uint8Array(0), { size: 32, writable: true })],
};
const sample = writeSharedObject([object], { soname: "libsample.so", exports: { sample: "f" }, init: ["f"] });
const parse = (bytes: Uint8Array) => readElf(memorySource(bytes), "sample");

/** Everything that the reader can tell of a file. */
function readAll(bytes: Uint8Array): void {
  const file = parse(bytes);
  for (const section of readSections(file)) sectionBytes(file, section);
  readSymbols(file, ".symtab");
  readSymbols(file, ".dynsym");
  readNotes(file);
  buildId(file);
  interpreter(file);
}

function failure(run: () => unknown): ZpolineError {
  try {
    run();
  } catch (error) {
    if (error instanceof ZpolineError) return error;
    throw error;
  }
  throw new Error("nothing was thrown");
}

/** The sample with some bytes changed. */
function patched(changes: Readonly<Record<number, readonly number[]>>): Uint8Array {
  const bytes = sample.slice();
  for (const [at, values] of Object.entries(changes)) bytes.set(values, Number(at));
  return bytes;
}

describe("what the writer wrote, the reader reads", () => {
  test("segments: none both writable and executable, each in its pages", () => {
    const loads = parse(sample).segments.filter(({ type }) => type === elf.PT_LOAD);
    expect(loads.map(({ flags }) => flags)).toEqual([elf.PF_R, elf.PF_R | elf.PF_X, elf.PF_R | elf.PF_W]);
    for (const { address, offset, align } of loads) expect([address % align, offset % align]).toEqual([0, 0]);
  });

  test("symbols, with their sizes", () => {
    const symbols = readSymbols(parse(sample), ".symtab");
    expect(symbols.map(({ name }) => name)).toEqual(["libsample.so", "hello", "f", "f.end", "room", "sample"]);
    expect(symbols.find(({ name }) => name === "f")).toMatchObject({
      size: 6,
      type: elf.STT_FUNC,
      binding: elf.STB_LOCAL,
    });
    expect(readSymbols(parse(sample), ".dynsym").map(({ name }) => name)).toEqual(["sample"]);
  });

  test("contents and build id", () => {
    const file = parse(sample);
    const rodata = readSections(file).find(({ name }) => name === ".rodata")!;
    expect(new TextDecoder().decode(sectionBytes(file, rodata))).toBe("hello");
    expect(buildId(file)).toMatch(/^[0-9a-f]{40}$/);
    expect(interpreter(file)).toBeUndefined();
  });
});

describe("files of the system, as readelf reads them", () => {
  const paths = ["/bin/true", "/lib/x86_64-linux-gnu/libc.so.6", "/lib64/ld-linux-x86-64.so.2", process.execPath];
  const cases = paths.filter((path) => existsSync(path)).map((path) => [path] as const);
  const readelf = (path: string, ...args: string[]) =>
    execFileSync("readelf", ["-W", ...args, path], {
      encoding: "utf8",
      maxBuffer: 2 ** 30,
      stdio: ["ignore", "pipe", "ignore"],
    });
  const hexOf = (value: number, digits: number) => value.toString(16).padStart(digits, "0");

  test.each(cases)("%s", (path) => {
    withFile(path, (source) => {
      const file: ElfFile = readElf(source, path);
      const segments = [
        ...readelf(path, "-l").matchAll(/^ {2}[A-Z]\w+ +0x(\w+) 0x(\w+) 0x\w+ 0x(\w+) 0x(\w+) ([R ][W ][E ])/gm),
      ];
      expect(file.segments.map((s) => [s.offset, s.address, s.fileSize, s.memorySize])).toEqual(
        segments.map((row) => row.slice(1, 5).map((field) => Number.parseInt(field, 16))),
      );
      const sections = [...readelf(path, "-S").matchAll(/^ {2}\[ *(\d+)\] (\S+) +\S+ +([0-9a-f]{16}) (\w+) (\w+)/gm)];
      expect(
        readSections(file)
          .slice(1)
          .map(({ name, address, offset, size }) => [name, hexOf(address, 16), hexOf(offset, 6), hexOf(size, 6)]),
      ).toEqual(sections.map((row) => row.slice(2, 6)));
      const id = /Build ID: (\w+)/.exec(readelf(path, "-n"))?.[1];
      expect(buildId(file)).toBe(id);
      const loader = /interpreter: (\S+)\]/.exec(readelf(path, "-l"))?.[1];
      expect(interpreter(file)).toBe(loader);
    });
  });

  test("the dynamic symbols of libc", () => {
    const path = "/lib/x86_64-linux-gnu/libc.so.6";
    const symbols = withFile(path, (source) => readSymbols(readElf(source, path), ".dynsym"));
    const rows = [...readelf(path, "--dyn-syms").matchAll(/^ +\d+: (\w{16}) +(\w+) \S+ +\S+ +\S+ +\S+ ([^\s@]+)/gm)];
    expect(symbols.map(({ name, value }) => [hexOf(value, 16), name])).toEqual(rows.map((row) => [row[1], row[3]]));
  });
});

describe("errors", () => {
  test.each([
    ["ELF_NOT_ELF", new Uint8Array(0)],
    ["ELF_NOT_ELF", text("#!/bin/sh\n")],
    ["ELF_CLASS", patched({ 4: [elf.ELFCLASS32] })],
    ["ELF_ENDIAN", patched({ 5: [elf.ELFDATA2MSB] })],
    ["ELF_MACHINE", patched({ 18: [183, 0] })],
    ["ELF_CORRUPT", patched({ 4: [7] })],
    ["ELF_CORRUPT", patched({ 54: [55, 0] })],
    ["ELF_CORRUPT", patched({ 32: [255, 255, 255, 255, 255, 255, 255, 255] })],
    ["ELF_TRUNCATED", sample.subarray(0, 4)],
    ["ELF_TRUNCATED", sample.subarray(0, 63)],
    ["ELF_TRUNCATED", sample.subarray(0, 200)],
    ["ELF_TRUNCATED", sample.subarray(0, sample.length - 1)],
  ])("%s", (expected, bytes) => {
    const error = failure(() => readAll(bytes));
    expect(error.code).toBe(expected);
    expect(error.message).toContain("sample");
  });

  test("say what is missing, and what to do", () => {
    expect(failure(() => parse(sample.subarray(0, 63))).format()).toBe(
      [
        "zpoline: sample is truncated (ELF_TRUNCATED)",
        "  cause: its ELF header needs 64 bytes, the file has 63",
        "  fix: copy or build the file again",
      ].join("\n"),
    );
  });
});

describe("hostile input throws nothing but ZpolineError", () => {
  const onlyOwnErrors = (bytes: Uint8Array) => {
    try {
      readAll(bytes);
    } catch (error) {
      if (!(error instanceof ZpolineError)) throw error;
    }
  };

  test("any bytes behind a good start", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 600 }), (rest) => {
        const bytes = new Uint8Array(20 + rest.length);
        bytes.set(sample.subarray(0, 20));
        bytes.set(rest, 20);
        onlyOwnErrors(bytes);
      }),
      { numRuns: 500 },
    );
  });

  test("a good file with a few fields changed, or cut short", () => {
    const tables = parse(sample).sectionTable;
    const spots = fc.oneof(
      fc.nat(1023),
      fc.integer({ min: tables.offset, max: sample.length - 8 }),
      fc.nat(sample.length - 8),
    );
    const values = fc.oneof(fc.bigInt({ min: 0n, max: 300n }), fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }));
    const change = fc.tuple(spots, fc.constantFrom(1, 2, 4, 8), values);
    fc.assert(
      fc.property(
        fc.array(change, { minLength: 1, maxLength: 5 }),
        fc.option(fc.nat(sample.length)),
        (changes, cut) => {
          const bytes = sample.slice(0, cut ?? sample.length);
          for (const [at, width, value] of changes)
            for (let i = 0; i < width && at + i < bytes.length; i++)
              bytes[at + i] = Number((value >> BigInt(8 * i)) & 255n);
          onlyOwnErrors(bytes);
        },
      ),
      { numRuns: 2000 },
    );
  });

  test("a source that shrinks while it is read", () => {
    const shrinking = {
      size: sample.length,
      read: (at: number, length: number) => sample.subarray(at, at + length - 1),
    };
    expect(failure(() => readElf(shrinking, "sample")).code).toBe("ELF_TRUNCATED");
  });
});

test("only the needed parts of a file are read", () => {
  let read = 0;
  const size = readFileSync(process.execPath).length;
  withFile(process.execPath, (source) => {
    const counting = {
      size: source.size,
      read(offset: number, length: number) {
        read += length;
        return source.read(offset, length);
      },
    };
    buildId(readElf(counting, "node"));
  });
  expect(read).toBeLessThan(4096);
  expect(size).toBeGreaterThan(2 ** 20);
});
