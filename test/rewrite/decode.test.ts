import fc from "fast-check";
import { beforeAll, describe, expect, test } from "vitest";
import { vectorOpcodes } from "../helpers/iced.ts";
import { GuestDecoder, INT_80, PREFIX_66, PREFIX_F2, PREFIX_F3, PREFIX_LOCK } from "./decoder.ts";

let decoder: GuestDecoder;

beforeAll(async () => {
  decoder = await GuestDecoder.load();
});

const hex = (bytes: readonly number[]) => Buffer.from(bytes).toString("hex");
const ALL_MODRM = Array.from({ length: 256 }, (_, i) => i);
const MAP_BYTES = [[], [0x0f], [0x0f, 0x38], [0x0f, 0x3a]];
const IMPLIED_BYTES = [[], [0x66], [0xf3], [0xf2]];
const IS_ESCAPE = (map: number, op: number) =>
  map === 0 ? [0x0f, 0x62, 0xc4, 0xc5].includes(op) : map === 1 && (op === 0x38 || op === 0x3a);
const IS_PREFIX = (op: number) =>
  op >> 4 === 4 || [0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x66, 0x67, 0xf0, 0xf2, 0xf3].includes(op);

const INSTRUCTION_BYTES = fc.uint8Array({ minLength: 15, maxLength: 15 });

/**
 * Why a form that the oracle refuses may be accepted, as documented in guest/rewrite/decode.ts; undefined when it may
 * not. `legacy` and `vector` are the opcodes that exist.
 */
function accepted(legacy: Set<string>, vector: Set<string>): string | undefined {
  const { map, opcode, prefixes } = decoder.fields();
  const implied = prefixes & PREFIX_F3 ? 2 : prefixes & PREFIX_F2 ? 3 : prefixes & PREFIX_66;
  if (map >= 0x60) return "XOP: the map alone decides, the opcode is not looked up";
  if (map >= 0x20) {
    const encoding = map < 0x40 ? "vex" : "evex";
    for (const pp of [0, 1, 2, 3]) {
      if (vector.has(`${encoding} ${map & 31} ${opcode} ${pp}`)) return "a bit of VEX or EVEX, or ModRM, is reserved";
    }
    return undefined;
  }
  if (map === 1 && opcode === 0x0f) return "3DNow!: the suffix is not looked up";
  if (!legacy.has(`${map} ${opcode} ${map ? implied : 0}`)) return undefined;
  return prefixes & PREFIX_LOCK ? "LOCK is not allowed" : "the form (ModRM) does not exist";
}

describe("random bytes", () => {
  /** Both decoders on the same bytes, wherever the oracle knows an instruction; else the reason must be known. */
  function agree(encodings: number[][], legacy: Set<string>, vector: Set<string>): string[] {
    const failures: string[] = [];
    decoder.decodeAll(encodings, (i, actual, oracle, expected) => {
      const encoding = hex(encodings[i]!);
      if (expected && actual !== expected) failures.push(`${encoding} ${oracle.text()}: length ${actual}`);
      else if (expected)
        for (const d of decoder.differences(oracle)) failures.push(`${encoding} ${oracle.text()}: ${d}`);
      else if (actual && !accepted(legacy, vector)) failures.push(`${encoding}: accepted`);
    });
    return failures;
  }

  test("agree in validity, length and traits", () => {
    const legacy = legacyOpcodes();
    const vector = vectorOpcodes();
    fc.assert(
      fc.property(fc.array(INSTRUCTION_BYTES, { minLength: 200, maxLength: 200 }), (encodings) => {
        expect(
          agree(
            encodings.map((bytes) => [...bytes]),
            legacy,
            vector,
          ),
        ).toEqual([]);
      }),
      { numRuns: 100 },
    );
  });

  test("agree on VEX, EVEX and XOP", () => {
    const legacy = legacyOpcodes();
    const vector = vectorOpcodes();
    const bits = fc.integer({ min: 0, max: 255 });
    const tail = fc.uint8Array({ minLength: 10, maxLength: 10 });
    const encoding = fc.oneof(
      fc.tuple(bits, tail).map(([a, rest]) => [0xc5, a, ...rest]),
      fc
        .tuple(bits, fc.integer({ min: 0, max: 11 }), bits, tail)
        .map(([a, m, b, rest]) => [0xc4, (a & 0xe0) | m, b, ...rest]),
      fc
        .tuple(bits, fc.integer({ min: 0, max: 11 }), bits, tail)
        .map(([a, m, b, rest]) => [0x8f, (a & 0xe0) | m, b, ...rest]),
      fc
        .tuple(bits, fc.integer({ min: 0, max: 7 }), bits, bits, tail)
        .map(([a, m, b, c, rest]) => [0x62, (a & 0xf0) | m, b | 4, (c & 0x60) | 8, ...rest]),
    );
    fc.assert(
      fc.property(fc.array(encoding, { minLength: 500, maxLength: 500 }), (encodings) => {
        expect(agree(encodings, legacy, vector)).toEqual([]);
      }),
      { numRuns: 100 },
    );
  });
});

test("AMX, whose tile registers must differ from each other, decodes", () => {
  const encodings = [
    [0xc4, 0xa2, 0x48, 0x5e, 0xc1], // tdpbuud
    [0xc4, 0xe2, 0x72, 0x5c, 0xc2], // tdpbf16ps
    [0xc4, 0xe2, 0x71, 0x6c, 0xc2], // tcmmimfp16ps
    [0xc4, 0xe2, 0x78, 0x49, 0xc0], // tilerelease
  ].map((bytes) => [...bytes, ...new Array(10).fill(0x90)]);
  const lengths: number[][] = [];
  decoder.decodeAll(encodings, (_i, actual, _oracle, expected) => lengths.push([actual, expected]));
  expect(lengths).toEqual(encodings.map(() => [5, 5]));
});

/** The legacy opcodes of which some form exists: map, opcode, mandatory prefix. */
function legacyOpcodes(): Set<string> {
  const result = new Set<string>();
  for (const [map, head] of MAP_BYTES.entries()) {
    for (const [implied, prefix] of IMPLIED_BYTES.entries()) {
      for (let op = 0; op < 256; op++) {
        const encodings = ALL_MODRM.map((modrm) => [...prefix, ...head, op, modrm]);
        decoder.decodeAll(encodings, (_, _actual, _oracle, expected) => {
          if (expected) result.add(`${map} ${op} ${map ? implied : 0}`);
        });
      }
    }
  }
  return result;
}

test("int 0x80 is told from other interrupts", () => {
  const at = decoder.place(Uint8Array.of(0xcd, 0x80, 0xcd, 0x81));
  expect(decoder.decode(at, at + 2)).toBe(2);
  expect(decoder.fields().flags).toBe(INT_80);
  expect(decoder.decode(at + 2, at + 4)).toBe(2);
  expect(decoder.fields().flags).toBe(0);
});

test("nothing is read at or after the end", () => {
  // The last bytes of memory: a read behind them traps.
  const size = decoder.guest.bytes().length;
  fc.assert(
    fc.property(INSTRUCTION_BYTES, (bytes) => {
      decoder.guest.bytes().set(bytes, size - 15);
      const length = decoder.decode(size - 15, size);
      for (let cut = 0; cut < 15; cut++) {
        const start = size - cut;
        decoder.guest.bytes().set(bytes.subarray(0, cut), start);
        expect(decoder.decode(start, size)).toBe(length && length <= cut ? length : 0);
      }
    }),
    { numRuns: 2000 },
  );
});

describe("every legacy opcode", () => {
  const VARIANTS = [[], [0x48], [0x67, 0x41]];

  test.each(MAP_BYTES.map((_, map) => map))("map %i, with every mandatory prefix and every ModRM", (map) => {
    const failures: string[] = [];
    for (let op = 0; op < 256; op++) {
      if (IS_ESCAPE(map, op) || (map === 0 && IS_PREFIX(op))) continue;
      for (const implied of IMPLIED_BYTES) {
        const encodings = VARIANTS.flatMap((variant) =>
          ALL_MODRM.map((modrm) => [...implied, ...variant, ...MAP_BYTES[map]!, op, modrm, 0x25]),
        );
        let exists = false;
        const accepted: string[] = [];
        decoder.decodeAll(encodings, (i, actual, oracle, expected) => {
          const encoding = hex(encodings[i]!);
          if (!expected) {
            if (actual) accepted.push(encoding);
            return;
          }
          exists = true;
          if (actual !== expected)
            failures.push(`${encoding} ${oracle.text()}: length ${actual}, expected ${expected}`);
          else for (const d of decoder.differences(oracle)) failures.push(`${encoding} ${oracle.text()}: ${d}`);
        });
        // A form that does not exist may be accepted, an opcode that does not exist may not.
        if (!exists && !(map === 1 && op === 0x0f))
          failures.push(...accepted.map((encoding) => `${encoding}: accepted`));
      }
    }
    expect(failures.slice(0, 20)).toEqual([]);
  });
});
