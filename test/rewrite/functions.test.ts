import fc from "fast-check";
import { beforeAll, describe, expect, test } from "vitest";
import { codeRanges, functionStarts, type MappedElf, mapElf, PT_GNU_EH_FRAME } from "../helpers/mapped-elf.ts";
import { SiteFinder } from "./finder.ts";

const LIBC = "/lib/x86_64-linux-gnu/libc.so.6";
const LOADER = "/lib64/ld-linux-x86-64.so.2";
const PHDR_SIZE = 56;

let finder: SiteFinder;

beforeAll(async () => {
  finder = await SiteFinder.load();
});

/** The image without its PT_GNU_EH_FRAME header. */
function withoutIndex(elf: MappedElf): MappedElf {
  const bytes = elf.bytes.slice();
  const index = elf.segments.findIndex((segment) => segment.type === PT_GNU_EH_FRAME);
  new DataView(bytes.buffer).setUint32(elf.headersAt + PHDR_SIZE * index, 0, true);
  return { ...elf, bytes };
}

describe("boundaries", () => {
  test.each([
    ["with .eh_frame_hdr", (elf: MappedElf) => elf],
    ["with .eh_frame alone", withoutIndex],
  ])("%s", (_, prepare) => {
    const elf = mapElf(LIBC);
    const [text] = codeRanges(elf);
    const starts = functionStarts(elf);
    const bias = finder.open(prepare(elf));
    const failures: string[] = [];
    // Each function's first byte is covered by itself and followed by the next one.
    for (let i = 0; i + 1 < starts.length; i++) {
      const extent = finder.functionAt(starts[i]!, text!, bias);
      const right = extent.start === starts[i] && extent.next === starts[i + 1] && extent.end <= extent.next;
      if (!right) failures.push(`${starts[i]!.toString(16)}: ${JSON.stringify(extent)}`);
    }
    expect(failures).toEqual([]);
  });

  test("nothing is known before the first function", () => {
    const elf = mapElf(LIBC);
    const [text] = codeRanges(elf);
    const bias = finder.open(elf);
    const first = functionStarts(elf)[0]!;
    expect(finder.functionAt(first - 1, { start: first - 1, end: text!.end }, bias)).toMatchObject({
      start: 0,
      next: first,
    });
  });

  test("dynamic symbols, in an image without unwind tables", () => {
    const elf = mapElf("/lib/ld-musl-x86_64.so.1");
    const [text] = codeRanges(elf);
    const bias = finder.open(elf);
    const extent = finder.functionAt(text!.end - 0x10000, text!, bias);
    expect(extent.start).toBeGreaterThan(text!.end - 0x20000);
    expect(extent.end).toBe(extent.start);
    expect(extent.next).toBeGreaterThan(text!.end - 0x10000);
  });
});

test("sorted symbols tell the same as the table", () => {
  const elf = mapElf("/lib/ld-musl-x86_64.so.1");
  const [text] = codeRanges(elf);
  const bias = finder.open(elf);
  const places = Array.from({ length: 500 }, (_, i) => text!.start + Math.floor(((text!.end - text!.start) * i) / 500));
  const look = () => places.map((address) => finder.functionAt(address, text!, bias));
  const before = look();
  finder.sortStarts();
  expect(look()).toEqual(before);
  expect(new Set(before.map(({ start }) => start)).size).toBeGreaterThan(200);
});

test.each([
  ["with .eh_frame_hdr", (elf: MappedElf) => elf],
  ["with .eh_frame alone", withoutIndex],
])("a damaged image %s is searched without reading outside of it", (_, prepare) => {
  const elf = prepare(mapElf(LOADER));
  const load = elf.segments.filter((segment) => segment.type === 1);
  const index = elf.segments.find((segment) => segment.type === PT_GNU_EH_FRAME)!;
  const dynamic = elf.segments.find((segment) => segment.type === 2)!;
  // What the search believes at first: headers, the dynamic section, the index, and everything that is not code.
  const places = fc.oneof(
    fc.integer({ min: elf.headersAt, max: elf.headersAt + PHDR_SIZE * elf.headerCount - 1 }),
    fc.integer({ min: dynamic.address, max: dynamic.address + dynamic.size - 1 }),
    fc.integer({ min: index.address, max: index.address + 20 }),
    fc.integer({ min: index.address, max: index.address + index.size - 1 }),
    fc.integer({ min: load[2]!.address, max: load[2]!.address + load[2]!.fileSize - 1 }),
  );
  const bytes = fc.oneof(fc.constantFrom(0, 1, 0x7f, 0x80, 0xff), fc.integer({ min: 0, max: 255 }));
  const damage = fc.array(fc.tuple(places, bytes), { minLength: 1, maxLength: 30 });
  const place = finder.placeAtEnd(elf);
  fc.assert(
    fc.property(damage, (changes) => {
      const damaged = elf.bytes.slice();
      for (const [at, value] of changes) damaged[at - elf.low] = value;
      // The image is the last thing in memory: a read behind it traps.
      const finds = place(damaged);
      expect(finds.length).toBeGreaterThan(0);
    }),
    { numRuns: 300 },
  );
});
