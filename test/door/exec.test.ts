/** exec of all kinds by a program that zpoline-exec has loaded: what succeeds, what fails and how, what the next one finds. */
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { fixture, fixtureBy, type Outcome, run, scratch } from "../e2e/run.ts";
import { DOOR, throughDoor } from "./door.ts";

const execs = fixture("execs.c", "-Wno-nonnull");
const say = fixture("say.c");

/** In a directory of the same name, which is empty before. */
function inDirectory(start: (directory: string) => Outcome): Outcome {
  const directory = join(scratch, "execs");
  rmSync(directory, { recursive: true, force: true });
  mkdirSync(directory);
  return start(directory);
}

describe("exec", () => {
  test.each([
    ["dynamic", say, "auto"],
    ["dynamic", say, "jump"],
    ["static", fixture("say.c", "-static"), "auto"],
    ["musl's", fixtureBy("musl-gcc", "say.c"), "auto"],
    ["static musl's", fixtureBy("musl-gcc", "say.c", "-static"), "auto"],
  ])("of a %s program (%s, %s) does what it does natively", (_, program, patch) => {
    const native = inDirectory((directory) => run([execs, program, directory]));
    expect(native.status).toBe(0);
    expect(native.stdout).toContain("a script in a directory:\n");
    expect(inDirectory((directory) => throughDoor([execs, program, directory], {}, patch))).toEqual(native);
  });

  test("is seen in every process, whatever becomes of environment, descriptors and user", () => {
    const log = join(scratch, "exec.audit");
    chmodSync(scratch, 0o777);
    const script = `umask 0
      env -i ${say} a; exec 3>&-; setpriv --reuid 65534 --regid 65534 --clear-groups ${say} b
      python3 -c 'import os; os.closerange(3, 99); os.execve("${say}", ["c"], {})'`;
    const { status } = run([DOOR, `ZPOLINE_AUDIT=${log}.%p`, "ZPOLINE_PATCH=auto", "--", "sh", "-c", script]);
    expect(status).toBe(3);
    const logs = run(["sh", "-c", `cat ${log}.*`])
      .stdout.split("\n")
      .filter(Boolean);
    const events = logs.map((line) => JSON.parse(line) as { type: string; exe?: string });
    expect(events.filter(({ type }) => type === "gap")).toEqual([]);
    expect(events.filter(({ type, exe }) => type === "start" && exe === say)).toHaveLength(3);
  });

  test("of what we cannot load is the kernel's, and a gap", () => {
    const directory = mkdtempSync(join(scratch, "foreign-"));
    const unreadable = join(directory, "unreadable");
    const setuid = join(directory, "setuid");
    writeFileSync(unreadable, readFileSync(say), { mode: 0o711 });
    writeFileSync(setuid, readFileSync(say));
    chmodSync(setuid, 0o4755);
    chmodSync(directory, 0o755);
    chmodSync(scratch, 0o777);
    const log = join(scratch, "foreign.audit");
    const setpriv = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"];
    for (const program of [unreadable, setuid]) {
      rmSync(log, { force: true });
      const native = run([...setpriv, program, "x"]);
      expect(native.status).toBe(3);
      const door = [DOOR, `ZPOLINE_AUDIT=${log}`, "ZPOLINE_PATCH=auto", "--"];
      expect(run([...setpriv, ...door, "env", program, "x"]).stdout).toBe(native.stdout);
      expect(readFileSync(log, "utf8")).toMatch(new RegExp(`"kind":"exec-unhooked".*"detail":"${program}"`));
    }
  });
});

describe("zpoline-exec from a command line", () => {
  test.each([
    [["no-such-program"], 127, "no-such-program: errno 2 (PROGRAM_NOT_FOUND)"],
    [["./no/such"], 127, "./no/such: errno 2 (PROGRAM_NOT_FOUND)"],
    [["/"], 126, "/: errno 13 (PROGRAM_NOT_EXECUTABLE)"],
    [[""], 127, ": errno 2 (PROGRAM_NOT_FOUND)"],
    [[], 125, "usage: zpoline-exec [SETTING=VALUE]... [--] PROGRAM [ARGUMENT]... (USAGE)"],
  ])("says why %j does not run", (command, status, text) => {
    expect(run([DOOR, ...command])).toMatchObject({ status, stdout: "", stderr: `zpoline: ${text}\n` });
  });

  test("says that a text is no program", () => {
    const file = join(scratch, "text");
    writeFileSync(file, "echo\n", { mode: 0o755 });
    expect(run([DOOR, file])).toMatchObject({ status: 126, stderr: `zpoline: ${file}: errno 8 (PROGRAM_FORMAT)\n` });
  });

  test("takes the first program of PATH that it may execute", () => {
    for (const name of ["one", "two", "three"]) mkdirSync(join(scratch, name), { recursive: true });
    writeFileSync(join(scratch, "one/found"), "no", { mode: 0o644 });
    mkdirSync(join(scratch, "two/found"), { recursive: true });
    writeFileSync(join(scratch, "three/found"), readFileSync(say), { mode: 0o755 });
    const env = { PATH: `/nowhere:${scratch}/one:${scratch}/two:${scratch}/three` };
    expect(run([DOOR, "--", "found", "x"], { env }).stdout).toContain(
      `${scratch}/three/found ${scratch}/three/found found`,
    );
  });

  test.each(["auto", "jump", "zero"])("leaves a program alone that preloads the library, too (%s)", (patch) => {
    const env = { ...process.env, LD_PRELOAD: join(DOOR, "../libzpoline.so"), ZPOLINE_PATCH: patch };
    expect(run([DOOR, say], { env }).status).toBe(3);
  });

  test.each(["auto", "jump", "zero"])("in a process that is hooked leaves the program to that one (%s)", (patch) => {
    const log = join(scratch, `twice.${patch}`);
    const outer = [DOOR, `ZPOLINE_AUDIT=${log}`, `ZPOLINE_PATCH=${patch}`, "--"];
    expect(run([...outer, DOOR, "ZPOLINE_PATCH=auto", "env", DOOR, "--", say, "x"])).toMatchObject({
      status: 3,
      stderr: "",
    });
    expect(readFileSync(log, "utf8")).toContain(`"exe":"${say}"`);
  });

  test("does not take a C hook", () => {
    const { status, stderr } = run([DOOR, "LIBZPHOOK=/hook.so", "/bin/true"]);
    expect(status).toBe(125);
    expect(stderr).toMatch(/^zpoline: LIBZPHOOK does not work with zpoline-exec \(HOOK_LOAD\)/);
  });
});
