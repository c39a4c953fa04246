import { beforeAll, describe, expect, test } from "vitest";
import { Oracle } from "../helpers/iced.ts";
import { codeRanges, functionStarts, type MappedElf, mapElf, present } from "../helpers/mapped-elf.ts";
import { type Find, NOT, objdumpSites, SITE, SiteFinder, UNSURE } from "./finder.ts";
import { TEXT, tinyElf } from "./tiny-elf.ts";

let finder: SiteFinder;

beforeAll(async () => {
  finder = await SiteFinder.load();
});

function findIn(elf: MappedElf): Find[] {
  return finder.find(elf, finder.open(elf));
}

/** Every address where the bytes of a system call stand. */
function bytePairs(elf: MappedElf): number[] {
  return codeRanges(elf).flatMap(({ start, end }) => {
    const result: number[] = [];
    for (let at = start - elf.low; at + 1 < end - elf.low; at++) {
      if (elf.bytes[at] === 0x0f && [0x05, 0x34].includes(elf.bytes[at + 1]!)) result.push(at + elf.low);
    }
    return result;
  });
}

const addresses = (finds: readonly Find[]) => finds.map((find) => find.address);

describe("real programs", () => {
  const PROGRAMS = present(
    "/lib/x86_64-linux-gnu/libc.so.6",
    "/lib64/ld-linux-x86-64.so.2",
    "/lib/ld-musl-x86_64.so.1",
    "/bin/bash",
    "/bin/busybox",
    "/usr/bin/python3",
  );

  test.each(PROGRAMS)("%s: exactly the instructions that objdump finds", (path) => {
    const elf = mapElf(path);
    const finds = findIn(elf);
    expect(addresses(finds)).toEqual(bytePairs(elf));
    expect(finds.filter((find) => find.verdict === UNSURE)).toEqual([]);
    expect(addresses(finds.filter((find) => find.verdict === SITE))).toEqual(objdumpSites(path));
  });

  test("node: no byte pair in data or inside an instruction is taken for a system call", () => {
    const elf = mapElf(process.execPath);
    const finds = findIn(elf);
    expect(addresses(finds)).toEqual(bytePairs(elf));
    const real = new Set(objdumpSites(process.execPath));
    expect(finds.filter((find) => find.verdict === SITE && !real.has(find.address))).toEqual([]);
    expect(finds.filter((find) => find.verdict === NOT && real.has(find.address))).toEqual([]);
  });

  test.each(PROGRAMS.slice(0, 2))("%s: red zones", (path) => {
    const elf = mapElf(path);
    const starts = functionStarts(elf);
    const sites = findIn(elf).filter((find) => find.verdict === SITE);
    const wrong = sites.filter((site) => {
      const next = starts.find((start) => start > site.address) ?? site.address;
      return site.redZone !== (touchesBelowSp(elf, site.start, next) ? "yes" : "no");
    });
    expect(wrong).toEqual([]);
  });
});

/** Whether an instruction of [start, end) names memory at a small negative offset from rsp. */
function touchesBelowSp(elf: MappedElf, start: number, end: number): boolean {
  const oracle = new Oracle(elf.bytes.subarray(start - elf.low, end - elf.low), start);
  let found = false;
  for (let offset = 0; offset < end - start; ) {
    const length = oracle.at(offset);
    const address = /\[rsp-([0-9A-F]+)h?\]/i.exec(oracle.text());
    if (length && address && !oracle.text().startsWith("lea rsp")) found = true;
    offset += length || 1;
  }
  oracle.free();
  return found;
}

/** Finds in a text that consists of functions with unwind tables, one after the other. */
function findInCode(...functions: (readonly number[])[]): Find[] {
  let at = 0;
  const described = functions.map((code) => {
    at += code.length;
    return { at: at - code.length, size: code.length };
  });
  return findIn(tinyElf(functions.flat(), described));
}

const SYSCALL = [0x0f, 0x05];
const RET = [0xc3];
const EXIT = [0xb8, 60, 0, 0, 0];

describe("verdicts", () => {
  test("mov $0x50f,%eax is another instruction", () => {
    expect(findInCode([0xb8, ...SYSCALL, 0, 0, ...RET])).toMatchObject([{ verdict: NOT, reason: "flow" }]);
  });

  test("bytes after the code are not taken for an instruction", () => {
    expect(findInCode([...RET, ...SYSCALL])).toMatchObject([{ verdict: UNSURE, reason: "unreached" }]);
    expect(findInCode([...RET, 0x06, ...SYSCALL])).toMatchObject([{ verdict: UNSURE, reason: "data" }]);
  });

  test("a system call behind misleading bytes", () => {
    const code = [0xeb, 0x01, 0xb8, ...SYSCALL, ...RET];
    expect(findInCode(code)).toMatchObject([{ address: TEXT + 3, verdict: SITE, reason: "flow", start: TEXT }]);
  });

  test("a system call across a page boundary", () => {
    const code = [...Array<number>(4095).fill(0x90), ...SYSCALL, ...RET];
    expect(findInCode(code)).toMatchObject([{ address: TEXT + 4095, verdict: SITE }]);
  });

  test("a system call that ends the text", () => {
    expect(findInCode([0x90, ...SYSCALL])).toMatchObject([{ address: TEXT + 1, verdict: SITE }]);
    expect(findInCode([0x90, 0x0f])).toEqual([]);
  });

  test("a function whose unwind entry ends before its system call, as clone's does in glibc", () => {
    const text = [...EXIT, ...SYSCALL, ...RET, ...RET];
    const elf = tinyElf(text, [
      { at: 0, size: 5 },
      { at: 8, size: 1 },
    ]);
    expect(findIn(elf)).toMatchObject([{ verdict: SITE, number: 60, start: TEXT, end: TEXT + 8 }]);
  });

  test("a system call at every place of a text of 100 bytes, and nothing else", () => {
    for (const [first, second] of [SYSCALL, [0x0f, 0x34]] as const) {
      for (let at = 0; at + 2 <= 100; at++) {
        // nop is 90; 0e 05, 0f 04 and 0f 14 are near misses.
        const code = Array<number>(100).fill(0x90);
        const near = [0x0e, 0x05, 0x0f, 0x04, 0x0f, 0x14, 0x0f];
        for (const [i, byte] of near.entries()) code[(at + 40 + i) % 100] = byte;
        if (code[99] === 0x0f) code[99] = 0x90;
        code[at] = first;
        code[at + 1] = second;
        expect(addresses(findIn(tinyElf(code, [])))).toEqual([TEXT + at]);
      }
    }
  });

  test("behind what is followed of a function of 300,000 bytes", () => {
    const nops = Array<number>(300_000).fill(0x90);
    expect(findInCode([...nops, 0xb8, ...SYSCALL, 0, 0, ...RET])).toMatchObject([{ verdict: NOT, reason: "sweep" }]);
    expect(findInCode([...nops, ...EXIT, ...SYSCALL, ...RET])).toMatchObject([
      { verdict: SITE, number: 60, start: TEXT },
    ]);
    expect(findInCode([...nops, ...SYSCALL, ...RET])).toMatchObject([{ verdict: UNSURE, reason: "no boundary" }]);
  });

  test("far behind the code, inside another instruction", () => {
    const far = [...RET, ...Array<number>(20_000).fill(0x90)];
    expect(findInCode([...far, 0xb8, ...SYSCALL, 0, 0])).toMatchObject([{ verdict: NOT, reason: "sweep" }]);
    expect(findInCode([...far, ...SYSCALL])).toMatchObject([{ verdict: UNSURE, reason: "unreached" }]);
    // Among bytes that are no instructions, nothing is certain.
    const data = [...far, ...Array<number>(8).fill(0x06), 0xb8, ...SYSCALL, 0, 0];
    expect(findInCode(data)).toMatchObject([{ verdict: UNSURE, reason: "data" }]);
  });

  test("a block that only a jump table reaches", () => {
    expect(findInCode([0xff, 0xe0, 0x89, 0xf8, ...SYSCALL, ...RET])).toMatchObject([
      { verdict: SITE, reason: "sweep", number: -1 },
    ]);
  });

  test("a block that nothing reaches, with a number", () => {
    expect(findInCode([...RET, ...EXIT, ...SYSCALL])).toMatchObject([{ verdict: SITE, reason: "sweep", number: 60 }]);
  });

  test("two readings of the same bytes", () => {
    // je to the middle of a mov: both are reached.
    expect(findInCode([0x74, 0x01, 0xb8, ...SYSCALL, 0, 0, ...RET])).toMatchObject([
      { verdict: UNSURE, reason: "overlap" },
    ]);
  });

  test("needless prefixes", () => {
    expect(findInCode([0x48, ...SYSCALL, ...RET])).toMatchObject([{ verdict: UNSURE, reason: "prefix" }]);
  });

  test("no function is known", () => {
    expect(findIn(tinyElf([0x89, 0xf8, ...SYSCALL], []))).toMatchObject([
      { verdict: UNSURE, reason: "no boundary", start: 0, redZone: "unknown" },
    ]);
    expect(findIn(tinyElf([...EXIT, ...SYSCALL], []))).toMatchObject([{ verdict: SITE, number: 60, start: 0 }]);
  });

  test("each function is judged by itself", () => {
    const data = [...RET, 0xb8];
    expect(findInCode(data, [...SYSCALL, ...RET]).map((find) => [find.verdict, find.start])).toEqual([
      [SITE, TEXT + data.length],
    ]);
  });
});

describe("numbers", () => {
  test.each([
    ["mov $imm,%eax", EXIT, 60],
    ["mov $imm,%rax", [0x48, 0xc7, 0xc0, 15, 0, 0, 0], 15],
    ["xor %eax,%eax", [0x31, 0xc0], 0],
    ["mov $imm,%r8d", [0x41, 0xb8, 60, 0, 0, 0], -1],
    ["mov $large,%eax", [0xb8, 0, 0, 1, 0], -1],
    ["mov %edi,%eax", [0x89, 0xf8], -1],
    ["an instruction in between", [...EXIT, 0x90], -1],
  ])("%s", (_, code, number) => {
    expect(findInCode([...code, ...SYSCALL, ...RET])).toMatchObject([{ verdict: SITE, number }]);
  });
});

describe("red zones", () => {
  const PUSH_RBP = [0x55];
  const FRAME = [...PUSH_RBP, 0x48, 0x89, 0xe5];
  const STORE_RBP_8 = [0x89, 0x7d, 0xf8];
  test.each([
    ["nothing on the stack", [], "no"],
    ["mov %edi,-8(%rsp)", [0x89, 0x7c, 0x24, 0xf8], "yes"],
    ["mov %edi,-8(%rsp,%rcx)", [0x89, 0x7c, 0x0c, 0xf8], "yes"],
    ["vmovdqu32 %zmm0,-64(%rsp)", [0x62, 0xf1, 0x7e, 0x48, 0x7f, 0x44, 0x24, 0xff], "yes"],
    ["lea -8(%rsp),%rsi", [0x48, 0x8d, 0x74, 0x24, 0xf8], "yes"],
    ["lea -8(%rsp),%rsp", [0x48, 0x8d, 0x64, 0x24, 0xf8], "no"],
    ["a stack probe", [0x48, 0x83, 0x8c, 0x24, 0x00, 0xf0, 0xff, 0xff, 0x00], "no"],
    ["mov %edi,8(%rsp)", [0x89, 0x7c, 0x24, 0x08], "no"],
    ["below the frame pointer, nothing reserved", [...FRAME, ...STORE_RBP_8], "yes"],
    ["below the frame pointer, reserved", [...FRAME, 0x48, 0x83, 0xec, 0x10, ...STORE_RBP_8], "no"],
    ["below the frame pointer, pushed", [...FRAME, 0x53, ...STORE_RBP_8], "no"],
    ["below the frame pointer, more than reserved", [...FRAME, 0x53, 0x89, 0x7d, 0xec], "yes"],
    ["below the frame pointer, in a function that calls", [...FRAME, ...STORE_RBP_8, 0xe8, 0, 0, 0, 0], "no"],
    ["below rbp as a general register", STORE_RBP_8, "no"],
    ["below another copy of rsp", [0x48, 0x89, 0xe0, 0x89, 0x78, 0xf8], "unknown"],
    ["behind the system call", [0x74, 0x03, ...SYSCALL, ...RET, 0x89, 0x7c, 0x24, 0xf8], "yes"],
    ["behind the system call, in code that is only jumped to", [0xff, 0xe0, 0x89, 0x7c, 0x24, 0xf8], "yes"],
    ["below the frame pointer, in code that is only jumped to", [0xff, 0xe0, ...FRAME, ...STORE_RBP_8], "yes"],
    ["overlapping instructions", [0x74, 0x01, 0xb8, 0x89, 0x7c, 0x24, 0xf8, 0x90], "yes"],
    ["undecodable code", [0x74, 0x03, ...SYSCALL, ...RET, 0x06], "unknown"],
  ])("%s: %s", (_, code, redZone) => {
    const [first] = findInCode([...code, ...SYSCALL, ...RET]);
    expect(first).toMatchObject({ verdict: SITE, redZone });
  });
});
