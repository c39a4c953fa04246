/** Places of parameters and local variables: gdb, at every instruction of a function, either has the right value or says that it is lost. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { writeExecutable } from "../../src/elf/write.ts";
import { compileText } from "./guest-fixture.ts";

const directory = mkdtempSync(join(tmpdir(), "zpoline-variables-"));
afterAll(() => rmSync(directory, { recursive: true }));

/** `work` has parameters in registers and on the stack, calls (so that they are saved), and enough values to spill. */
const GUEST = `
import { syscall6 } from "./std/raw";
// @ts-ignore: decorator
@unmanaged class Point { x: u64; y: u32; next: Point; }
let counter: u64 = 40;
const memory0: usize = memory.data(64, 16);
function point(): Point { return changetype<Point>(memory0); }
// Not inlined: called from two places, with a loop.
function shake(v: u64): u64 { while (v > 99) v = (v >> 1) ^ counter++; return v; }
export function work(p: Point, a: u64, b: i32, c: bool, d: u8, e: u64, f: u64, g: i32): u64 {
  let sum: u64 = 0;
  for (let i: u64 = 0; i < 3; i++) {
    sum += shake(a + i) * shake(e ^ i) + p.x;
    if (c) sum ^= shake(f) * (<u64>b + shake(d)) - a * e + f;
  }
  p.y = <u32>(sum + g);
  return sum + shake(sum) + shake(a) * g;
}
export function start(): void {
  const p = point();
  p.x = 7;
  p.next = p;
  syscall6(231, work(p, 1001, -5, true, 200, 3003, 4004, -6) & 1, 0, 0, 0, 0, 0);
}
`;

const EXPECTED: Readonly<Record<string, string>> = {
  a: "1001",
  b: "-5",
  c: "true|1",
  d: "200",
  e: "3003",
  f: "4004",
  g: "-6",
};

/** Runs a program under gdb, instruction by instruction through `work`; gives what `line` prints (Python) at each. */
async function stepThrough(guest: string, line: string): Promise<{ stdout: string; steps: string[] }> {
  const { object } = await compileText({ "main.ts": guest });
  const program = join(directory, "program");
  writeFileSync(program, writeExecutable([object], { entry: "start" }), { mode: 0o755 });
  const script = join(directory, "script.py");
  writeFileSync(
    script,
    [
      "import gdb",
      "gdb.execute('break *work')",
      "gdb.execute('run')",
      "for step in range(4000):",
      "    frame = gdb.newest_frame()",
      "    if frame.name() != 'work':",
      "        if frame.name() not in ('main/shake',): break",
      "        gdb.execute('finish', to_string=True)",
      "        continue",
      `    print('STEP', ${line})`,
      "    gdb.execute('stepi', to_string=True)",
      "print('POINT', gdb.parse_and_eval('counter'))",
    ].join("\n"),
  );
  const stdout = execFileSync("gdb", ["-batch", "-nx", "-ex", "set debuginfod enabled off", "-x", script, program], {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "ignore"],
  });
  return { stdout, steps: stdout.split("\n").filter((text) => text.startsWith("STEP")) };
}

test("each parameter has its value wherever it has a place", async () => {
  const parameters = "*['%s=%s' % (s.name, s.value(frame)) for s in frame.block() if s.is_argument]";
  const { stdout, steps } = await stepThrough(GUEST, parameters);
  expect(steps.length).toBeGreaterThan(100);
  const seen = new Map<string, number>();
  for (const step of steps)
    for (const [, name = "", value = ""] of step.matchAll(/(\w+)=(<optimized out>|\S+)/g)) {
      if (value === "<optimized out>") continue;
      seen.set(name, (seen.get(name) ?? 0) + 1);
      const expected = EXPECTED[name];
      if (expected !== undefined) expect(expected.split("|")).toContain(value);
    }
  expect([...seen.keys()].sort()).toEqual(["a", "b", "c", "d", "e", "f", "g", "p"]);
  for (const [name, count] of seen) expect([name, count > 0.3 * steps.length]).toEqual([name, true]);
  expect(Number(/POINT (\d+)/.exec(stdout)?.[1])).toBeGreaterThan(40);
});

/** Each statement has a line of its own; the comments name the states of the loop. */
const LOCALS = `
import { syscall6 } from "./std/raw";
let counter: u64 = 40;
function shake(v: u64): u64 { while (v > 99) v = (v >> 1) + (counter & 3); return v; }
export function work(from: u64, bias: i32): u64 {
  let sum: u64 = 0;
  let step: i32 = -7;
  let twice: u64 = (from * 2) ^ counter;
  for (let i: u64 = 0; i < 7; i++) {
    counter += shake(i + 200); // before
    sum += i * 3;
    counter ^= sum; // after
    if (sum & 1) {
      step -= 2;
      counter += step; // odd
    }
    bias += 1;
    counter ^= shake(<u64>(bias + 200)) + twice; // later
  }
  const last: u64 = sum + twice;
  counter += shake(last); // end
  return counter + last + step;
}
export function start(): void {
    syscall6(231, work(1001, -50) & 1, 0, 0, 0, 0, 0);
}
`;

test("each local variable has its value at each line, or is optimised out", async () => {
  const names = ["sum", "step", "twice", "i", "bias", "last", "from"];
  const lines = LOCALS.split("\n");
  const values = "frame.find_sal().line, *['%s=%s' % (s.name, s.value(frame)) for s in frame.block()]";
  const { steps } = await stepThrough(LOCALS, values);
  expect(steps.length).toBeGreaterThan(100);
  const seen = new Map<string, number>();
  // What the source says: the state of the loop at its lines.
  const sumBefore = (i: number): number => (3 * (i * i - i)) / 2;
  const oddBefore = (i: number): number =>
    Array.from({ length: i }, (_, k) => sumBefore(k + 1) & 1).reduce((a, b) => a + b, 0);
  for (const step of steps) {
    const mark = /\/\/ (\w+)/.exec(lines[Number(step.split(" ")[1]) - 1]!)?.[1];
    const now = new Map<string, number>();
    for (const [, name = "", value = ""] of step.matchAll(/(\w+)=(<optimized out>|\S+)/g)) {
      expect(names).toContain(name);
      if (value === "<optimized out>") continue;
      now.set(name, Number(value));
      seen.set(name, (seen.get(name) ?? 0) + 1);
    }
    const check = (name: string, expected: number): void => {
      if (now.has(name)) expect([step, name, now.get(name)]).toEqual([step, name, expected]);
    };
    check("from", 1001);
    check("twice", 2002 ^ 40);
    check("last", sumBefore(7) + (2002 ^ 40));
    const i = now.get("i");
    if (i === undefined || mark === undefined || mark === "end") continue;
    expect(i).toBeLessThan(7);
    check("sum", sumBefore(mark === "before" ? i : i + 1));
    check("step", -7 - 2 * oddBefore(mark === "odd" || mark === "later" ? i + 1 : i));
    check("bias", -50 + (mark === "later" ? i + 1 : i));
  }
  expect([...seen.keys()].sort()).toEqual([...names].sort());
  for (const name of ["sum", "step", "i", "bias"])
    expect([name, seen.get(name)! > 0.3 * steps.length]).toEqual([name, true]);
});
