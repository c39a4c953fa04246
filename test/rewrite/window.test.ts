/** Windows and stubs, judged by iced-x86: over real programs, and over code made up at random. */
import fc from "fast-check";
import { FlowControl } from "iced-x86";
import { beforeAll, describe, expect, test } from "vitest";
import { type CodeLine, codeLines } from "../helpers/code.ts";
import { codeRanges, functionStarts, type MappedElf, mapElf, present } from "../helpers/mapped-elf.ts";
import { ENTRY, type Planned, Planner, STUB, TAIL_ENTRY } from "./planner.ts";
import { TEXT, tinyElf } from "./tiny-elf.ts";

let planner: Planner;

beforeAll(async () => {
  planner = await Planner.load();
});

const JUMP_SIZE = 5;

/** All instructions by address: decoded from the start of each function on. */
function linesOf(elf: MappedElf): Map<number, CodeLine> {
  const lines = new Map<number, CodeLine>();
  const starts = functionStarts(elf);
  for (const range of codeRanges(elf)) {
    const inside = starts.filter((start) => start > range.start && start < range.end);
    const boundaries = [range.start, ...inside, range.end];
    for (const [i, start] of boundaries.slice(0, -1).entries()) {
      for (const line of codeLines(elf.bytes.subarray(start - elf.low, boundaries[i + 1]! - elf.low), start)) {
        lines.set(line.address, line);
      }
    }
  }
  return lines;
}

const hex = (value: number) => value.toString(16);

/** What is wrong with the window, as far as it shows in the text around it. */
function windowFaults({ address, before, after, one }: Planned, lines: ReadonlyMap<number, CodeLine>): string[] {
  const faults: string[] = [];
  const from = address - before;
  const behind = address + 2 + after;
  if (behind - from < JUMP_SIZE) faults.push("too short");
  let goesOn = true;
  for (let at = from; at < behind && goesOn; ) {
    const line = lines.get(at);
    if (line === undefined) return [...faults, `no instruction at ${hex(at)}`];
    if (at === from && one && line.length < JUMP_SIZE) faults.push("the first one is too short");
    if (at < address && line.flow !== FlowControl.Next) faults.push(`control flow before the site: ${line.text}`);
    if (at >= address + 2) goesOn = line.flow !== FlowControl.Return && line.flow !== FlowControl.UnconditionalBranch;
    if (at >= address + 2 && line.flow === FlowControl.Call) faults.push(`a call behind the site: ${line.text}`);
    at += line.length;
    if (at > address && at < address + 2) faults.push("an instruction reaches over the site");
  }
  return faults;
}

/** Direct branches into the window, wherever they stand. A jump of one instruction leaves the site, which may be passed by. */
function branchFaults(planned: readonly Planned[], lines: ReadonlyMap<number, CodeLine>): string[] {
  const inside = new Map<number, number>();
  for (const { address, before, after } of planned) {
    const end = Math.max(address + 1, address - before + JUMP_SIZE, after ? address + 2 + after : 0);
    for (let at = address - before + 1; at < end; at++) inside.set(at, address);
  }
  return [...lines.values()].flatMap(({ address, target, text }) => {
    const site = target === undefined ? undefined : inside.get(target);
    return site === undefined ? [] : [`${hex(address)}: ${text} leads into the window of ${hex(site)}`];
  });
}

/** What the stub has to be, line by line. */
function expectedStub({ address, before, after }: Planned, bytes: (from: number, to: number) => Uint8Array): string[] {
  const text = (from: number, to: number) => [...codeLines(bytes(from, to), from)];
  const behind = address + 2;
  const head = text(address - before, address).map((line) => line.text);
  const lea = (register: string, target: number) => `lea ${register},[${icedHex(target)}]`;
  const entry = `jmp qword ptr [${icedHex(after ? TAIL_ENTRY : ENTRY)}]`;
  if (after === 0) return [...head, lea("rcx", behind), entry];
  const followers = text(behind, behind + after);
  const end = followers.findIndex(
    ({ flow }) => flow === FlowControl.Return || flow === FlowControl.UnconditionalBranch,
  );
  const moved = end < 0 ? followers : followers.slice(0, end + 1);
  const back = end < 0 ? [`jmp ${icedPlace(behind + after)}`] : [];
  return [
    ...head,
    lea("r11", behind),
    "lea rcx,[TAIL]",
    entry,
    lea("rcx", behind),
    ...moved.map((line) => line.text),
    ...back,
  ];
}

/** Numbers as iced writes them: of memory, and where a branch leads. */
const icedHex = (value: number) =>
  `${value
    .toString(16)
    .toUpperCase()
    .replace(/^[A-F]/, "0$&")}h`;
const icedPlace = (value: number) => `${value.toString(16).toUpperCase().padStart(16, "0")}h`;

/** The stub as it is; the address of the tail is shown by name where it is right. */
function actualStub({ before, after, stub }: Planned): string[] {
  const lines = [...codeLines(stub, STUB)];
  if (after === 0) return lines.map(({ text }) => text);
  const entry = lines.findIndex(({ text, address }) => text.startsWith("jmp qword") && address >= STUB + before);
  const tail = lines[entry + 1]?.address ?? 0;
  return lines.map(({ text }) => (text === `lea rcx,[${icedHex(tail)}]` ? "lea rcx,[TAIL]" : text));
}

describe("real programs", () => {
  const PROGRAMS = present(
    "/lib/x86_64-linux-gnu/libc.so.6",
    "/lib64/ld-linux-x86-64.so.2",
    "/lib/ld-musl-x86_64.so.1",
    "/bin/busybox",
    "/lib/x86_64-linux-gnu/libcrypto.so.3",
    "/usr/bin/python3",
  );

  test.each(PROGRAMS)("%s", (path) => {
    const elf = mapElf(path);
    const lines = linesOf(elf);
    const bytes = (from: number, to: number) => elf.bytes.subarray(from - elf.low, to - elf.low);
    for (const prefersJump of [false, true]) {
      const planned = planner.place(elf)(elf.bytes, prefersJump);
      const jumps = planned.filter(({ patch, why }) => patch === "jump" && why !== "cancellation");
      const faults = jumps.flatMap((site) =>
        windowFaults(site, lines).map((fault) => `${hex(site.address)}: ${fault}`),
      );
      expect([...faults, ...branchFaults(jumps, lines)]).toEqual([]);
      for (const site of jumps)
        expect([site.address, actualStub(site)]).toEqual([site.address, expectedStub(site, bytes)]);
    }
  });
});

/** What is planned where a jump is the usual patch, for a text of functions with unwind tables, one after the other. */
function planIn(functions: readonly (readonly number[])[], data: readonly number[] = []): Planned[] {
  return planner.place(elfOf(functions, data))(elfOf(functions, data).bytes, true);
}

/** `data` lies at DATA. */
function elfOf(functions: readonly (readonly number[])[], data: readonly number[]): MappedElf {
  let at = 0;
  const described = functions.map((code) => {
    at += code.length;
    return { at: at - code.length, size: code.length };
  });
  const elf = tinyElf(functions.flat(), described);
  elf.bytes.set(data, DATA);
  return elf;
}

/** In the page of the unwind tables. */
const DATA = 0x2800;
const SYSCALL = [0x0f, 0x05];
const RET = [0xc3];
/** mov $39, %eax; mov %rdi, %rsi; cmp $-4096, %rax. */
const MOV = [0xb8, 39, 0, 0, 0];
const COPY = [0x48, 0x89, 0xfe];
const CMP = [0x48, 0x3d, 0x00, 0xf0, 0xff, 0xff];
const int32 = (value: number) => [value & 0xff, (value >> 8) & 0xff, (value >> 16) & 0xff, (value >> 24) & 0xff];

const none = { patch: "none", before: 0, after: 0 };
const noRoom = { ...none, why: "no window" };
const unknownBranches = { ...none, why: "unknown branches" };
const unknownCode = { ...none, why: "unknown code" };

describe("windows", () => {
  test.each<[string, readonly (readonly number[])[], object]>([
    ["the instruction before", [[...MOV, ...SYSCALL, ...RET]], { before: 5, after: 0, one: true }],
    ["one farther before", [[...MOV, ...COPY, ...SYSCALL, ...RET]], { before: 8, after: 0, one: true }],
    ["two together", [[...COPY, ...COPY, ...SYSCALL, ...RET]], { before: 3, after: 0, one: false }],
    ["two short ones", [[0x31, 0xc0, 0x31, 0xff, ...SYSCALL, ...RET]], { before: 4, after: 0, one: false }],
    ["what follows", [[...SYSCALL, ...CMP, ...RET]], { before: 0, after: 6, one: false }],
    ["one before, and what follows", [[0x31, 0xc0, ...SYSCALL, ...RET]], { before: 2, after: 1, one: false }],
    ["ret, and padding", [[...SYSCALL, ...RET, 0x90, 0x90], RET], { before: 0, after: 3, one: false }],
    ["ret, and no room", [[...SYSCALL, ...RET], RET], noRoom],
    ["a branch to the site", [[0x74, 5, ...MOV, ...SYSCALL, ...CMP, ...RET]], { before: 0, after: 6 }],
    ["a branch to the site, and any jump", [[0x74, 5, ...MOV, ...SYSCALL, ...CMP, 0xff, 0xe0]], unknownBranches],
    ["a branch behind the site", [[0x74, 2, ...SYSCALL, ...CMP, ...RET]], noRoom],
    ["a branch into the instruction", [[0x74, 1, ...MOV, ...SYSCALL, ...CMP, ...RET]], { patch: "none" }],
    [
      "a branch to the site from outside",
      [
        [0x0f, 0x84, ...int32(14), ...MOV, ...SYSCALL, ...CMP, ...RET],
        [0xe9, ...int32(-14)],
      ],
      { before: 0, after: 6 },
    ],
    [
      "a branch to the site from a longer function outside",
      [
        [0x0f, 0x84, ...int32(14), ...MOV, ...SYSCALL, ...CMP, ...RET],
        [0xe9, ...int32(-14), ...Array<number>(16).fill(0x90)],
      ],
      { before: 0, after: 6 },
    ],
    ["any jump", [[0x74, 9, ...COPY, ...COPY, ...SYSCALL, ...RET, 0xff, 0xe0]], unknownBranches],
    ["a call before", [[0xe8, 0, 0, 0, 0, ...SYSCALL, 0xe8, 0, 0, 0, 0, ...RET]], noRoom],
    ["endbr64 before", [[...MOV, 0xf3, 0x0f, 0x1e, 0xfa, ...SYSCALL, ...RET]], noRoom],
    ["a loop behind", [[...SYSCALL, 0xe2, 0, 0x90, ...RET]], noRoom],
    ["how signal handlers return", [[0x48, 0xc7, 0xc0, 15, 0, 0, 0, ...SYSCALL]], { patch: "none", why: "sigreturn" }],
  ])("%s", (_, functions, window) => {
    expect(planIn(functions)).toMatchObject([window]);
  });

  test("windows do not overlap", () => {
    const code = [...SYSCALL, ...CMP, ...SYSCALL, ...COPY, ...SYSCALL, ...RET];
    expect(planIn([code])).toMatchObject([{ before: 0, after: 6 }, { before: 0, after: 3 }, noRoom]);
  });

  test.each([
    ["distances", (table: number, to: number) => int32(to - table)],
    ["addresses", (_: number, to: number) => [...int32(to), 0, 0, 0, 0]],
  ])("a jump table of %s leads to the site", (_, entry) => {
    const lea = [0x48, 0x8d, 0x05, ...int32(DATA - (TEXT + 7))];
    const code = [...lea, 0x74, 2, 0xff, 0xe0, ...MOV, ...SYSCALL, ...CMP, ...RET];
    const [site, other] = [TEXT + 16, TEXT + 11];
    expect(planIn([code], entry(DATA, other))).toMatchObject([{ before: 5, one: true }]);
    expect(planIn([code], [...entry(DATA, other), ...entry(DATA, site)])).toMatchObject([unknownBranches]);
  });

  test("a jump through the address of a table leads to the site", () => {
    const code = [0x74, 7, 0xff, 0x24, 0xc5, ...int32(DATA), ...MOV, ...SYSCALL, ...CMP, ...RET];
    const entry = (to: number) => [...int32(to), 0, 0, 0, 0];
    expect(planIn([code], entry(TEXT + 9))).toMatchObject([{ before: 5, one: true }]);
    expect(planIn([code], [...entry(TEXT + 9), ...entry(TEXT + 14)])).toMatchObject([unknownBranches]);
  });
});

describe("a site that has been run", () => {
  test("in a known function: one instruction, the first bytes of which lie in one word", () => {
    const elf = (before: number) =>
      elfOf([[...Array<number>(before).fill(0x90), ...MOV, ...COPY, ...SYSCALL, ...RET]], []);
    expect(planner.prover(elf(3))(TEXT + 11)).toMatchObject({ patch: "jump", before: 8, one: true });
    expect(planner.prover(elf(4))(TEXT + 12)).toMatchObject(noRoom);
    expect(planner.prover(elfOf([[...COPY, ...COPY, ...SYSCALL]], []))(TEXT + 6)).toMatchObject({ patch: "none" });
  });

  test("in no known function: what all decoding before it agrees on", () => {
    // 256 bytes of code.
    const code = Array.from({ length: 16 }, () => [
      0x01,
      0xd8,
      0x85,
      0xff,
      0x31,
      0xd2,
      ...Array<number>(10).fill(0x90),
    ]).flat();
    const prove = (...text: readonly number[]) =>
      planner.prover(tinyElf([...text], []))(TEXT + text.lastIndexOf(0x05) - 1);
    expect(prove(...code, ...MOV, ...COPY, ...SYSCALL, ...RET)).toMatchObject({ patch: "jump", before: 8, one: true });
    // Too little is known before it; a branch leads to it; decoding never agrees.
    expect(prove(...code.slice(128), ...MOV, ...SYSCALL)).toMatchObject(unknownCode);
    expect(prove(...code, ...MOV, ...COPY, ...SYSCALL, 0x74, 0xfc)).toMatchObject(unknownCode);
    const alike = Array.from({ length: 96 }, () => COPY).flat();
    expect(prove(...alike, ...MOV, ...COPY, ...SYSCALL, ...RET)).toMatchObject(unknownCode);
  });

  test("of libc: every site, as if no function were known", () => {
    const elf = mapElf("/lib/x86_64-linux-gnu/libc.so.6");
    const lines = linesOf(elf);
    const sites = planner
      .place(elf)(elf.bytes, true)
      .filter(({ patch }) => patch === "jump");
    const nameless = { ...elf, headerCount: 0 };
    const prove = planner.prover(nameless);
    const planned = sites.map(({ address }) => prove(address));
    const jumps = planned.filter(({ patch }) => patch === "jump");
    expect(jumps.flatMap((site) => windowFaults(site, lines).map((fault) => `${hex(site.address)}: ${fault}`))).toEqual(
      [],
    );
    expect(jumps.length).toBeGreaterThan(sites.length / 2);
  });
});

describe("code made up at random", () => {
  /** What must stay where it is, wherever else control flow would go on. */
  const IMMOVABLE = /^(call|endbr|loop|jrcxz|jecxz|xbegin|int|syscall|sysenter|hlt|ud|iret|jmp qword|jmp far|retf)/;
  const SITE = [0x0f, 0x05];

  /** One instruction: of libc, a branch, one with an operand relative to itself, or any bytes. */
  function instructions(): fc.Arbitrary<readonly number[]> {
    const elf = mapElf("/lib/x86_64-linux-gnu/libc.so.6");
    const real = [...linesOf(elf).values()].filter((_, i) => i % 97 === 0);
    const bytes = (length: number) => fc.array(fc.nat(255), { minLength: length, maxLength: length });
    const near = fc.constantFrom(0, 1, 2, 3, 5, 8, 0xf8, 0xfd, 0xfe, 0x20);
    const opened = [0x70, 0x75, 0x7f, 0xeb, 0xe0, 0xe3, 0xe2];
    return fc.oneof(
      { weight: 4, arbitrary: fc.constantFrom(...real).map((line) => bytesOf(elf, line)) },
      { weight: 1, arbitrary: fc.tuple(fc.constantFrom(...opened), near).map((both) => both) },
      {
        weight: 1,
        arbitrary: fc.tuple(fc.constantFrom(0x81, 0x84, 0x8f), bytes(4)).map(([op, to]) => [0x0f, op, ...to]),
      },
      // lea, mov, add, cmp with an immediate, push, movaps, jmp, a conditional move: with an operand at a distance from them.
      {
        weight: 2,
        arbitrary: fc
          .tuple(
            fc.constantFrom(
              [0x48, 0x8d],
              [0x8b],
              [0x4c, 0x03],
              [0x83],
              [0xff],
              [0x0f, 0x28],
              [0x0f, 0x44],
              [0x67, 0x8b],
            ),
            fc.constantFrom(0x05, 0x0d, 0x35, 0x3d),
            bytes(5),
          )
          .map(([op, modrm, rest]) => [...op, modrm, ...rest.slice(0, op[0] === 0x83 ? 5 : 4)]),
      },
      { weight: 1, arbitrary: fc.constantFrom([0x90], [0x0f, 0x1f, 0x00], [0xc3], [0xcc], [0xf3, 0x0f, 0x1e, 0xfa]) },
      {
        weight: 1,
        arbitrary: bytes(15)
          .map(firstOf)
          .filter(({ length }) => length > 0),
      },
    );
  }

  /** The bytes of the instruction that `bytes` begins with. */
  function firstOf(bytes: readonly number[]): readonly number[] {
    const [line] = codeLines(Uint8Array.from(bytes), 0);
    return line?.address === 0 ? bytes.slice(0, line.length) : [];
  }

  test("windows hold whole instructions that may move, stubs the same ones", () => {
    const room = tinyElf(Array<number>(256).fill(0x90), [{ at: 0, size: 256 }]);
    const plan = planner.place(room);
    const some = fc.array(instructions(), { maxLength: 5 });
    const seen = new Map<string, number>();
    const check = fc.property(some, some, fc.boolean(), (head, behind, prefersJump) => {
      const text = [...head.flat(), ...SITE, ...behind.flat(), 0xc3];
      const elf = tinyElf([...text, ...Array<number>(256 - text.length).fill(0xcc)], [{ at: 0, size: text.length }]);
      const code = elf.bytes.subarray(TEXT, TEXT + text.length);
      const reached = reachedLines(code, TEXT);
      const inLine = new Map([...codeLines(code, TEXT)].map((line) => [line.address, line]));
      const bytes = (from: number, to: number) => elf.bytes.subarray(from, to);
      const jumps = plan(elf.bytes, prefersJump).filter(({ patch }) => patch === "jump");
      for (const site of jumps) {
        const kind = site.one ? "one" : site.after ? "behind" : "several";
        seen.set(kind, (seen.get(kind) ?? 0) + 1);
        const lines = reached.has(site.address) ? reached : inLine;
        expect([...windowFaults(site, lines), ...branchFaults([site], lines)]).toEqual([]);
        expect(actualStub(site).map(wrapped)).toEqual(expectedStub(site, bytes).map(wrapped));
        const stub = actualStub(site).filter((line) => IMMOVABLE.test(line));
        expect(stub).toEqual([`jmp qword ptr [${icedHex(site.after ? TAIL_ENTRY : ENTRY)}]`]);
      }
    });
    fc.assert(check, { numRuns: 4000 });
    for (const kind of ["one", "several", "behind"]) expect(seen.get(kind)).toBeGreaterThan(50);
  });
});

/** Addresses have 32 bits where the guest runs here. */
const wrapped = (text: string) =>
  text.replace(/\b([0-9A-F]+)h\b/g, (_, digits: string) => hex(Number(BigInt.asUintN(32, BigInt(`0x${digits}`)))));

const ENDS = new Set([
  FlowControl.Return,
  FlowControl.UnconditionalBranch,
  FlowControl.IndirectBranch,
  FlowControl.Exception,
]);

/** The instructions of a function that control flow reaches, by address. */
function reachedLines(code: Uint8Array, start: number): Map<number, CodeLine> {
  const lines = new Map<number, CodeLine>();
  const pending = [start];
  for (let at = pending.pop(); at !== undefined; at = pending.pop()) {
    for (const line of codeLines(code.subarray(at - start), at)) {
      if (lines.has(line.address) || line.address !== at) break;
      lines.set(at, line);
      const { target, flow } = line;
      if (target !== undefined && target >= start && target < start + code.length) pending.push(target);
      if (ENDS.has(flow)) break;
      at += line.length;
    }
  }
  return lines;
}

function bytesOf(elf: MappedElf, { address, length }: CodeLine): number[] {
  return [...elf.bytes.subarray(address - elf.low, address - elf.low + length)];
}
