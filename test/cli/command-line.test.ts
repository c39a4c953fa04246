import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import packageFile from "../../package.json" with { type: "json" };

const ZPOLINE = fileURLToPath(new URL("../../bin/zpoline.js", import.meta.url));

let tmp: string;
beforeEach(() => {
  tmp = fs.mkdtempSync(path.join(os.tmpdir(), "command-line-test-"));
});
afterEach(() => fs.rmSync(tmp, { recursive: true, force: true }));

interface Outcome {
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

function zpoline(...args: readonly string[]): Outcome {
  const env = { ...process.env, TMPDIR: tmp };
  return spawnSync(process.execPath, [ZPOLINE, ...args], { encoding: "utf8", env, cwd: tmp });
}

/** The trace goes to a file, so that standard error holds only what zpoline itself has to say. */
const traced = (...args: readonly string[]): Outcome => zpoline("trace", "-o", path.join(tmp, "trace"), ...args);
const sh = (script: string): readonly string[] => ["--", "sh", "-c", script];

test("version and help are for standard output", () => {
  expect(zpoline("--version")).toMatchObject({ status: 0, stdout: `${packageFile.version}\n`, stderr: "" });
  expect(zpoline("trace", "--help")).toMatchObject({ status: 0, stderr: "" });
  expect(zpoline("trace", "--help").stdout).toContain("Usage: zpoline trace [options] [--] COMMAND [ARGUMENT]...");
});

describe("zpoline's own failures end with 125 and say what to do", () => {
  test.each([
    [[], "Usage: zpoline"],
    [["frob"], "zpoline: unknown command 'frob' (BAD_USAGE)\n  fix: "],
    [["trace"], "zpoline: missing required argument 'command' (BAD_USAGE)\n  fix: "],
    [["trace", "--frob", "true"], "zpoline: unknown option '--frob' (BAD_USAGE)\n  fix: "],
    [["trace", "-s", "many", "true"], "zpoline: -s many is not a number of bytes (BAD_SIZE)\n  fix: "],
    [["trace", "-e", "trace=reed", "true"], 'zpoline: there is no system call "reed" (SELECT_UNKNOWN)\n  fix: '],
    [
      ["trace", "-o", "/no/such/file", "true"],
      "zpoline: cannot open /no/such/file for the trace (OUTPUT_OPEN)\n  cause: ",
    ],
  ] as const)("%j", (args, message) => {
    const { status, stdout, stderr } = zpoline(...args);
    expect({ status, stdout }).toEqual({ status: 125, stdout: "" });
    expect(stderr.slice(0, message.length)).toBe(message);
  });

  test("a file that is not there is 127, one that cannot be run 126", () => {
    fs.writeFileSync(path.join(tmp, "text"), "text\n");
    fs.writeFileSync(path.join(tmp, "cut"), "\x7fELF\x02\x01\x01", { mode: 0o755 });
    fs.writeFileSync(path.join(tmp, "script"), "#!/no/such/interpreter\n", { mode: 0o755 });
    const statuses = ["no-such-command", "./none", "./script", "./text", "./cut", "./"].map(
      (name) => traced(name).status,
    );
    expect(statuses).toEqual([127, 127, 127, 126, 126, 126]);
    expect(fs.readdirSync(tmp).sort()).toEqual(["cut", "script", "text", "trace"]);
  });
});

describe("it ends as the program ended", () => {
  test.each([0, 1, 7, 124, 255])("status %i", (status) => {
    expect(traced(...sh(`exit ${status}`))).toMatchObject({ status, signal: null });
  });

  test.each(["SIGTERM", "SIGKILL", "SIGINT", "SIGPIPE", "SIGUSR1", "SIGHUP"] as const)("%s", (signal) => {
    expect(traced(...sh(`kill -${signal.slice(3)} $$`))).toMatchObject({ status: null, signal });
  });

  test("a signal that dumps core does so once at most", () => {
    const { status, signal } = traced(...sh("kill -SEGV $$"));
    expect(status ?? os.constants.signals[signal ?? "SIGHUP"] + 128).toBe(128 + os.constants.signals.SIGSEGV);
  });
});

test("options end at the first word that is none, or at --", () => {
  expect(traced("echo", "-f", "--", "-o", "x").stdout).toBe("-f -- -o x\n");
  expect(traced("--", "echo", "--", "-s").stdout).toBe("-- -s\n");
});

test("every descriptor is inherited", () => {
  const script = `"$@" cat <(echo one) /dev/fd/5 <(echo two) 5<<<three`;
  const args = ["-c", script, "bash", process.execPath, ZPOLINE, "trace", "-o", path.join(tmp, "trace")];
  const { status, stdout } = spawnSync("bash", args, { encoding: "utf8" });
  expect({ status, stdout }).toEqual({ status: 0, stdout: "one\nthree\ntwo\n" });
});

test("a trace that cannot be written is reported when the program has ended undisturbed", () => {
  const { status, stdout, stderr } = zpoline("trace", "-o", "/dev/full", "sh", "-c", "echo done");
  expect({ status, stdout }).toEqual({ status: 125, stdout: "done\n" });
  expect(stderr).toContain("zpoline: cannot write the trace to /dev/full (OUTPUT_WRITE)\n  cause: ENOSPC");
});
