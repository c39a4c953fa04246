import { expect, test } from "vitest";
import { Clock } from "../../src/session/clock.ts";

const EPOCH = 1_700_000_000_000_000_000n;

function word(value: bigint): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(value);
  return bytes;
}

test("differences of counters and times above 2^53 are exact", () => {
  const clock = new Clock(EPOCH, 1);
  expect(clock.ticks(word(0xfffffffffffff000n), 0)).toBe(0);
  expect(clock.ticks(word(0xfffffffffffff007n), 0)).toBe(7);
  expect(clock.ticks(word(0xffffff00fffff007n), 0)).toBe(7 - 0xff * 2 ** 32);
  expect(clock.realTime(word(EPOCH + 123_456_789_012_345n), 0)).toBe(123_456_789_012_345);
  expect(clock.realTime(word(EPOCH - 1n), 0)).toBe(-1);
});

test("one pair fixes the time, two at a distance the frequency", () => {
  const clock = new Clock(EPOCH, 0.5);
  clock.pair(1000, 5_000_000);
  expect(clock.time(1000)).toBe(5_000_000);
  expect(clock.time(3000)).toBe(5_001_000);
  clock.pair(1000 + 8_000_000, 5_000_000 + 2_000_000);
  expect(clock.time(1000 + 4_000_000)).toBe(6_000_000);
});

test("pairs that are too near or make no sense leave the frequency as it is", () => {
  const clock = new Clock(EPOCH, 0.5);
  clock.pair(0, 0);
  clock.pair(100, 999_999);
  clock.pair(100, 1e15);
  clock.pair(1e15, 2e6);
  clock.pair(-5e6, 2e6);
  clock.pair(Number.NaN, 2e6);
  clock.pair(0, 2e6);
  expect(clock.time(1000)).toBe(500);
});

test("what the kernel measured is near what two pairs give", () => {
  const nominal = new Clock(EPOCH);
  const slope = nominal.time(1e9) / 1e9;
  expect(slope).toBeGreaterThan(1 / 10);
  expect(slope).toBeLessThan(1);
});
