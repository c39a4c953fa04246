/** Under the net nothing is rewritten until it pays, and then only what nobody is inside of. */
import { beforeAll, describe, expect, test } from "vitest";
import { libraryPath } from "../../src/session/library.ts";
import { fixture, run } from "./run.ts";

let program: string;
beforeAll(() => {
  program = fixture("deferred.c");
});

const see = (patch: string, name: string, more: NodeJS.ProcessEnv = {}) =>
  run([program, name], {
    env: { PATH: process.env["PATH"], LD_PRELOAD: libraryPath(), ZPOLINE_PATCH: patch, ...more },
  });
const said = (stdout: string) => ({ stdout, stderr: "", status: 0, signal: null });

describe("under jump+trap code is rewritten", () => {
  const rows = [
    ["calls", "0 2", "after many calls"],
    ["behind", "0 1", "also around the very call that comes when it is time"],
    ["thread", "0 1", "before a thread runs"],
    ["seccomp", "0 1", "before a filter of system calls"],
    ["vfork", "0 0", "not by a child that shares memory"],
    ["spawn", "0 0", "not for a child that shares memory"],
    ["handler", "0 2", "after many calls, too, where a handler is set that has not run"],
    ["handled", "0 1", "one instruction at a time where a handler has run"],
    ["interrupted", "0 1", "not where a signal has interrupted it"],
  ] as const;

  test.each(rows)("%s: %s: %s", (name, seen) => {
    expect(see("jump+trap", name)).toEqual(said(`${name}: ${seen}\n`));
  });
});

test("with an audit log, and without the net, it is rewritten at the start", () => {
  expect(see("jump+trap", "calls", { ZPOLINE_AUDIT: "/dev/null" })).toEqual(said("calls: 1 2\n"));
  expect(see("jump", "calls")).toEqual(said("calls: 1 2\n"));
});

describe("a call in code of which nothing is known", () => {
  const learned = (patch: string, ...more: readonly string[]) =>
    run([fixture("learned.c"), ...more], {
      env: { PATH: process.env["PATH"], LD_PRELOAD: libraryPath(), ZPOLINE_PATCH: patch },
    });
  const one = "wrong results of one thread: 0\n";
  const many = "wrong results of many: 0\n";

  test("is rewritten when it has trapped, and not before", () => {
    expect(learned("jump+trap")).toEqual(said(`${one}${many}a jump: 1\n`));
    expect(learned("jump")).toMatchObject({ stdout: `${one}${many}a jump: 0\n`, status: 0 });
    expect(learned("trap")).toEqual(said(`${one}${many}a jump: 0\n`));
  });

  test("by threads that run it at the same time", () => {
    for (let i = 0; i < 5; i++) expect(learned("jump+trap", "many")).toEqual(said(`${many}a jump: 1\n`));
  });
});
