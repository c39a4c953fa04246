/** Nothing may be missed: what is refused before it starts, and what is ended at its first gap. */
import { chmodSync, chownSync, copyFileSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { libraryPath } from "../../src/session/library.ts";
import { trace } from "../../src/trace.ts";
import { hook, hookedEnv } from "./c-hooks.ts";
import { fixture, type Options, type Outcome, run, scratch, ZPOLINE, zpoline } from "./run.ts";
import { ORDINARY } from "./users.ts";

const STRICT = ["-f", "--strict", "--patch", "zero"];
const isRoot = process.getuid?.() === 0;

function copyOf(program: string, name: string): string {
  const path = join(scratch, name);
  copyFileSync(program, path);
  chmodSync(path, 0o755);
  return path;
}

/** Ended at one gap, which is told, and nothing else. */
function endedAt(outcome: Outcome, gap: RegExp): void {
  expect(outcome.stderr.split("\n")).toEqual([
    expect.stringMatching(/^zpoline: trace is incomplete: /),
    expect.stringMatching(/^zpoline: .* was ended at a gap, as --strict asks \(STRICT\)$/),
    expect.stringMatching(/^ {2}fix: /),
    "",
  ]);
  expect(outcome.stderr).toMatch(gap);
  expect(outcome).toMatchObject({ status: 125, signal: null });
}

describe("a trace without gaps is as ever", () => {
  test.each([
    ["a status", ["sh", "-c", "/bin/true; exit 3"], { status: 3, signal: null }],
    ["a signal", ["sh", "-c", "kill $$"], { status: null, signal: "SIGTERM" }],
    [
      "programs that are not there",
      ["sh", "-c", "exec 2>/dev/null; no-such-program; ./none; /bin; exit 4"],
      { status: 4 },
    ],
  ] as const)("%s", (_name, command, end) => {
    expect(zpoline(command, {}, STRICT)).toMatchObject({ ...end, stderr: "" });
  });
});

describe("refused before the start", () => {
  test("a static program", () => {
    const { stdout, stderr, status } = zpoline(["/bin/busybox", "echo", "text"], {}, STRICT);
    expect([stdout, status]).toEqual(["", 125]);
    expect(stderr).toMatch(/^zpoline: .*not started.*\(STRICT\)\n {2}cause: .*statically linked\n {2}fix: .*--strict/);
  });

  test.runIf(isRoot)("a setuid program of another user", () => {
    const program = copyOf("/bin/echo", "setuid");
    chownSync(program, 1, 1);
    chmodSync(program, 0o4755);
    const { stdout, stderr, status } = zpoline([program, "text"], {}, STRICT);
    expect([stdout, status]).toEqual(["", 125]);
    expect(stderr).toMatch(/cause: .*set-user-ID/);
  });

  test.runIf(isRoot)("a program with file capabilities, for who has not got them", () => {
    const program = copyOf("/bin/sleep", "capable");
    expect(run(["setcap", "cap_net_raw=ep", program]).status).toBe(0);
    // The bounding set must have the capability: else the kernel does not execute it.
    const user = { name: "another user", become: ["setpriv", "--reuid", "65534", "--clear-groups"] };
    const { stderr, status } = zpoline([program, "1000"], { user, patch: "jump" }, ["-f", "--strict"]);
    expect(status).toBe(125);
    expect(stderr).toMatch(/^zpoline: .*not started.*\(STRICT\)\n {2}cause: .*file capabilities/);
  });
});

const KINDS: readonly [string, RegExp, () => readonly string[], Options?][] = [
  [
    "a static program",
    /exec was not followed .*: \/bin\/busybox /,
    () => ["sh", "-c", "/bin/busybox echo no; echo no"],
  ],
  ["in its place", /exec was not followed .*: \/bin\/busybox /, () => ["sh", "-c", "exec /bin/busybox echo no"]],
  ["code made at run time", /code was made at run time/, () => [fixture("jit.c")]],
  ["an instruction that is left", /instruction was left as it is: .*bigtext/, () => [fixture("bigtext.c")]],
  ["the gs base", /the gs base was refused .*ARCH_SET_GS/, () => [fixture("segments.c")]],
  [
    "a file that is excluded",
    /a file was not rewritten/,
    () => ["echo", "no"],
    { env: { ...process.env, ZPOLINE_EXCLUDE: "libc.so.6" } },
  ],
];

describe("ended at the first gap", () => {
  test.each(KINDS)("%s", (_name, gap, command, options) => {
    const outcome = zpoline(command(), options, STRICT);
    endedAt(outcome, gap);
    expect(outcome.stdout).not.toContain("no\n");
  });

  test("io_uring", () => {
    const program = fixture("io-uring.c");
    if (!run([program]).stdout.startsWith("a ring: 1\n")) return;
    const outcome = zpoline([program], {}, STRICT);
    endedAt(outcome, /io_uring submits operations/);
    expect(outcome.stdout).toBe("");
    expect(zpoline([program], {}, [...STRICT, "--no-io-uring"]).status).toBe(0);
  });

  test.runIf(isRoot)("a root directory without our library", () => {
    const outcome = zpoline(["chroot", "/usr/lib", "/bin/true"], {}, STRICT);
    expect(outcome.status).not.toBe(125); // there is nothing to execute
    const other = join(scratch, "root");
    run([
      "sh",
      "-c",
      `mkdir -p ${other} && cp -r --parents /bin/true /lib /lib64 /usr/lib/x86_64-linux-gnu/libc.so.6 ${other} 2>/dev/null`,
    ]);
    endedAt(zpoline(["chroot", other, "/bin/true"], {}, STRICT), /exec was not followed/);
  });

  test.runIf(isRoot && readFileSync("/proc/sys/vm/mmap_min_addr", "utf8") !== "0\n")("address 0", () => {
    const command = ["setpriv", "--bounding-set=-sys_rawio", "echo", "no"];
    const outcome = zpoline(command, {}, STRICT);
    endedAt(outcome, /a process could not map address 0/);
    expect(outcome.stdout).toBe("");
    expect(zpoline(command, {}, ["-f", "--strict", "--patch", "auto"])).toMatchObject({ status: 0, stdout: "no\n" });
  });

  test("a C hook that is left out", () => {
    const env = { ...process.env, LIBZPHOOK: hook("faulty"), HOOK_FAULT: "write", ZPOLINE_HOOK_CRASH: "bypass" };
    const { stderr, status } = zpoline([fixture("hooks/asks.c")], { env }, STRICT);
    expect(status).toBe(125);
    expect(stderr).toMatch(/the C hook crashed, .*: SIGSEGV \(pid/);
  });
});

test("no process of the session lives on, not even a daemon", () => {
  const script =
    "setsid sleep 4711 >/dev/null 2>&1 & (sleep 4711 >/dev/null 2>&1 &); sleep 0.2; /bin/busybox true; sleep 4711";
  endedAt(zpoline(["sh", "-c", script], {}, STRICT), /exec was not followed/);
  const alive = run(["ps", "-eo", "stat=,args="]).stdout.split("\n");
  expect(alive.filter((line) => /^[^Z].*sleep 4711$/.test(line))).toEqual([]);
});

test("an ordinary user's, too", () => {
  const outcome = zpoline(["sh", "-c", "/bin/busybox echo no; echo no"], { user: ORDINARY }, [
    "-f",
    "--strict",
    "--patch",
    "auto",
  ]);
  endedAt(outcome, /exec was not followed/);
  expect(outcome.stdout).toBe("");
});

test("ZPOLINE_STRICT=1 is --strict", () => {
  const env = { ...process.env, ZPOLINE_STRICT: "1" };
  endedAt(zpoline(["sh", "-c", "/bin/busybox true"], { env }), /exec was not followed/);
});

test("the API: the coverage has the gap, and the program was killed", async () => {
  const run = await trace("sh", ["-c", "/bin/busybox true; exit 3"], { follow: true, strict: true, stdio: "ignore" });
  for await (const _ of run);
  const { status, coverage } = await run.result;
  expect(status).toEqual({ signal: 9 });
  expect(coverage.gaps).toEqual([{ kind: "exec-unhooked", pid: expect.any(Number), detail: "/bin/busybox", count: 1 }]);
});

test("the coverage in a file has the one gap", () => {
  const file = join(scratch, "strict.json");
  run([
    process.execPath,
    ZPOLINE,
    "trace",
    ...STRICT,
    "--coverage",
    file,
    "sh",
    "-c",
    "sleep 4711 & /bin/busybox true",
  ]);
  expect(JSON.parse(readFileSync(file, "utf8"))).toMatchObject({ complete: false, gaps: [{ kind: "exec-unhooked" }] });
});

describe("ZPOLINE_STRICT=1 with the library alone", () => {
  const strict = (command: readonly string[], more: NodeJS.ProcessEnv = {}) =>
    run(command, { env: { ...process.env, LD_PRELOAD: libraryPath(), ZPOLINE_STRICT: "1", ...more } });

  test("ends the process that has the gap, and says why", () => {
    const { stdout, stderr, status } = strict([fixture("segments.c")]);
    expect(status).toBe(125);
    expect(stdout).not.toContain("ARCH_SET_GS, data");
    expect(stderr).toMatch(
      /^zpoline: .*\(STRICT\)\n {2}cause: the gs base was refused .*: arch_prctl\(ARCH_SET_GS\)\n {2}fix: unset ZPOLINE_STRICT/,
    );
  });

  test.each([
    ["a static program", "/bin/busybox true", /\/bin\/busybox\n/],
    ["a program without our library in its environment", "env -i /bin/true", /\/true\n/],
  ])("%s: its parent sees status 125", (_name, command, message) => {
    const { stdout, stderr } = strict(["sh", "-c", `${command}; echo $?`]);
    expect(stdout).toBe("125\n");
    expect(stderr).toMatch(message);
  });

  test("without gaps it runs; 0 and the empty value are no wish", () => {
    expect(strict(["echo", "text"])).toEqual({ stdout: "text\n", stderr: "", status: 0, signal: null });
    for (const value of ["0", ""]) {
      expect(strict(["sh", "-c", "/bin/busybox true"], { ZPOLINE_STRICT: value }).status).toBe(0);
    }
  });

  test("with a C hook", () => {
    const env = hookedEnv(hook("pass"), { ZPOLINE_STRICT: "1" });
    expect(run([fixture("segments.c")], { env }).status).toBe(125);
    expect(run(["/bin/true"], { env }).status).toBe(0);
  });
});
