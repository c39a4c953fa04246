import { describe, expect, it } from "vitest";
import type { CodeUnit, ObjectFile } from "../../src/compiler/object.ts";
import {
  Assembler,
  absolute,
  indexed,
  mem,
  r12,
  r15,
  rax,
  rbp,
  rbx,
  rcx,
  rdi,
  rdx,
  rsi,
  rsp,
} from "../../src/compiler/x64.ts";
import { type Argument, type CallResult, runNative, type Step } from "./native.ts";

const SIGILL = 4;
const SIGFPE = 8;
const SIGSEGV = 11;
const MEMORY = 0x10000000n;

function unit(name: string, write: (a: Assembler) => void): CodeUnit {
  const a = new Assembler();
  write(a);
  return a.finish(name);
}

const object = (...code: CodeUnit[]): ObjectFile => ({ code, data: [] });
const i64 = (value: bigint): Argument => ({ bits: 64, value });
const i32 = (value: bigint): Argument => ({ bits: 32, value });
const call = (name: string, args: readonly Argument[] = [], seed = 1, measure = 0): Step => ({
  kind: "call",
  name,
  args,
  seed,
  measure,
});

function callAll(objects: ObjectFile, steps: readonly Step[]): CallResult[] {
  const run = runNative([objects], steps);
  expect(run.stopped).toBeUndefined();
  return run.results.filter((result) => result.kind === "call");
}

/** f(a…h) = a - b + c - d + e - f + g - h: six arguments in registers, two on the stack. */
const alternating = unit("alternating", (a) => {
  a.lea(64, rax, mem(rdi));
  a.sub(64, rax, rsi);
  a.add(64, rax, rdx);
  a.sub(64, rax, rcx);
  a.bytes(0x4c, 0x01, 0xc0); // add rax, r8
  a.bytes(0x4c, 0x29, 0xc8); // sub rax, r9
  a.add(64, rax, mem(rsp, 8));
  a.sub(64, rax, mem(rsp, 16));
  a.op("ret");
});

/** Correct code: each callee-saved register used and put back. */
const careful = unit("careful", (a) => {
  const saved = [rbx, rbp, r12, r15];
  for (const register of saved) a.push(register);
  for (const register of saved) a.mov(64, register, 7);
  a.mov(64, rax, rbp);
  for (const register of saved.toReversed()) a.pop(register);
  a.op("ret");
});

const results = (values: readonly CallResult[]) => values.map(({ value, signal }) => (signal === 0 ? value : signal));

describe("the native harness", () => {
  it("passes arguments in registers and on the stack", () => {
    const args = [1n, 20n, 300n, 4000n, 50000n, 600000n, 7000000n, 80000000n].map(i64);
    const steps = [1, 2, 3].map((seed) => call("alternating", args, seed));
    const run = callAll(object(alternating), steps);
    expect(results(run).map((value) => BigInt.asIntN(64, BigInt(value)))).toEqual(new Array(3).fill(-73553719n));
    expect(run.flatMap(({ violations }) => violations)).toEqual([]);
  });

  it("finds nothing wrong with code that keeps the rules", () => {
    const run = callAll(
      object(careful),
      [1, 2].map((seed) => call("careful", [], seed, 64)),
    );
    expect(run.map(({ value, violations, depth }) => ({ value, violations, depth }))).toEqual(
      new Array(2).fill({ value: 7n, violations: [], depth: 32 }),
    );
  });

  it("poisons the upper half of 32-bit arguments, and only that", () => {
    const identity = unit("identity", (a) => {
      a.mov(64, rax, rdi);
      a.op("ret");
    });
    const run = callAll(
      object(identity),
      [1, 2, 3, 4].map((seed) => call("identity", [i32(-2n)], seed)),
    );
    expect(run.map(({ value }) => value & 0xffffffffn)).toEqual(new Array(4).fill(0xfffffffen));
    expect(new Set(run.map(({ value }) => value >> 32n)).size).toBe(4);
  });

  it("gives random flags and stacks of both alignments", () => {
    const look = unit("look", (a) => {
      a.op("pushfq");
      a.pop(rax);
      a.shift("shl", 64, rax, 8);
      a.mov(64, rcx, rsp);
      a.mov(8, rax, rcx);
      a.op("ret");
    });
    const seeds = Array.from({ length: 64 }, (_, seed) => seed);
    const values = callAll(
      object(look),
      seeds.map((seed) => call("look", [], seed)),
    ).map(({ value }) => value);
    for (const flag of [0, 2, 4, 6, 7, 11])
      expect(new Set(values.map((value) => (value >> BigInt(8 + flag)) & 1n)).size, `flag ${flag}`).toBe(2);
    expect(new Set(values.map((value) => value & 15n))).toEqual(new Set([0n, 8n]));
  });

  it.each([
    ["a callee-saved register that is lost", "rbx was", (a: Assembler) => a.mov(64, rbx, 1)],
    ["a register that is lost only in part", "r12 was", (a: Assembler) => a.mov(8, r12, 0)],
    ["a stack slot of the caller", "[rsp + 16] of the caller was", (a: Assembler) => a.mov(8, mem(rsp, 24), 0)],
    ["the direction flag", "the direction flag is set", (a: Assembler) => a.op("std")],
  ])("sees %s", (_, message, damage) => {
    const wrong = unit("wrong", (a) => {
      damage(a);
      a.op("ret");
    });
    for (const seed of [3, 4]) {
      const [result] = callAll(object(wrong), [call("wrong", [], seed)]);
      expect(result!.violations).toHaveLength(1);
      expect(result!.violations[0]).toContain(message);
    }
  });

  it("sees a stack pointer that does not come back", () => {
    const wrong = unit("wrong", (a) => {
      a.pop(rcx);
      a.sub(64, rsp, 8);
      a.jmp(rcx);
    });
    const [result] = callAll(object(wrong), [call("wrong")]);
    expect(result!.violations).toEqual([expect.stringContaining("rsp was")]);
  });

  it("lets a callee change its own arguments on the stack", () => {
    const owner = unit("owner", (a) => {
      a.mov(64, mem(rsp, 8), 0);
      a.op("ret");
    });
    const [six, seven] = [6, 7].map((count) => call("owner", new Array<Argument>(count).fill(i64(1n))));
    const run = callAll(object(owner), [six!, seven!]);
    expect(run[0]!.violations).toHaveLength(1);
    expect(run[1]!.violations).toEqual([]);
  });

  it("turns signals into results, and goes on", () => {
    const code = object(
      unit("illegal", (a) => a.op("ud2")),
      unit("divide", (a) => {
        a.mov(32, rcx, 0);
        a.mov(32, rdx, 0);
        a.unary("div", 32, rcx);
      }),
      unit("null", (a) => a.mov(64, rax, absolute(0x18))),
      unit("endless", (a) => {
        const again = a.bind();
        a.call(again);
      }),
      unit("lost", (a) => {
        a.mov(64, rsp, 0);
        a.op("std");
        a.push(rax);
      }),
      careful,
    );
    const names = ["illegal", "divide", "null", "endless", "lost"].flatMap((name) => [name, "careful"]);
    const run = callAll(
      code,
      names.map((name) => call(name)),
    );
    const expected = [SIGILL, SIGFPE, SIGSEGV, SIGSEGV, SIGSEGV].flatMap((signal) => [signal, 7n]);
    expect(results(run)).toEqual(expected);
    expect([run[4]!.address, run[5]!.address]).toEqual([0x18n, 0n]);
  });

  it("measures how deep the stack was used", () => {
    const deep = unit("deep", (a) => {
      a.mov(64, indexed(rsp, rdi, 8), rdi);
      a.op("ret");
    });
    const steps = [-1n, -5n, -64n].map((depth) => call("deep", [i64(depth)], 1, 64));
    expect(callAll(object(deep), steps).map(({ depth }) => depth)).toEqual([8, 40, 512]);
  });

  it("maps, writes and reads memory", () => {
    const copy = unit("copy", (a) => {
      a.mov(64, rax, mem(rdi));
      a.mov(64, mem(rsi), rax);
      a.op("ret");
    });
    const bytes = Uint8Array.from({ length: 10000 }, (_, i) => i * 7);
    const run = runNative(
      [object(copy)],
      [
        { kind: "map", address: MEMORY, size: 65536, access: "rw" },
        { kind: "map", address: MEMORY + 65536n, size: 65536, access: "none" },
        { kind: "write", address: MEMORY, bytes },
        call("copy", [i64(MEMORY + 8n), i64(MEMORY + 60000n)]),
        call("copy", [i64(MEMORY), i64(MEMORY + 65536n)]),
        { kind: "read", address: MEMORY, size: 65536 },
      ],
    );
    const memory = new Uint8Array(65536);
    memory.set(bytes);
    memory.set(bytes.subarray(8, 16), 60000);
    expect(run.stopped).toBeUndefined();
    expect(run.results[4]).toMatchObject({ signal: SIGSEGV, address: MEMORY + 65536n });
    expect(run.results[5]).toEqual({ kind: "done", bytes: memory });
  });

  it("ends a call that never returns, and keeps the results before it", () => {
    const hang = unit("hang", (a) => a.jmp(a.bind()));
    const run = runNative([object(hang, careful)], [call("careful"), call("hang"), call("careful")], 500);
    expect(run.stopped).toBeDefined();
    expect(run.results).toHaveLength(1);
  });

  it("does thousands of calls in one process", () => {
    const steps = Array.from({ length: 5000 }, (_, seed) => call("careful", [], seed));
    expect(new Set(results(callAll(object(careful), steps)))).toEqual(new Set([7n]));
  });
});
