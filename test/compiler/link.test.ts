import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { link, PAGE } from "../../src/compiler/link.ts";
import type { CodeUnit, DataUnit, ObjectFile } from "../../src/compiler/object.ts";
import { ZpolineError } from "../../src/errors.ts";
import { abs64, code, data, hex, rel32 } from "./units.ts";

const zeros = (size: number) => new Uint8Array(size);
const object = (codeUnits: CodeUnit[], dataUnits: DataUnit[] = []): ObjectFile => ({
  code: codeUnits,
  data: dataUnits,
});
const room = { tables: 0x200, dynamic: 0 };
const view = (bytes: Uint8Array) => new DataView(bytes.buffer, bytes.byteOffset);

function failure(run: () => unknown): ZpolineError {
  try {
    run();
  } catch (error) {
    if (error instanceof ZpolineError) return error;
    throw error;
  }
  throw new Error("nothing was thrown");
}

describe("layout", () => {
  test("regions are separate pages, ascending, and units keep their order and alignment", () => {
    const image = link([
      object(
        [code("a", hex("c3")), code("b", hex("c3"), { align: 64 })],
        [data("constant", hex("01")), data("variable", hex("02"), { writable: true })],
      ),
      object([code("c", hex("c3"))], [data("zero", zeros(0), { size: 100, align: 32, writable: true })]),
    ]);
    const { rodata, text, data: initialised, bss } = image.regions;
    const address = (name: string) => image.symbols.get(name)!.address;
    expect(rodata).toMatchObject({ address: 0, size: 1 });
    expect(text).toMatchObject({ address: PAGE, size: 64 + 16 + 1, align: 64 });
    expect(["a", "b", "c"].map(address)).toEqual([PAGE, PAGE + 64, PAGE + 80]);
    expect(initialised).toMatchObject({ address: 2 * PAGE, size: 1 });
    expect(bss).toMatchObject({ address: 2 * PAGE + 32, size: 100, align: 32, bytes: zeros(0) });
    expect(image.end).toBe(2 * PAGE + 132);
  });

  test("gaps between functions trap", () => {
    const { text } = link([object([code("a", hex("c3")), code("b", hex("90"))])]).regions;
    expect(text.bytes).toEqual(hex(`c3 ${"cc".repeat(15)} 90`));
  });

  test("the container's room comes before rodata and before relro", () => {
    const constants = [data("plain", hex("01")), data("table", zeros(8), { relocs: [abs64(0, "plain")] })];
    const image = link([object([code("f", hex("c3"))], constants)], { room: { tables: 0x500, dynamic: 0x80 } });
    expect(image.regions.rodata.address).toBe(0x500);
    expect(image.dynamicAddress).toBe(2 * PAGE);
    expect(image.regions.relro).toMatchObject({ address: 2 * PAGE + 0x80, size: 8 });
    expect(image.regions.data.address).toBe(3 * PAGE);
  });

  test("the image's bounds are symbols", () => {
    const start = code("f", zeros(16), {
      relocs: ["__image_start", "__text_start", "__text_end", "__image_end"].map((name, i) => rel32(i * 4, name)),
    });
    const image = link([object([start], [data("v", zeros(0), { size: 24, writable: true })])], { base: 0x10000, room });
    const field = (i: number) => view(image.regions.text.bytes).getInt32(i * 4, true) + 0x11000 + i * 4 + 4;
    expect([0, 1, 2, 3].map(field)).toEqual([0x10000, 0x11000, 0x11010, 0x12018]);
  });

  test("writable data of zero bytes takes no room in the file", () => {
    const image = link([object([], [data("z", zeros(64), { writable: true })])]);
    expect(image.regions.data.size).toBe(0);
    expect(image.regions.bss.size).toBe(64);
  });
});

describe("relocation", () => {
  test("rel32 counts from the end of its field", () => {
    const caller = code("caller", hex("e8 00000000 c3"), { relocs: [rel32(1, "callee")] });
    const { text } = link([object([caller, code("callee", hex("c3"))])]).regions;
    expect(view(text.bytes).getInt32(1, true)).toBe(16 - 5);
  });

  test("rel32 and abs64 add their addend, and reach marks", () => {
    const unit = code("f", zeros(16), { marks: { "f.mid": 8 }, relocs: [rel32(0, "f.mid", -3)] });
    const pointer = data("p", zeros(8), { writable: true, relocs: [abs64(0, "f.mid", 5)] });
    const image = link([object([unit], [pointer])], { room });
    expect(view(image.regions.text.bytes).getInt32(0, true)).toBe(8 - 3 - 4);
    expect(view(image.regions.data.bytes).getBigUint64(0, true)).toBe(BigInt(PAGE + 8 + 5));
    expect(image.relative).toEqual([{ at: 2 * PAGE, target: PAGE + 13 }]);
  });

  test("a fixed base needs no fixups, and lets code and constants hold addresses", () => {
    const unit = code("f", zeros(16), { relocs: [abs64(2, "c")] });
    const constant = data("c", zeros(8), { relocs: [abs64(0, "f")] });
    const image = link([object([unit], [constant])], { base: 0x400000 });
    expect(image.relative).toEqual([]);
    expect(image.regions.relro.size).toBe(0);
    expect(view(image.regions.text.bytes).getBigUint64(2, true)).toBe(0x400000n);
    expect(view(image.regions.rodata.bytes).getBigUint64(0, true)).toBe(0x401000n);
  });

  test("every rel32 reads back as the address of its target", () => {
    const sizes = fc.array(
      fc.record({ size: fc.integer({ min: 4, max: 300 }), align: fc.constantFrom(1, 4, 16, 256) }),
      {
        minLength: 1,
        maxLength: 20,
      },
    );
    fc.assert(
      fc.property(sizes, fc.integer({ min: 0, max: 1000 }), (list, seed) => {
        const units = list.map(({ size, align }, i) =>
          code(`f${i}`, zeros(size), { align, relocs: [rel32(size - 4, `f${(i * 7 + seed) % list.length}`)] }),
        );
        const image = link([object(units)]);
        for (const [i, { unit, address }] of image.code.entries()) {
          const at = address + unit.bytes.length - 4;
          const field = view(image.regions.text.bytes).getInt32(at - image.regions.text.address, true);
          expect(at + 4 + field).toBe(image.symbols.get(`f${(i * 7 + seed) % list.length}`)!.address);
          expect(address % unit.align!).toBe(0);
        }
      }),
    );
  });
});

describe("errors name the culprit", () => {
  const call = (target: string) => ({ relocs: [rel32(1, target)] });

  test("undefined symbols, all at once, with their users", () => {
    const error = failure(() =>
      link([
        object([code("a", hex("e8 00000000"), call("x")), code("b", hex("e8 00000000"), call("x"))]),
        object([code("c", hex("e8 00000000"), call("y"))]),
      ]),
    );
    expect(error.code).toBe("LINK_UNDEFINED");
    expect(error.message).toBe('undefined symbols "x" (used by a, b), "y" (used by c)');
  });

  test("a symbol defined twice", () => {
    const units = [code("a", hex("c3"), { marks: { m: 0 } }), code("b", hex("c3"), { marks: { m: 0 } })];
    expect(failure(() => link([object(units)])).message).toBe('symbol "m" is defined by unit "a" and by unit "b"');
    expect(failure(() => link([object([code("__text_end", hex("c3"))])])).code).toBe("LINK_DUPLICATE");
  });

  test("a rel32 that does not reach", () => {
    const far = data("far", zeros(0), { size: 2 ** 32, writable: true });
    const unit = code("f", zeros(8), { relocs: [rel32(0, "far", 2 ** 31)] });
    const error = failure(() => link([object([unit], [far])]));
    expect(error.code).toBe("LINK_RANGE");
    expect(error.message).toContain('"far" is out of reach of the rel32 at "f"+0');
  });

  test("an absolute address in position independent code", () => {
    const unit = code("f", zeros(8), { relocs: [abs64(0, "f")] });
    expect(failure(() => link([object([unit])])).code).toBe("LINK_TEXT_ADDRESS");
  });

  test("a base that is not page aligned", () => {
    expect(failure(() => link([], { base: 0x400010 })).code).toBe("LINK_BASE");
  });

  test.each([
    ["alignment", code("f", hex("c3"), { align: 3 })],
    ["alignment", code("f", hex("c3"), { align: 8192 })],
    ["mark", code("f", hex("c3"), { marks: { m: 2 } })],
    ["relocation", code("f", hex("c3"), { relocs: [rel32(0, "f")] })],
    ["line row", code("f", hex("90 c3"), { lines: [1, 0].map((at) => ({ at, file: "a.ts", line: 1, column: 1 })) })],
    ["unwind row", code("f", hex("c3"), { unwind: [{ at: 2, cfa: { reg: 7, offset: 8 }, saved: [] }] })],
    ["size", data("f", hex("c3"), { size: 0 })],
  ])("an impossible %s", (what, unit) => {
    const error = failure(() => link(["size" in unit ? object([], [unit]) : object([unit])]));
    expect(error.code).toBe("LINK_UNIT");
    expect(error.message).toContain('unit "f"');
    expect(error.message).toContain(what);
  });
});
