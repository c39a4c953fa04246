import { existsSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { namesOf } from "../../src/syscalls/flags/index.ts";
import { generateNumbers, parseTable } from "../../src/syscalls/generate/numbers.ts";
import { NUMBERS } from "../../src/syscalls/numbers.ts";
import { parseRow } from "../../src/syscalls/row.ts";
import { CALL_NAMES, CALLS, callName, ROWS } from "../../src/syscalls/table.ts";

const HEADER = "/usr/include/x86_64-linux-gnu/asm/unistd_64.h";

describe("the numbers", () => {
  it.skipIf(!existsSync(HEADER))("agree with the kernel header of this machine", () => {
    const defined = [...readFileSync(HEADER, "utf8").matchAll(/^#define __NR_(\w+) (\d+)$/gm)];
    expect(defined.length).toBeGreaterThan(300);
    for (const [, name, nr] of defined)
      expect([name, NUMBERS[name as keyof typeof NUMBERS]]).toEqual([name, Number(nr)]);
  });

  it("go up to 470 (Linux 6.19) without a hole but 337…423", () => {
    const numbers = Object.values(NUMBERS);
    const expected = Array.from({ length: 471 }, (_, nr) => nr).filter((nr) => nr < 337 || nr > 423);
    expect(numbers).toEqual(expected);
  });

  it("are generated from rows common and 64, in order", () => {
    const table =
      "# comment\n1\tcommon\twrite\t\t\tsys_write\n0 64 read sys_read\n512\tx32\trt_sigaction\tcompat_x\n134\t64\tuselib\n";
    expect(parseTable(table)).toEqual([
      { nr: 0, name: "read" },
      { nr: 1, name: "write" },
      { nr: 134, name: "uselib" },
    ]);
    const text = generateNumbers(table, "Linux 9");
    expect(text).toContain("of Linux 9.");
    expect(text).toContain("  read: 0,\n  write: 1,\n  uselib: 134,\n} as const;");
    expect(() => parseTable("read 0")).toThrow(RangeError);
  });
});

describe("the table", () => {
  it("has one row for every number and no other rows", () => {
    expect(Object.keys(ROWS).sort()).toEqual([...CALL_NAMES].sort());
    for (const name of CALL_NAMES) expect(CALLS[NUMBERS[name]]?.name).toBe(name);
  });

  it("gives no call more than six arguments and names each differently", () => {
    for (const call of CALLS) {
      const names = call?.arguments.map((argument) => argument.name) ?? [];
      expect(names.length, call?.name).toBeLessThanOrEqual(6);
      expect(new Set(names).size, call?.name).toBe(names.length);
    }
  });

  it("names only tables of flags that exist", () => {
    for (const call of CALLS) for (const { table } of call?.arguments ?? []) if (table !== "") namesOf(table);
    expect(() => namesOf("nothing")).toThrow("no table of names is called nothing");
  });

  it("names a number without a call by the number", () => {
    expect(callName(59)).toBe("execve");
    expect(callName(400)).toBe("syscall_0x190");
  });
});

describe("a row", () => {
  it("says direction, table, related argument and count", () => {
    const call = parseRow(
      0,
      "x",
      "fd:fd flags:flags(open) buf:<bytes(len) list:>id[len] out:<>pollfd[] pair:>fd*2 len:ulong = fd",
    );
    expect(call.result).toBe("fd");
    expect(call.arguments.map(({ direction, table, related, count }) => [direction, table, related, count])).toEqual([
      [0, "", -1, "one"],
      [0, "open", -1, "one"],
      [1, "", 6, "one"],
      [2, "", 6, "argument"],
      [3, "", -1, "result"],
      [2, "", -1, 2],
      [0, "", -1, "one"],
    ]);
  });

  it("is refused when it is not of the form", () => {
    expect(() => parseRow(0, "x", "fd")).toThrow("x: not an argument: fd");
    expect(() => parseRow(0, "x", "buf:<bytes(n)")).toThrow("x: no argument n");
  });
});
