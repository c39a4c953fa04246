import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { CallEvent, type Payload } from "../../src/events.ts";
import * as L from "../../src/image/layout.ts";
import { callLine, StraceText } from "../../src/present/strace.ts";
import { captureRows } from "../../src/syscalls/capture.ts";
import { NUMBERS } from "../../src/syscalls/numbers.ts";

const ROWS = new DataView(captureRows().buffer);
const LIMITS = { string: 32, data: 128 };

/** A payload of `size` bytes in a buffer that ends with it, so that nothing can be read behind it unnoticed. */
function payload(nr: number, part: number, arg: number, bytes: Uint8Array, full: number): Payload[] {
  const kind = ROWS.getUint16(nr * L.RING_ROW_SIZE + part + 2 * arg, true) & 15;
  if (kind === L.CAPTURE_NONE) return [];
  return [{ arg, kind, full, memory: Buffer.from(bytes), at: 0, size: bytes.length }];
}

/** Small numbers are commands, flags and lengths that exist. */
const word = fc.oneof(fc.bigInt(0n, 64n), fc.bigInt(0n, 0xffffn), fc.bigInt(0n, (1n << 64n) - 1n));
const data = fc.oneof(
  fc.uint8Array({ maxLength: 24 }),
  fc.uint8Array({ maxLength: 300 }),
  fc.array(word, { maxLength: 20 }).map((words) => {
    const bytes = Buffer.alloc(8 * words.length);
    words.forEach((value, i) => {
      bytes.writeBigUInt64LE(value, 8 * i);
    });
    return new Uint8Array(bytes);
  }),
);
const call = fc.record({
  nr: fc.oneof(fc.integer({ min: 0, max: 475 }), fc.constantFrom(0xffffffff, 512, 16, 72, 157, 46, 47, 202)),
  args: fc.array(word, { minLength: 6, maxLength: 6 }),
  payloads: fc.array(fc.tuple(fc.integer({ min: 0, max: 5 }), fc.boolean(), data, fc.nat({ max: 40 })), {
    maxLength: 6,
  }),
  result: fc.oneof(fc.integer({ min: -600, max: 600 }), fc.constantFrom(0, 1, undefined)),
});

function eventOf({ nr, args, payloads, result }: typeof call extends fc.Arbitrary<infer T> ? T : never): CallEvent {
  const words = Buffer.alloc(48);
  args.forEach((value, i) => {
    words.writeBigUInt64LE(value, 8 * i);
  });
  const of = (exit: boolean, part: number) =>
    payloads.flatMap(([arg, atExit, bytes, full]) => {
      return atExit === exit && nr < L.RING_ROWS ? payload(nr, part, arg, bytes, full) : [];
    });
  const event = new CallEvent(1, 1, nr, 0, 0, words, 0, of(false, L.ROW_ENTER));
  if (result === undefined) return event;
  event.exit = of(true, L.ROW_EXIT);
  event.result = result;
  event.end = 1;
  return event;
}

describe("whatever a program passes and however little of it was copied", () => {
  it("a call is one line", () => {
    fc.assert(
      fc.property(call, (fields) => {
        const line = callLine(eventOf(fields), LIMITS);
        expect(line).toMatch(/^\w+\([^\n]*\) += /);
        expect(line).not.toMatch(/undefined|NaN|\[object/);
      }),
      { numRuns: 20_000 },
    );
  });

  it("its two parts make up the whole", () => {
    fc.assert(
      fc.property(call, (fields) => {
        const event = eventOf(fields);
        fc.pre(event.end !== undefined && event.nr !== NUMBERS.exit && event.nr !== NUMBERS.exit_group);
        const texts: string[] = [];
        const text = new StraceText({ write: (part) => texts.push(part), dataLimit: LIMITS.data });
        text.enter(event);
        text.flush();
        text.exit(event);
        expect(texts.length).toBe(2);
        // What the kernel fills is only a pointer before the call, so that only the end must be the same.
        const whole = `${callLine(event, LIMITS)}\n`;
        expect(texts.join("").replace(/ +=/, " =").slice(-10)).toBe(whole.replace(/ +=/, " =").slice(-10));
      }),
      { numRuns: 3_000 },
    );
  });
});
