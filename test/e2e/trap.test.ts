/** Calls that trap: from code that was not rewritten, or made at run time; and the kinds of patch on kernels that cannot trap. */
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { libraryPath } from "../../src/session/library.ts";
import { audited } from "./audit.ts";
import { hook } from "./c-hooks.ts";
import { fixture, run, scratch, strace, zpoline } from "./run.ts";

const jit = fixture("jit.c");
const int80 = fixture("int80.c");
const plain = fixture("plain.c");
const deny = fixture("deny.c");
/** Each makes calls in code of its own: of these the hook must not hear, and they must not harm. */
const HOOKS = ["pass", "libraries", "thorough"] as const;
const TRAPS = ["trap", "jump+trap", "zero+trap"] as const;
const env = { PATH: process.env["PATH"], LD_PRELOAD: libraryPath() };

describe.each(TRAPS)("%s", (patch) => {
  test.each([
    "registers.c",
    "vectors.c",
    "flags.c",
    "redzone.c",
    "jit.c",
    "threads.c",
    "processes.c",
    "altstack.c",
    "int80.c",
  ])("%s: as natively", (source) => {
    const command = [fixture(source)];
    expect(run(command, { env: { ...env, ZPOLINE_PATCH: patch } })).toEqual(run(command));
  });

  test("calls of code made at run time are in the trace, and nothing is missing", () => {
    const calls = (lines: readonly string[]) =>
      lines.map((line) => line.replace(/^\d+\s+/, "")).filter((line) => /^get(p?pid|ppid)\(/.test(line));
    const { stdout, stderr, lines } = zpoline([jit], {}, ["-f", "--patch", patch]);
    expect(stdout).toBe(run([jit]).stdout);
    expect(stderr).toBe("");
    const names = calls(lines).map((line) => line.slice(0, line.indexOf("(")));
    expect(names.filter((name) => name === "getppid")).toHaveLength(12);
    expect(names).toEqual(calls(strace([jit]).lines).map((line) => line.slice(0, line.indexOf("("))));
  });

  test("calls by int $0x80 are in the trace by the names that strace shows", () => {
    const names = (lines: readonly string[]) =>
      lines.flatMap(
        (line) => line.match(/^\d+\s+(fork|vfork|waitpid|mmap2|getppid|exit_group|nanosleep)\(/)?.[1] ?? [],
      );
    const { stdout, stderr, lines } = zpoline([int80], {}, ["-f", "--patch", patch]);
    expect(stdout).toBe(run([int80]).stdout);
    expect(stderr).toBe("");
    const own = lines.filter((line) => /(0x|\(0, )/.test(line));
    expect(names(own)).toEqual(expect.arrayContaining(["fork", "vfork", "mmap2", "exit_group", "nanosleep"]));
    expect(names(lines).sort()).toEqual(names(strace([int80]).lines).sort());
  });

  test("a C hook does not get calls by int $0x80, which is a gap", () => {
    const { stdout, lines } = audited([int80], {
      ZPOLINE_PATCH: patch,
      LIBZPHOOK: fixture("hooks/pass.c", "-shared", "-fPIC"),
    });
    expect(stdout).toBe(run([int80]).stdout);
    expect(lines.filter(({ type }) => type === "gap").map(({ kind }) => kind)).toEqual(["int80"]);
  });

  test.each(HOOKS)("hook %s, with calls of its own", (name) => {
    const program = ["sh", "-c", "echo $(echo text | cat)"];
    const { stdout, status, lines } = audited(program, {
      ZPOLINE_PATCH: patch,
      LIBZPHOOK: hook(name),
      HOOK_LOG: join(scratch, "hook.log"),
    });
    const gaps = lines.filter(({ type }) => type === "gap");
    expect({ stdout, status, gaps }).toEqual({ stdout: "text\n", status: 0, gaps: [] });
  });

  test("the audit log tells of each site that trapped once", () => {
    const { lines } = audited([jit], { ZPOLINE_PATCH: patch });
    const trapped = lines.filter(({ patch: what }) => what === "trap").map(({ address }) => address);
    expect(trapped.length).toBeGreaterThan(2);
    expect(trapped).toEqual([...new Set(trapped)]);
    expect(lines.filter(({ type }) => type === "gap")).toEqual([]);
    expect(lines[0]).toMatchObject({ type: "start", patches: patch });
  });
});

describe("a kernel without Syscall User Dispatch", () => {
  const denied = (patch: string) =>
    run([deny, "user-dispatch", "--", plain], { env: { ...env, ZPOLINE_PATCH: patch } });

  test.each(TRAPS)("%s is refused, with what to do", (patch) => {
    const { stdout, stderr, status } = denied(patch);
    expect({ stdout, status }).toEqual({ stdout: "", status: 125 });
    expect(stderr).toMatch(
      /^zpoline: this process cannot trap system calls \(NO_TRAP\)\n {2}cause: .*\n {2}fix: .*\n$/,
    );
  });

  test("auto does without", () => {
    expect(denied("auto")).toEqual(run([plain]));
  });
});
