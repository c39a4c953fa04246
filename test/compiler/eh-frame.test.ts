import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { link } from "../../src/compiler/link.ts";
import { type CodeUnit, RETURN_ADDRESS, type UnwindRow } from "../../src/compiler/object.ts";
import { writeExecutable, writeSharedObject } from "../../src/elf/write.ts";
import { code, hex, rel32 } from "./units.ts";

let directory = "";
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "zpoline-cfi-"));
});
afterAll(() => rmSync(directory, { recursive: true }));

function put(name: string, bytes: Uint8Array | string): string {
  const path = join(directory, name);
  writeFileSync(path, bytes, { mode: 0o755 });
  return path;
}

const RSP = 7;
const rsp = (at: number, offset: number, saved: UnwindRow["saved"] = []): UnwindRow => ({
  at,
  cfa: { reg: RSP, offset },
  saved,
});

/** enter(f) calls f() with rbx saved and 32 bytes of locals, through `leaf`, which has no frame of its own. */
const frames: CodeUnit[] = [
  code("enter", hex("53 48 83 ec 20 31 db e8 00000000 48 83 c4 20 5b c3"), {
    relocs: [rel32(8, "leaf")],
    unwind: [rsp(0, 8), rsp(1, 16, [[3, -16]]), rsp(5, 48, [[3, -16]]), rsp(16, 16, [[3, -16]]), rsp(17, 8)],
  }),
  code("leaf", hex("50 ff d7 59 c3"), { unwind: [rsp(0, 8), rsp(1, 16), rsp(4, 8)] }),
];

/**
 * interrupted(f) calls f() through `stub`. Its row for the address behind the `call` is true, its row for the `call`
 * itself is wrong: the way through is open only where `stub` is a frame that interrupts its caller.
 */
const interrupted = (signalFrame: boolean): CodeUnit[] => [
  code("interrupted", hex("50 e8 00000000 59 c3"), {
    relocs: [rel32(2, "stub")],
    unwind: [rsp(0, 8), rsp(1, 4096), rsp(6, 16), rsp(7, 8)],
  }),
  code("stub", hex("50 ff d7 59 c3"), { signalFrame, unwind: [rsp(0, 8), rsp(1, 16), rsp(4, 8)] }),
];

const WALKER = `
  #define _GNU_SOURCE
  #include <dlfcn.h>
  #include <stdio.h>
  #include <unwind.h>
  static _Unwind_Reason_Code step(struct _Unwind_Context *c, void *depth) {
    Dl_info info;
    if (dladdr((void *)_Unwind_GetIP(c), &info) && info.dli_sname) printf("%s ", info.dli_sname);
    return _URC_NO_REASON;
  }
  void walk(void) { _Unwind_Backtrace(step, 0); }
  int main(int argc, char **argv) {
    void *lib = dlopen(argv[1], RTLD_NOW);
    void (*f)(void (*)(void)) = dlsym(lib, argv[2]);
    register long kept asm("rbx") = 42;
    asm volatile("" : "+r"(kept));
    f(walk);
    asm volatile("" : "+r"(kept));
    printf("%ld\\n", kept);
  }`;

describe("unwinding", () => {
  let walker = "";
  beforeAll(() => {
    walker = join(directory, "walker");
    execFileSync("gcc", ["-rdynamic", "-O1", "-o", walker, put("walker.c", WALKER)]);
  });

  const walk = (units: CodeUnit[], name: string) => {
    const exports = Object.fromEntries(units.map((unit) => [unit.name, unit.name]));
    const path = put("libframes.so", writeSharedObject([{ code: units, data: [] }], { soname: "l.so", exports }));
    return spawnSync(walker, [path, name], { encoding: "utf8" }).stdout.trim();
  };

  test("_Unwind_Backtrace passes through frames", () => {
    expect(walk(frames, "enter")).toMatch(/^walk leaf enter main .*42$/);
  });

  test("the caller of a signal frame is looked up at the very address, not before it", () => {
    expect(walk(interrupted(true), "interrupted")).toMatch(/^walk stub interrupted main .*42$/);
    expect(walk(interrupted(false), "interrupted")).not.toMatch(/interrupted main/);
  });

  test("gdb walks the frames and restores what they saved", () => {
    const start = code("_start", hex("bb 2a000000 48 8d 3d 00000000 e8 00000000 0f 0b"), {
      relocs: [rel32(8, "stop"), rel32(13, "enter")],
      unwind: [rsp(0, 8)],
    });
    const stop = code("stop", hex("90 cc c3"), { unwind: [rsp(0, 8)] });
    const path = put("frames", writeExecutable([{ code: [start, ...frames, stop], data: [] }]));
    const commands = ["run", "bt 4", "frame 3", "print $rbx"].flatMap((command) => ["-ex", command]);
    const run = spawnSync("gdb", ["-nx", "-batch", ...commands, path], { encoding: "utf8" });
    const order = [...run.stdout.matchAll(/^#\d .* in (\w+) \(\)$/gm)].map(([, name]) => name);
    expect(order.slice(0, 4)).toEqual(["stop", "leaf", "enter", "_start"]);
    expect(run.stdout).toContain("$1 = 42");
  });
});

describe("encoding", () => {
  const names = ["rax", "rdx", "rcx", "rbx", "rsi", "rdi", "rbp", "rsp"];
  const nameOf = (reg: number) => (reg === RETURN_ADDRESS ? "ra" : (names[reg] ?? `r${reg}`));
  const offset = (value: number) => (value < 0 ? `${value}` : `+${value}`);

  /** What readelf makes of the .eh_frame: for each function its rows, as "location cfa {register: rule}". */
  function interpreted(path: string): string[] {
    const output = execFileSync("readelf", ["-W", "--debug-dump=frames-interp", path], { encoding: "utf8" });
    const rows: string[] = [];
    for (const entry of output.split(/\n\n/).filter((part) => part.includes(" FDE "))) {
      const [, header, ...lines] = entry.trim().split("\n");
      const columns = header!.trim().split(/\s+/).slice(2);
      for (const line of lines) {
        const [location, cfa, ...rules] = line.trim().split(/\s+/);
        const saved = columns.flatMap((name, i) => (rules[i] === "u" && name !== "ra" ? [] : [`${name}=${rules[i]}`]));
        rows.push([Number.parseInt(location!, 16), cfa, ...saved.sort()].join(" "));
      }
    }
    return rows;
  }

  /** Where the text of so small an executable starts: on the page after the headers and tables. */
  const TEXT = 0x401000;
  const saved = fc
    .uniqueArray(fc.tuple(fc.integer({ min: 0, max: 15 }), fc.integer({ min: -40, max: 40 })), {
      selector: ([reg]) => reg,
    })
    .map((list) => list.filter(([reg]) => reg !== RSP).map(([reg, words]) => [reg, words * 8] as const));
  const row = fc.record({
    cfa: fc.record({ reg: fc.integer({ min: 0, max: 15 }), offset: fc.integer({ min: 0, max: 100_000 }) }),
    saved,
    // Of the return address: its place, the register that it is in, or none.
    ret: fc.oneof(
      fc.constant({}),
      fc.record({ at: fc.integer({ min: -40, max: 40 }) }),
      fc.record({ returnIn: fc.oneof(fc.integer({ min: 0, max: 15 }), fc.constant("nowhere" as const)) }),
    ) as fc.Arbitrary<{ at?: number; returnIn?: number | "nowhere" }>,
  });
  const steps = fc.array(fc.tuple(fc.constantFrom(1, 5, 63, 64, 255, 256, 65535, 65536), row), {
    minLength: 1,
    maxLength: 6,
  });

  test("readelf reads back every row", () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(steps, fc.boolean()), { minLength: 1, maxLength: 5 }), (functions) => {
        const units = functions.map(([list, signalFrame], i) => {
          let end = 0;
          const unwind = list.map(([step, { cfa, saved, ret }]): UnwindRow => {
            const at = end;
            end += step;
            if (ret.at !== undefined) return { at, cfa, saved: [...saved, [RETURN_ADDRESS, 8 * ret.at]] };
            return ret.returnIn === undefined ? { at, cfa, saved } : { at, cfa, saved, returnIn: ret.returnIn };
          });
          return code(`f${i}`, new Uint8Array(end).fill(0x90), { unwind, signalFrame });
        });
        const objects = [{ code: units, data: [] }];
        const path = put("rows", writeExecutable(objects, { base: 0x400000, entry: "f0" }));
        const expected = link(objects, { base: TEXT }).code.flatMap(({ unit, address }) =>
          (unit.unwind ?? []).map(({ at, cfa, saved, returnIn }) => {
            const rules = saved.map(([reg, from]) => `${nameOf(reg)}=c${offset(from)}`);
            if (returnIn !== undefined) rules.push(returnIn === "nowhere" ? "ra=u" : `ra=r${returnIn}`);
            else if (!saved.some(([reg]) => reg === RETURN_ADDRESS)) rules.push("ra=c-8");
            rules.sort();
            return [address + at, `${nameOf(cfa.reg)}${offset(cfa.offset)}`, ...rules].join(" ");
          }),
        );
        expect(interpreted(path)).toEqual(expected);
      }),
      { numRuns: 30 },
    );
  });

  test("the index has every function once, sorted, and points at its description", () => {
    const units = [...frames, code("bare", hex("c3")), ...interrupted(true)];
    const path = put("index", writeExecutable([{ code: units, data: [] }], { entry: "enter" }));
    expect(spawnSync("eu-elflint", ["--gnu-ld", path], { encoding: "utf8" }).stdout).toBe("No errors\n");
    const dump = execFileSync("eu-readelf", ["--debug-dump=frames", path], { encoding: "utf8" });
    const table = [...dump.matchAll(/\(offset: (\w+)\) -> \w+ fde=\[ *(\w+)\]/g)].map(([, ...pair]) => pair);
    const described = [...dump.matchAll(/\[ *(\w+)\] FDE .*\n.*\n.*\(offset: (\w+)\)/g)];
    expect(table).toEqual(described.map(([, description, start]) => [start, description]));
    expect(table).toHaveLength(4);
  });

  test("a register saved at an odd place is refused", () => {
    const write = (unwind: UnwindRow[]) => () =>
      writeExecutable([{ code: [code("_start", hex("c3"), { unwind })], data: [] }]);
    expect(write([rsp(0, 8, [[3, -12]])])).toThrow('unit "_start": register 3 is saved at CFA + -12');
  });
});
