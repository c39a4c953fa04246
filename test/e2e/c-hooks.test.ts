/** The C ABI: what a hook is called for, what it sees, what its answers do. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { example, hook, hooked as hookedBy } from "./c-hooks.ts";
import { PATCHES } from "./patches.ts";
import { fixture, fixtureBy, type Options, run, scratch, zpoline } from "./run.ts";

const lines = (text: string) => text.split("\n").filter(Boolean);

/** Where everywhere.c makes a call: a program that posix_spawn starts passes the first three again. */
const PLACES = lines(`
constructor\nthread of a constructor\nfork of a constructor
main\nsyscall()\n64 threads\nfork\nvfork\nmain after vfork
constructor\nthread of a constructor\nfork of a constructor\nposix_spawn
clone\nclone, memory shared\nclone3, memory shared
signal handler\nsignal handler in a call that waits\natexit\ndestructor`);

describe.each(PATCHES)("%s", (patch) => {
  const hooked = (library: string, command: readonly string[], options: Options = {}) =>
    hookedBy(library, command, { patch, ...options });
  describe("a hook is called", () => {
    test.each([
      ["dynamic, PIE", []],
      ["dynamic, not PIE", ["-no-pie"]],
      ["libc's syscall instructions inlined", ["-O2", "-fomit-frame-pointer"]],
    ] as const)("for calls from everywhere in a program: %s", (_name, flags) => {
      const outcome = hooked(hook("answers"), [fixture("hooks/everywhere.c", ...flags)]);
      expect(outcome.stderr).toBe("");
      expect(lines(outcome.stdout)).toEqual(PLACES.map((place) => `${place}: hooked`));
      expect(outcome.status).toBe(0);
    });

    test("in the style of the C zpoline, with printf in the hook and in its start", () => {
      const { stdout, stderr, status } = hooked(hook("classic"), ["/bin/sh", "-c", "echo text"]);
      expect(stdout).toMatch(/^init\n(hook \d+\n)*hook 1\ntext\n(hook \d+\n)*hook 231\n$/);
      expect([stderr, status]).toEqual(["", 0]);
    });

    test("in programs that are started by others", () => {
      const { stdout } = hooked(hook("classic"), ["/bin/sh", "-c", "/bin/sh -c :; exec /bin/sh -c :"]);
      expect(stdout.match(/^init$/gm)).toHaveLength(3);
      expect(lines(stdout).filter((line) => line === "hook 231")).toHaveLength(2);
    });
  });

  test("a hook answers, makes other calls, makes several for one", () => {
    const { stdout, status } = hooked(hook("answers"), [fixture("hooks/shape.c"), "-7"]);
    expect(lines(stdout)).toEqual(["1", "-1 1", "1", "abcd", "5", "91", "-1 1"]);
    expect(status).toBe(0);
  });

  test("a hook may take the action of a signal with its own C library, and put it back", () => {
    const program = fixture("hooks/borrowed.c");
    const { stdout, stderr, status } = hooked(hook("borrows"), [program]);
    expect([stdout, stderr, status]).toEqual([run([program]).stdout, "", 0]);
  });

  test("hook_entry sees the registers of the program", () => {
    const { stdout, status } = hooked(hook("registers_seen"), [fixture("hooks/registers_told.c")]);
    expect(lines(stdout)).toHaveLength(19);
    for (const line of lines(stdout)) expect(line).toMatch(/ right$/);
    expect(status).toBe(0);
  });

  test("what zpoline trace shows is what the program got from the hook", () => {
    const env = { ...process.env, LIBZPHOOK: hook("answers") };
    const { lines: shown, stdout } = zpoline([fixture("hooks/shape.c")], { env, patch }, [
      "-e",
      "trace=getppid,getuid,write",
    ]);
    expect(shown.map((line) => line.replace(/ +=/, " ="))).toEqual([
      "getppid() = 1234567",
      'write(1, "1\\n", 2) = 2',
      "getuid() = -1 EPERM (Operation not permitted)",
      ...lines(stdout)
        .slice(1)
        .map((text) => `write(1, "${text}\\n", ${text.length + 1}) = ${text.length + 1}`),
      "+++ exited with 0 +++",
    ]);
  });

  test("vector state is the program's, unless ZPOLINE_VECTOR=leave", () => {
    const program = [fixture("registers.c")];
    expect(hooked(hook("thorough"), program).stdout).toMatch(/: same\n$/);
    expect(hooked(hook("thorough"), program, { env: { ZPOLINE_VECTOR: "leave" } }).stdout).toMatch(/: CHANGED\n$/);
    const general = hook("answers", "gcc", "-mgeneral-regs-only");
    expect(hooked(general, program, { env: { ZPOLINE_VECTOR: "leave" } }).stdout).toMatch(/: same\n$/);
  });

  test("a hook uses dlopen, threads of its own, the password file, name resolution", () => {
    const { stdout, stderr } = hooked(hook("libraries"), ["python3", "-c", "import os; print(os.getppid())"]);
    expect([stdout, stderr]).toEqual(["42\n", ""]);
  });

  test("a hook has a thread of its own", () => {
    const { stdout, stderr, status } = hooked(hook("background"), [fixture("processes.c")]);
    expect(stdout).toBe(run([fixture("processes.c")]).stdout);
    expect(stderr).toMatch(/the thread works\n$/);
    expect(status).toBe(0);
  });

  describe("a hook that cannot be used ends the program with status 125", () => {
    const text = join(scratch, "text.so");
    writeFileSync(text, "no library\n");
    const narrow = join(scratch, "narrow.so");
    const bytes = readFileSync(hook("nothing"));
    bytes[4] = 1; // ELFCLASS32
    writeFileSync(narrow, bytes);
    test.each([
      ["is not there", join(scratch, "none.so"), /none\.so.*\n {2}fix: /, "HOOK_LOAD"],
      ["is no library", text, /text\.so: .*\n {2}fix: /, "HOOK_LOAD"],
      ["is a directory", scratch, /.*\n {2}fix: /, "HOOK_LOAD"],
      ["is for 32 bits", narrow, /narrow\.so: .*ELFCLASS32.*\n {2}fix: /, "HOOK_LOAD"],
      ["lacks a symbol", () => hook("needs"), /zpoline_is_nowhere.*\n {2}fix: /, "HOOK_LOAD"],
      ["has no function for us", () => hook("nothing"), /\n {2}fix: /, "HOOK_INIT"],
      ["refuses", () => hook("faulty"), /__hook_init did not return 0\n {2}fix: /, "HOOK_INIT"],
    ] as const)("%s", (_name, library, message, code) => {
      const path = typeof library === "string" ? library : library();
      const { stdout, stderr, status } = hooked(path, ["/bin/echo", "text"]);
      expect(stderr).toMatch(/^zpoline: /);
      expect(stderr).toContain(`(${code})\n`);
      expect(stderr).toMatch(message);
      expect([stdout, status]).toEqual(["", 125]);
    });
  });

  test("in a program with musl", () => {
    const program = fixtureBy("musl-gcc", "hooks/shape.c");
    const { stdout, stderr, status } = hooked(hook("answers", "musl-gcc"), [program]);
    expect(stderr).toBe("");
    expect(lines(stdout)).toEqual(["1", "-1 1", "1", "abcd", "5", "91", "-1 1"]);
    expect(status).toBe(0);
  });

  describe("the examples", () => {
    test("tracer", () => {
      const { stdout, stderr, status } = hooked(example("tracer"), ["/bin/sh", "-c", "/bin/echo text; exit 3"]);
      expect([stdout, status]).toEqual(["text\n", 3]);
      for (const line of lines(stderr)) expect(line).toMatch(/^\d+: system call \d+\(.*\)( = -?\d+)?$/);
      expect(stderr).toMatch(/: system call 1\(0x1, 0x\w+, 0x5, .*\) = 5\n/);
      expect(stderr).toMatch(/: system call 231\(0x3, .*\)\n$/);
    });

    test("count", () => {
      const program = fixture("hooks/asks.c"); // 2 threads, 1000 calls of getpgrp each
      const { stderr, status } = hooked(example("count"), [program]);
      const [first = ""] = lines(stderr);
      const pid = first.slice(0, first.indexOf(":"));
      expect(stderr).toContain(`${pid}:      2000 calls of 111\n`);
      expect(stderr).toContain(`${pid}:         3 calls of 110\n`);
      const counts = lines(stderr).map((line) => Number(line.match(/^\d+: +(\d+) calls/)![1]));
      const total = counts.pop();
      expect(counts.reduce((a, b) => a + b, 0)).toBe(total);
      expect(status).toBe(0);
    });

    test("count, after fork", () => {
      const { stderr } = hooked(example("count"), ["/bin/sh", "-c", "(:); exit"]);
      const pids = new Set(lines(stderr).map((line) => line.split(":")[0]));
      expect(pids.size).toBe(2);
      expect(stderr.match(/ 1 calls of 231$/gm)).toHaveLength(2);
    });

    test("deny", () => {
      const file = join(scratch, "secret");
      writeFileSync(file, "secret\n");
      const { stdout, stderr, status } = hooked(example("deny"), ["cat", file, "/dev/null"], {
        env: { DENY: `/none:${file}` },
      });
      expect([stdout, status]).toEqual(["", 1]);
      expect(stderr).toMatch(/^deny: system call 257 at 0x\w+: .*secret\ncat: .*secret: Permission denied\n$/);
      expect(run(["cat", file]).stdout).toBe("secret\n");
      expect(hooked(example("deny"), ["cat", file]).status).toBe(125);
    });
  });
});
