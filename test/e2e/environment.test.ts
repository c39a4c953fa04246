/** What a hooked program finds in its environment, and what of it follows exec. */
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { libraryPath } from "../../src/session/library.ts";
import { fixture, run, scratch, zpoline } from "./run.ts";

const library = libraryPath();
const other = fixture("preloaded.c", "-shared", "-fPIC");
const env = (more: NodeJS.ProcessEnv): NodeJS.ProcessEnv => ({ PATH: process.env["PATH"], ...more });
const OURS = { ZPOLINE_EXCLUDE: "none.so", ZPOLINE_CACHE: "off", ZPOLINE_AUDIT: join(scratch, "audit") };

describe("without a session", () => {
  test("the environment stays as it is", () => {
    const variables = env({ ...OURS, LD_PRELOAD: `${other}:${library}`, ZPOLINE_HOOK: "noop:110" });
    const { stdout } = run(["/usr/bin/env"], { env: variables });
    expect(stdout).toContain("other library: loaded\n");
    for (const [name, value] of Object.entries(variables)) expect(stdout).toContain(`${name}=${value}\n`);
  });
});

describe("in a session", () => {
  /** Shell text; `env` shows what the program would see if it looked, and the library says that it was loaded. */
  const traced = (script: string, more: NodeJS.ProcessEnv = {}) =>
    zpoline(["/bin/sh", "-c", script], { env: env(more) }, ["-f", "-e", "trace=getppid,execve"]);

  test("our variables are not to be seen", () => {
    const { stdout } = traced("/usr/bin/env", OURS);
    expect(stdout).not.toMatch(/ZPOLINE|LD_PRELOAD/);
    expect(stdout).toContain("PATH=");
  });

  test("other preloaded libraries stay, and stay loaded after exec", () => {
    const { stdout } = traced("/usr/bin/env", { LD_PRELOAD: other });
    expect(stdout).toContain(`LD_PRELOAD=${other}\n`);
    expect(stdout.match(/other library: loaded/g)).toHaveLength(3); // zpoline itself, the shell, env
  });

  test("a program that is started with our library anywhere in LD_PRELOAD loads it once, and finds only the others", () => {
    for (const [list, rest] of [
      [`${other}:${library}`, other],
      [`${other} ${library}:${other}`, `${other}:${other}`],
      [`${library}::`, ""],
    ]) {
      const { stdout, lines } = traced(`LD_PRELOAD='${list}' /bin/sh -c 'echo "<$LD_PRELOAD>"; exec /bin/true'`);
      expect(stdout).toContain(`<${rest}>\n`);
      expect(lines.filter((line) => line.includes("execve(") && line.includes("/true")).length).toBe(1);
    }
  });

  test("settings follow a scrubbed environment", () => {
    const maps = traced("exec env -i /bin/sh -c 'exec cat /proc/self/environ'", OURS).stdout;
    const [preload, ...variables] = maps.split("\0").filter((text) => !text.startsWith("PWD=") && text !== "");
    expect(preload).toMatch(/^LD_PRELOAD=.*libzpoline\.so$/);
    expect(variables.map((text) => text.split("=")[0])).toEqual([
      "ZPOLINE_SESSION",
      "ZPOLINE_EXCLUDE",
      "ZPOLINE_AUDIT",
      "ZPOLINE_CACHE",
      "ZPOLINE_PATCH",
      "ZPOLINE_STRICT",
    ]);
  });
});
