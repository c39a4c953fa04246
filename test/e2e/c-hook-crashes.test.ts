/** A hook that crashes: what is said, how the process ends, and how it goes on with ZPOLINE_HOOK_CRASH=bypass. */
import { describe, expect, test } from "vitest";
import { hook, hooked as hookedBy } from "./c-hooks.ts";
import { PATCHES } from "./patches.ts";
import { fixture, type Options } from "./run.ts";

const CRASHES = [
  ["write", "SIGSEGV", /memory at 0x1\b/],
  ["jump", "SIGSEGV", /memory at 0x10000000000\b/],
  ["abort", "SIGABRT", /libc|libzpoline/],
  ["divide", "SIGFPE", /faulty-gcc\.so\+0x/],
  ["illegal", "SIGILL", /faulty-gcc\.so\+0x/],
  ["recursion", "SIGSEGV", /used up its stack of 256 KiB/],
] as const;

describe.each(PATCHES)("%s", (patch) => {
  const hooked = (library: string, command: readonly string[], options: Options = {}) =>
    hookedBy(library, command, { patch, ...options });
  function crash(fault: string, more: NodeJS.ProcessEnv = {}, ...args: readonly string[]) {
    return hooked(hook("faulty"), [fixture("hooks/asks.c"), ...args], { env: { HOOK_FAULT: fault, ...more } });
  }

  describe("the process dies of it, after a report", () => {
    test.each(CRASHES)("%s", (fault, signal, detail) => {
      const outcome = crash(fault);
      expect(outcome.stdout).toBe("hook\n");
      expect(outcome.stderr).toMatch(new RegExp(`^zpoline: the hook crashed: ${signal} \\(HOOK_CRASHED\\)\n`));
      expect(outcome.stderr).toContain("in the program's system call 110");
      expect(outcome.stderr).toMatch(detail);
      expect(outcome.signal).toBe(signal);
    });

    test.each(CRASHES)("%s, whatever handlers the program has", (fault, signal) => {
      const outcome = crash(fault, {}, "handler");
      expect([outcome.stdout, outcome.signal]).toEqual(["hook\n", signal]);
      // The program's handlers are without SA_ONSTACK: when the stack is used up the kernel has none to run them on.
      if (fault !== "recursion") expect(outcome.stderr).toContain("(HOOK_CRASHED)");
    });
  });

  describe("with ZPOLINE_HOOK_CRASH=bypass the program goes on without the hook", () => {
    test.each(CRASHES)("%s", (fault, signal) => {
      const outcome = crash(fault, { ZPOLINE_HOOK_CRASH: "bypass" });
      expect(outcome.stdout).toBe("hook\nkernel\nkernel\n");
      expect(outcome.stderr.match(/HOOK_CRASHED/g)).toHaveLength(1);
      expect(outcome.stderr).toContain(signal);
      expect([outcome.status, outcome.signal]).toEqual([0, null]);
    });
  });

  test("a hook that does not crash is not blamed for the program's own crash", () => {
    const outcome = hooked(hook("answers"), [
      "python3",
      "-c",
      "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)",
    ]);
    expect([outcome.stderr, outcome.signal]).toEqual(["", "SIGSEGV"]);
  });
});
