import { describe, expect, it } from "vitest";
import type { CodeUnit, ObjectFile } from "../../src/compiler/object.ts";
import { Assembler, mem, rax, rbx, rsp } from "../../src/compiler/x64.ts";
import { compileFlat } from "./compile.ts";
import { differences, type FlatCompiler } from "./fuzz.ts";
import { explain, problemsOfSeed } from "./fuzz-failure.ts";
import { noting, randomProgram } from "./fuzz-program.ts";
import { FAILED_ONCE, SHORT_RUN } from "./fuzz-seeds.ts";
import { replaying, shrink } from "./fuzz-shrink.ts";
import { seeded } from "./random.ts";

const SHRINK_TRIES = 500;

function expectSound(seeds: readonly number[]): void {
  const failed = seeds.filter((seed) => problemsOfSeed(seed, compileFlat).length > 0);
  const [first] = failed;
  if (first !== undefined)
    expect.fail(`failing seeds: ${failed.join(" ")}\n${explain(first, compileFlat, SHRINK_TRIES).text}`);
}

describe("compiled code against V8", () => {
  it("agrees for seeds that failed once", () => expectSound(FAILED_ONCE));

  const part = SHORT_RUN / 4;
  it.each([0, 1, 2, 3])("agrees for random programs, part %i", (number) => {
    expectSound(Array.from({ length: part }, (_, i) => number * part + i));
  });
});

/** The unit, after a write `depth` bytes below its return address. */
function usingStack(unit: CodeUnit, depth: number): CodeUnit {
  const a = new Assembler();
  a.mov(64, mem(rsp, -depth), 0);
  const { bytes } = a.finish("write");
  const later = <T extends { readonly at: number }>(row: T): T => ({ ...row, at: row.at + bytes.length });
  return {
    name: unit.name,
    bytes: Uint8Array.from([...bytes, ...unit.bytes]),
    relocs: unit.relocs.map(later),
    maxStack: 0,
  };
}

describe("the comparison", () => {
  /** The program of a seed whose first function returns a value. */
  const program = randomProgram(1, seeded(1));
  const victim = program.functions[0]!.name;

  function compilerWith(name: string, write: (a: Assembler) => void): FlatCompiler {
    const a = new Assembler();
    write(a);
    const wrong: CodeUnit = a.finish(name, { maxStack: 0 });
    return (module): ObjectFile => {
      const { code, data } = compileFlat(module);
      return { code: code.map((unit) => (unit.name === name ? wrong : unit)), data };
    };
  }

  it("finds nothing in a right program", () => expect(differences(program, compileFlat)).toEqual([]));

  it.each([
    ["a wrong result", / instead of /, (a: Assembler) => a.mov(64, rax, 0x1234567)],
    ["a trap that should not be", /signal 4 instead of /, (a: Assembler) => a.op("ud2")],
    ["a register that is not restored", /rbx was 0x/, (a: Assembler) => a.mov(64, rbx, 5)],
  ])("finds %s", (_, message, damage) => {
    const compile = compilerWith(victim, (a) => {
      damage(a);
      a.op("ret");
    });
    expect(differences(program, compile).join("\n")).toMatch(message);
  });

  it("finds more stack than the bound", () => {
    const compile: FlatCompiler = (module) => {
      const { code, data } = compileFlat(module);
      return { code: code.map((unit) => (unit.name === victim ? usingStack(unit, 512) : unit)), data };
    };
    expect(differences(program, compile).join("\n")).toMatch(/uses \d+ bytes of stack/);
  });

  it("finds wrong memory", () => {
    const compile = compilerWith(victim, (a) => {
      a.mov(64, rax, 0x10000000);
      a.bytes(0x48, 0xff, 0x00); // inc qword [rax]
      a.op("ret");
    });
    expect(differences(program, compile).join("\n")).toMatch(/^memory at \+0x[0-7]: /m);
  });

  it("finds a call that does not end", () => {
    const compile = compilerWith(victim, (a) => a.jmp(a.bind()));
    expect(differences(program, compile, 500).join("\n")).toMatch(/not (run|finished)/);
  });
});

describe("making programs smaller", () => {
  it("gives the same program for the same numbers", () => {
    const numbers: number[] = [];
    const { binary } = randomProgram(7, noting(seeded(7), numbers));
    expect(randomProgram(7, replaying(numbers)).binary).toEqual(binary);
  });

  it("leaves only what is needed", () => {
    const numbers = Array.from({ length: 100 }, (_, i) => i + 1);
    const fails = (list: readonly number[]): boolean => list.includes(17) && list.includes(61);
    expect(shrink(numbers, { fails, spans: () => [], tries: 10_000 })).toEqual([17, 61]);
  });

  it("leaves out whole things first", () => {
    const fails = (list: readonly number[]): boolean => list.includes(6);
    const tried: (readonly number[])[] = [];
    const numbers = [1, 2, 3, 4, 5, 6, 7, 8];
    const spans = (list: readonly number[]) => (list.length === 8 ? [{ start: 1, end: 5 }] : []);
    const note = (list: readonly number[]): boolean => tried.push(list) > 0 && fails(list);
    expect(shrink(numbers, { fails: note, spans, tries: 100 })).toEqual([6]);
    expect(tried[0]).toEqual([1, 0, 6, 7, 8]);
  });

  it("stops when it may not try more", () => {
    let calls = 0;
    shrink([1, 2, 3, 4, 5, 6, 7, 8], { fails: () => ++calls > 3, spans: () => [], tries: 3 });
    expect(calls).toBe(3);
  });
});
