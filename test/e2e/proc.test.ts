/** zpoline needs a /proc that tells who is alive. */
import { describe, expect, test } from "vitest";
import { run, ZPOLINE } from "./run.ts";

describe.runIf(process.getuid?.() === 0)("refused", () => {
  const trace = [process.execPath, ZPOLINE, "trace", "echo", "text"];
  const inMounts = ["unshare", "-m", "sh", "-c", 'mount -t tmpfs none /proc && exec "$@"', "sh"];

  test.each([
    ["no /proc", [...inMounts, ...trace], "/proc is not mounted"],
    ["that of another pid namespace", ["unshare", "-pf", ...trace], "/proc is that of another pid namespace"],
  ])("%s", (_name, command, cause) => {
    const { stdout, stderr, status } = run(command);
    expect({ stdout, status }).toEqual({ stdout: "", status: 125 });
    expect(stderr).toMatch(new RegExp(`^zpoline: .* \\(NO_PROC\\)\n {2}cause: ${cause}\n {2}fix: mount `));
  });

  test("not that of the own pid namespace", () => {
    expect(run(["unshare", "-pf", "--mount-proc", ...trace])).toMatchObject({ status: 0, stdout: "text\n" });
  });
});
