/** Shrink wrapping: which ways through a function have a frame. */
import { beforeAll, describe, expect, test } from "vitest";
import type { CompiledGuest } from "../../src/compiler/compile.ts";
import type { CodeUnit } from "../../src/compiler/object.ts";
import { callAll, compileText, i64 } from "./guest-fixture.ts";

const SOURCE = `
let calls: u64 = 0;
/** Too large to be inlined. */
function slow(a: u64, b: u64): u64 {
  calls += a ^ b;
  for (let i: u64 = 0; i < b; i++) {
    calls = calls * 3 + (calls >> (i & 31));
    if (calls & 1) calls ^= a << 3;
    else calls += b * 7 + (a >> 2);
    if (calls & 2) calls ^= b << 5;
    else calls += a * 11 + (b >> 1);
  }
  for (let i: u64 = 0; i < 3; i++) calls = (calls << 7) ^ (calls >> 9) ^ i;
  return calls;
}
/** No call unless b is odd; what is known before the call is needed after it. */
export function sometimes(a: u64, b: u64): u64 {
  if (!(b & 1)) return a + b;
  const c = a * b;
  return slow(a, b) + slow(b & 7, a & 7) + c + a + b;
}
/** Both ways lead to the same end. */
export function joined(a: u64, b: u64): u64 {
  let verdict: u64 = 1;
  if (a > 100) verdict = slow(a, 3) + slow(b, 2);
  return b & 2 ? verdict + slow(verdict, 1) + a : verdict;
}
/** Every way makes the call. */
export function always(a: u64, b: u64): u64 {
  const c = a > b ? a : b + 1;
  return slow(c, 2) + slow(a, b & 3) + c;
}
`;

/** Offset of the first push of a register, or -1. */
const firstPush = ({ unwind }: CodeUnit): number =>
  Math.min(...unwind!.filter((row) => row.saved.length > 0).map((row) => row.at));

describe("shrink wrapping", () => {
  let guest: CompiledGuest;
  beforeAll(async () => {
    guest = await compileText({ "main.ts": SOURCE });
  });
  const unit = (name: string): CodeUnit => guest.object.code.find((code) => code.name === name)!;

  test("a function that may return without a call saves registers only on the other way", () => {
    for (const name of ["sometimes", "joined"]) {
      expect(firstPush(unit(name))).toBeGreaterThan(4);
      const ret = unit(name).bytes.indexOf(0xc3);
      const row = unit(name)
        .unwind!.filter(({ at }) => at <= ret)
        .at(-1)!;
      expect(row.saved).toEqual([]);
    }
  });

  test("where every way makes a call registers are saved at once", () => {
    expect(firstPush(unit("always"))).toBeLessThanOrEqual(2);
  });

  test("the results are right on every way, and no register is lost", () => {
    let calls = 0n;
    const wrap = (value: bigint): bigint => BigInt.asUintN(64, value);
    const slow = (a: bigint, b: bigint): bigint => {
      calls = wrap(calls + (a ^ b));
      for (let i = 0n; i < b; i++) {
        calls = wrap(calls * 3n + (calls >> (i & 31n)));
        calls = wrap((calls & 1n) === 1n ? calls ^ (a << 3n) : calls + b * 7n + (a >> 2n));
        calls = wrap((calls & 2n) === 2n ? calls ^ (b << 5n) : calls + a * 11n + (b >> 1n));
      }
      for (let i = 0n; i < 3n; i++) calls = wrap(calls << 7n) ^ (calls >> 9n) ^ i;
      return calls;
    };
    const sometimes = (a: bigint, b: bigint): bigint =>
      (b & 1n) === 0n ? a + b : slow(a, b) + slow(b & 7n, a & 7n) + a * b + a + b;
    const joined = (a: bigint, b: bigint): bigint => {
      const verdict = wrap(a > 100n ? slow(a, 3n) + slow(b, 2n) : 1n);
      return (b & 2n) === 0n ? verdict : verdict + slow(verdict, 1n) + a;
    };
    const always = (a: bigint, b: bigint): bigint => {
      const c = a > b ? a : b + 1n;
      return slow(c, 2n) + slow(a, b & 3n) + c;
    };
    const functions = { sometimes, joined, always };
    const inputs = [1n, 2n, 3n, 7n, 100n, 101n, 1000n].flatMap((a) => [4n, 5n, 6n, 7n].map((b) => [a, b] as const));
    const list = (Object.keys(functions) as (keyof typeof functions)[]).flatMap((name) =>
      inputs.map(([a, b]) => ({ name, a, b })),
    );
    const results = callAll(
      [guest.object],
      list.map(({ name, a, b }) => [name, i64(a), i64(b)] as const),
      64,
    );
    expect(results.map((result) => result.value)).toEqual(list.map(({ name, a, b }) => wrap(functions[name](a, b))));
  });
});
