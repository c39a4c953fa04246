/** The programs that the doctor runs: what they are, and what they answer. */
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { cacheFacts } from "../../src/doctor/facts.ts";
import { BURSTS, launcher, meter, probe, QUESTIONS, STARTS, WRITTEN } from "../../src/doctor/probe.ts";
import { findLoader, librariesOf, makePrograms, type Programs, run } from "../../src/doctor/programs.ts";
import { disassemble } from "../helpers/disassemble.ts";

const scratch = mkdtempSync(join(tmpdir(), "zpoline-test-"));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

describe("the machine code", () => {
  test("of the meter: the number, the call and the loop are all that is measured", () => {
    const lines = disassemble(meter().bytes);
    const call = lines.indexOf("mov eax,6Eh");
    expect(lines.slice(call, call + 3)).toEqual(["mov eax,6Eh", "syscall", "dec ebx"]);
    expect(lines[call + 3]).toMatch(/^jne /);
  });

  test("of the probe: one call is outside of the range in which calls are allowed, behind all others", () => {
    const lines = disassemble(probe().bytes);
    expect(lines.slice(-5)).toEqual(["syscall", "ud2", "syscall", "ret", "nop"]);
    expect(lines.filter((line) => line === "int 80h")).toHaveLength(1);
  });

  test("of the launcher: the child executes, and ends with 127 where that fails", () => {
    const lines = disassemble(launcher().bytes);
    expect(lines.slice(-5)).toEqual(["mov eax,3Bh", "syscall", "mov edi,7Fh", "mov eax,0E7h", "syscall"]);
  });
});

describe("the programs", () => {
  let programs: Programs;
  beforeAll(() => {
    programs = makePrograms([scratch]) as Programs;
  });
  const ask = (question: keyof typeof QUESTIONS) => run(programs.probe, [QUESTIONS[question]], 1);

  test("every question is answered with one word", () => {
    for (const question of Object.keys(QUESTIONS) as (keyof typeof QUESTIONS)[])
      expect(ask(question)).toMatchObject({ words: [expect.anything()], signal: null, stderr: "" });
  });

  test("text is written through /proc/self/mem", () => {
    expect(ask("text").words).toEqual([WRITTEN]);
  });

  test("the meter measures, and tells what the kernel answered", () => {
    const { words } = run(programs.meter as string, ["-"], BURSTS + 1);
    expect(words?.at(-1)).toBe(BigInt(process.pid));
    expect(words?.slice(0, BURSTS).every((time) => time > 0n)).toBe(true);
    expect(run(programs.meter as string, [], 0).words).toEqual([]);
  });

  test("the launcher counts what does not end with 0", () => {
    expect(run(programs.launcher, [programs.meter as string], STARTS + 1).words?.at(-1)).toBe(0n);
    expect(run(programs.launcher, ["/bin/false"], STARTS + 1).words?.at(-1)).toBe(BigInt(STARTS));
    expect(run(programs.launcher, ["/no/such/program"], STARTS + 1).words?.at(-1)).toBe(BigInt(STARTS));
  });

  test("go where they can be executed, and away again", () => {
    const parent = join(scratch, "parent");
    mkdirSync(parent);
    const made = makePrograms(["/proc/self", "/no/such/directory", parent]);
    expect(readdirSync(parent)).toHaveLength(1);
    made?.remove();
    expect(readdirSync(parent)).toEqual([]);
    expect(makePrograms(["/proc/self"])).toBeUndefined();
  });
});

test("the loader is that of this process", () => {
  expect(findLoader()).toMatch(/^\/.*ld-/);
  expect(librariesOf("/lib64/ld-linux-x86-64.so.2")).toEqual(["libc.so.6"]);
  expect(librariesOf("/lib/ld-musl-x86_64.so.1")).toEqual([]);
});

describe("the cache's directory", () => {
  const home = join(scratch, "home");
  const cache = join(home, ".cache");
  const facts = (env: NodeJS.ProcessEnv) => cacheFacts(env);
  beforeAll(() => mkdirSync(home));

  test("is where the library puts it, in all its states", () => {
    expect(facts({ ZPOLINE_CACHE: "off", HOME: home })).toEqual({ path: null, state: "off" });
    expect(facts({})).toEqual({ path: null, state: "none" });
    expect(facts({ HOME: home })).toEqual({ path: join(cache, "zpoline"), state: "none" });
    mkdirSync(cache);
    expect(facts({ HOME: home })).toEqual({ path: join(cache, "zpoline"), state: "new" });
    mkdirSync(join(cache, "zpoline"), { mode: 0o700 });
    expect(facts({ HOME: home })).toEqual({ path: join(cache, "zpoline"), state: "used" });
    chmodSync(join(cache, "zpoline"), 0o777);
    expect(facts({ HOME: home, XDG_CACHE_HOME: "relative" })).toEqual({
      path: join(cache, "zpoline"),
      state: "untrusted",
    });
    expect(facts({ HOME: home, XDG_CACHE_HOME: home })).toEqual({ path: join(home, "zpoline"), state: "new" });
    expect(facts({ HOME: home, ZPOLINE_CACHE: join(scratch, "own") })).toEqual({
      path: join(scratch, "own"),
      state: "new",
    });
    expect(cacheFacts({ HOME: home, XDG_CACHE_HOME: home }, 65534).state).toBe("none");
  });
});
