import { beforeAll, describe, expect, test } from "vitest";
import type { CompiledGuest } from "../../src/compiler/compile.ts";
import type { ObjectFile } from "../../src/compiler/object.ts";
import { Assembler, mem, rax, rdi, rdx, rsi, rsp } from "../../src/compiler/x64.ts";
import { callAll, compileText, i32, i64 } from "./guest-fixture.ts";
import { runNative, type Step } from "./native.ts";
import { data } from "./units.ts";

const LANGUAGE = `
import { syscall6, rdtsc, pause } from "./std/raw";
import { gsLoad64, gsStore64, gsXadd64, gsXchg64, wrgsbase, rdfsbase, call1, call3 } from "./std/raw";
// @ts-ignore: decorator
@external("zpoline", "fence") declare function fence(): void;
import { cstr } from "./std/cstr";
import { LIMIT, twice } from "./lib/more";

// @ts-ignore: decorator
@external("symbol", "template") declare function template(): u64;
// @ts-ignore: decorator
@external("symbol", "square") declare function squareAddress(): u64;
// @ts-ignore: decorator
@external("zpoline", "call7") declare function call7(f: u64, a: u64, b: u64, c: u64, d: u64, e: u64, g: u64, h: u64): u64;

@unmanaged class Point { x: u32; y: u16; z: u8; w: i64; }
const TABLE: StaticArray<u16> = [3, 1, 4, 1, 5, 9, 2, 6];
const NAMES: StaticArray<usize> = [changetype<usize>(TABLE), 7];
let counter: u64 = 41;
let small: i32 = -2;
let place: usize = memory.data(64);

export function square(x: u64): u64 { return x * x; }
export function constant(): u64 { return LIMIT + twice(4); }
export function fields(p: Point): i64 { p.y += 1; p.z = <u8>(p.x >> 24); return p.w + p.y; }
export function lookUp(i: u32): u32 { return unchecked(TABLE[i]); }
export function throughPointer(i: u32): u32 { return load<u16>(unchecked(NAMES[0]) + (<usize>i << 1)); }
export function second(): u64 { return unchecked(NAMES[1]); }
export function count(): u64 { return ++counter; }
export function getSmall(): i32 { return small--; }
const line: usize = memory.data(100, 64);
export function lineOffset(): usize { store<u8>(line + 99, 1); return line & 63; }
export function writeData(v: u64): u64 { store<u64>(place, v, 8); return load<u64>(place + 8); }
export function getpid(): i64 { return syscall6(39, 0, 0, 0, 0, 0, 0); }
export function ticks(): u64 { const a = rdtsc(); pause(); return rdtsc() - a; }
export function text(i: u32): u32 { return load<u8>(cstr("aé€😀") + i); }
export function sameText(): bool { return cstr("one") == cstr("one") && cstr("one") != cstr("two"); }
export function arch(base: u64): u64 {
  wrgsbase(base);
  gsStore64(8, 5);
  const old = gsXadd64(8, 10);
  const then = gsXchg64(8, 100);
  return old * 1000000 + then * 1000 + gsLoad64(8) + rdfsbase();
}
export function throughTemplate(x: u64): u64 { return call1(template(), x); }
export function throughOwn(x: u64): u64 { return call1(squareAddress(), x) + call3(template(), x, 0, 0); }
export function seven(): u64 { return call7(template(), 1, 2, 3, 4, 5, 6, 7); }
export function normalised(a: u32, b: i32, c: u64, d: u64, e: u64, f: u64, g: u32, h: i64): i64 {
  return <i64>a + <i64>b + <i64>c + <i64>d + <i64>e + <i64>f + <i64>g + h;
}
export function choose(i: u32): u32 {
  switch (i) {
    case 0: return 10;
    case 1: return 21;
    case 2: return 32;
    case 3: return 43;
    case 4: return 54;
    case 5: return 65;
    case 6: return 76;
    default: return 1;
  }
}
function add(a: u32, b: u32): u32 { return a + b; }
function sub(a: u32, b: u32): u32 { return a - b; }
export function indirect(which: u32, a: u32, b: u32): u32 {
  const f: (a: u32, b: u32) => u32 = which ? add : sub;
  return f(a, b);
}
export function divide(a: i32, b: i32): i32 { return a / b; }
export function remainder(a: i32, b: i32): i32 { return a % b; }
export function bits(x: u64): u64 { return clz(x) * 10000 + ctz(x) * 100 + popcnt(x); }
export function atomics(p: usize): u64 {
  store<u32>(p, 5); store<u64>(p, 7, 8);
  let r: u64 = atomic.add<u32>(p, 3);
  r = r * 10 + atomic.sub<u32>(p, 1);
  r = r * 10 + atomic.and<u32>(p, 6);
  r = r * 10 + atomic.or<u32>(p, 1);
  r = r * 10 + atomic.xor<u32>(p, 2);
  r = r * 10 + atomic.xchg<u64>(p, 9, 8);
  r = r * 10 + atomic.cmpxchg<u64>(p, 9, 4, 8);
  r = r * 10 + atomic.cmpxchg<u64>(p, 9, 5, 8);
  atomic.store<u64>(p, atomic.load<u64>(p, 8) + 1, 8);
  fence();
  return r * 10 + load<u64>(p, 8);
}
export function move(to: usize, from: usize, n: usize): void { memory.copy(to, from, n); }
export function fill(to: usize, byte: u8, n: usize): void { memory.fill(to, byte, n); }
export function moveFew(to: usize, from: usize): void { memory.copy(to, from, 15); }
export function fillFew(to: usize): void { memory.fill(to, 0xab, 23); }
`;

const MORE = `
import { INNER } from "../std/inner";
export const LIMIT: u64 = INNER + 1;
// @ts-ignore: decorator
@inline export function twice(x: u64): u64 { return x << 1; }
`;

/** template(x) = x + 1000, and for seven arguments the sum of the first and the last; it needs an aligned stack. */
function template(): ObjectFile {
  const a = new Assembler();
  const odd = a.label();
  const one = a.label();
  a.lea(64, rax, mem(rsp, 8));
  a.test(64, rax, 15);
  a.jcc("ne", odd);
  a.lea(64, rax, mem(rdi, 1000));
  a.cmp(64, rsi, 2);
  a.jcc("ne", one);
  a.cmp(64, rdx, 3);
  a.jcc("ne", one);
  a.lea(64, rax, mem(rdi));
  a.add(64, rax, mem(rsp, 8));
  a.bind(one);
  a.op("ret");
  a.bind(odd);
  a.op("ud2");
  return { code: [a.finish("template")], data: [] };
}

const BUFFER = 0x1000;
/** buffer(): its address; byteAt(i): a byte of it; setAt(i, byte). */
function buffer(): ObjectFile {
  const a = new Assembler();
  a.mark("buffer");
  a.lea(64, rax, { kind: "mem", symbol: "the_buffer", disp: 0 });
  a.op("ret");
  return {
    code: [a.finish("buffer_code")],
    data: [data("the_buffer", new Uint8Array(0), { size: BUFFER, writable: true, align: 64 })],
  };
}

describe("the language", () => {
  let guest: CompiledGuest;
  let objects: ObjectFile[];
  let address: bigint;
  beforeAll(async () => {
    guest = await compileText({
      "main.ts": LANGUAGE,
      "lib/more.ts": MORE,
      "std/inner.ts": "export const INNER: u64 = 41;\n",
    });
    objects = [guest.object, template(), buffer()];
    address = callAll(objects, [["buffer"]])[0]!.value;
  });
  const value = (name: string, ...args: Parameters<typeof callAll>[1][number][1][]): bigint =>
    callAll(objects, [[name, ...args]])[0]!.value;

  test("imports across files, constants, statics, globals", () => {
    const results = callAll(objects, [
      ["constant"],
      ["lookUp", i32(5)],
      ["throughPointer", i32(4)],
      ["second"],
      ["count"],
      ["count"],
      ["getSmall"],
      ["getSmall"],
      ["writeData", i64(77)],
      ["lineOffset"],
    ]);
    const values = results.map((result) => result.value);
    expect(values).toEqual([50n, 9n, 5n, 7n, 42n, 43n, 0xfffffffen, 0xfffffffdn, 77n, 0n]);
  });

  test("intrinsics", () => {
    expect(value("getpid")).toBeGreaterThan(1n);
    expect(value("ticks")).toBeGreaterThan(0n);
    expect(value("arch", i64(address))).toBe(5015100n);
  });

  test("cstr() gives UTF-8 bytes and a NUL, once for each text", () => {
    const expected = [...new TextEncoder().encode("aé€😀"), 0];
    const calls = expected.map((_, i) => ["text", i32(i)] as const);
    expect(callAll(objects, calls).map((result) => Number(result.value))).toEqual(expected);
    expect(value("sameText")).toBe(1n);
  });

  test("symbols of the link, and calls through addresses with an aligned stack", () => {
    for (const seed of [0, 1]) {
      const calls = Array.from({ length: seed + 1 }, () => ["throughTemplate", i64(5)] as const);
      expect(callAll(objects, calls).at(-1)).toMatchObject({ signal: 0, value: 1005n });
    }
    expect(value("throughOwn", i64(5))).toBe(1030n);
    expect(value("seven")).toBe(8n);
  });

  test("32-bit arguments may have anything in their upper halves, on the stack as well", () => {
    const args = [i32(-1), i32(-2), i64(3), i64(4), i64(5), i64(6), i32(7), i64(-8)];
    expect(BigInt.asIntN(64, value("normalised", ...args))).toBe(0xffffffffn - 2n + 3n + 4n + 5n + 6n + 7n - 8n);
  });

  test("switches, and calls through function values", () => {
    const calls = [0, 1, 2, 3, 4, 5, 6, 7, -1].map((i) => ["choose", i32(i)] as const);
    expect(callAll(objects, calls).map((result) => Number(result.value))).toEqual([10, 21, 32, 43, 54, 65, 76, 1, 1]);
    expect(value("indirect", i32(1), i32(5), i32(7))).toBe(12n);
    expect(value("indirect", i32(0), i32(5), i32(7))).toBe(0xfffffffen);
  });

  test("division traps where it must", () => {
    const [a, b, c, d] = callAll(objects, [
      ["divide", i32(7), i32(0)],
      ["divide", i32(-0x80000000), i32(-1)],
      ["remainder", i32(-0x80000000), i32(-1)],
      ["remainder", i32(-7), i32(4)],
    ]);
    expect([a!.signal, b!.signal, c!.signal, d!.signal]).toEqual([8, 8, 0, 0]);
    expect([c!.value, d!.value]).toEqual([0n, 0xfffffffdn]);
  });

  test("bit counts of zero and others", () => {
    expect(value("bits", i64(0))).toBe(646400n);
    expect(value("bits", i64(0x1010))).toBe(51n * 10000n + 400n + 2n);
  });

  test("atomics", () => {
    expect(value("atomics", i64(address))).toBe(587677945n + 0n);
  });

  test("memory.copy and memory.fill: all small sizes, overlapping in both directions", () => {
    const base = 0x30000000n;
    const size = 4096;
    const source = Uint8Array.from({ length: size }, (_, i) => (i * 7 + (i >> 8)) & 0xff);
    const expected = source.slice();
    const steps: Step[] = [
      { kind: "map", address: base, size, access: "rw" },
      { kind: "write", address: base, bytes: source },
    ];
    const step = (name: string, ...args: number[]): void => {
      const [to, ...rest] = args;
      const move = name.startsWith("move");
      const values = [base + BigInt(to!), ...rest.map((value, i) => (move && i === 0 ? base : 0n) + BigInt(value))];
      steps.push({ kind: "call", name, args: values.map((v) => ({ bits: 64 as const, value: v })), seed: to! });
    };
    for (let length = 0; length <= 40; length++) {
      for (const distance of [-40, -9, -8, -7, -1, 0, 1, 7, 8, 9, 40]) {
        const from = 1000 + length * 3;
        step("move", from + distance, from, length);
        expected.copyWithin(from + distance, from, from + length);
      }
      step("fill", 3000 + length, length, length);
      expected.fill(length, 3000 + length, 3000 + 2 * length);
    }
    step("moveFew", 205, 200);
    expected.copyWithin(205, 200, 215);
    step("fillFew", 300);
    expected.fill(0xab, 300, 323);
    const { results, stopped } = runNative(objects, [...steps, { kind: "read", address: base, size }]);
    expect(stopped).toBeUndefined();
    expect(results.flatMap((r) => (r.kind === "call" ? r.violations : []))).toEqual([]);
    const last = results.at(-1)!;
    expect(last.kind === "done" && Buffer.from(last.bytes).equals(Buffer.from(expected))).toBe(true);
  });
});

test("the same input gives the same object", async () => {
  const files = { "main.ts": LANGUAGE, "lib/more.ts": MORE, "std/inner.ts": "export const INNER: u64 = 41;\n" };
  const [a, b] = [await compileText(files), await compileText(files)];
  expect(a.object).toEqual(b.object);
});
