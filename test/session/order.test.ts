import fc from "fast-check";
import { expect, test } from "vitest";
import type { RawRecord } from "../../src/session/chunks.ts";
import { Order } from "../../src/session/order.ts";

const memory = Buffer.alloc(0);
const record = (ticks: number): RawRecord => ({ pid: 1, tid: 1, ticks, memory, at: 0 });
const ticksOf = (records: readonly RawRecord[]): number[] => records.map(({ ticks }) => ticks);

test("what is newer than all that was known waits for one pass", () => {
  const order = new Order();
  order.incoming.push(record(10), record(30));
  order.endPass();
  expect(order.backlog).toBe(0);
  order.incoming.push(record(20), record(40));
  order.endPass();
  expect(ticksOf(order.take(10))).toEqual([10, 20, 30]);
  order.endAll();
  expect(ticksOf(order.take(10))).toEqual([40]);
});

test("every record comes out once, however few are taken at a time", () => {
  fc.assert(
    fc.property(fc.array(fc.array(fc.nat(99), { maxLength: 20 })), fc.integer({ min: 1, max: 7 }), (passes, most) => {
      const order = new Order();
      const out: number[] = [];
      const expected: number[] = [];
      passes.forEach((offsets, pass) => {
        const ticks = offsets.map((offset) => 50 * pass + offset);
        order.incoming.push(...ticks.map(record));
        expected.push(...ticks);
        order.endPass();
        out.push(...ticksOf(order.take(most)));
      });
      order.endAll();
      while (order.backlog > 0) out.push(...ticksOf(order.take(most)));
      expect(out.toSorted((a, b) => a - b)).toEqual(expected.toSorted((a, b) => a - b));
    }),
  );
});
