import { beforeAll, describe, expect, test } from "vitest";
import { Oracle } from "../helpers/iced.ts";
import { codeRanges, functionStarts, mapElf, present } from "../helpers/mapped-elf.ts";
import { GuestDecoder } from "./decoder.ts";

let decoder: GuestDecoder;

beforeAll(async () => {
  decoder = await GuestDecoder.load();
});

describe("every instruction of real programs", () => {
  const PROGRAMS = present(
    "/lib/x86_64-linux-gnu/libc.so.6",
    "/lib64/ld-linux-x86-64.so.2",
    "/lib/ld-musl-x86_64.so.1",
    "/bin/bash",
    "/bin/busybox",
    "/usr/bin/python3",
  );
  const NODE_SAMPLES = 2000;

  function check(path: string, pick: (starts: number[]) => number[]): number {
    const elf = mapElf(path);
    const starts = functionStarts(elf);
    let count = 0;
    const failures: string[] = [];
    for (const range of codeRanges(elf)) {
      const bytes = elf.bytes.subarray(range.start - elf.low, range.end - elf.low);
      const at = decoder.place(bytes);
      const oracle = new Oracle(bytes, at);
      const inside = starts.filter((start) => start >= range.start && start < range.end);
      const boundaries = [range.start, ...inside, range.end].map((address) => address - range.start);
      const chosen = new Set(pick(boundaries.slice(0, -1)));
      for (const [i, start] of boundaries.entries()) {
        if (!chosen.has(start)) continue;
        let offset = start;
        while (offset < boundaries[i + 1]!) {
          const expected = oracle.at(offset);
          if (!expected) {
            offset++; // Data in text: see below for which forms that are no instructions are accepted.
            continue;
          }
          const actual = decoder.decode(at + offset, at + bytes.length);
          const wrong = actual !== expected ? [`length ${actual}, expected ${expected}`] : [];
          if (actual) wrong.push(...decoder.differences(oracle));
          if (wrong.length) failures.push(`${(range.start + offset).toString(16)} ${oracle.text()}: ${wrong}`);
          count++;
          offset += expected;
        }
      }
      oracle.free();
    }
    expect(failures.slice(0, 20)).toEqual([]);
    return count;
  }

  test.each(PROGRAMS)("%s", (path) => {
    expect(check(path, (starts) => starts)).toBeGreaterThan(10_000);
  });

  test("a sample of node's functions", () => {
    const pick = (starts: number[]) => starts.filter((_, i) => i % Math.ceil(starts.length / NODE_SAMPLES) === 0);
    expect(check(process.execPath, pick)).toBeGreaterThan(10_000);
  });
});
