/** What a program can find out about itself and its process. */
import { basename } from "node:path";
import { describe, expect, test } from "vitest";
import { fixture, fixtureBy, run } from "../e2e/run.ts";
import { throughDoor } from "./door.ts";

const programs = {
  "at a random address": fixture("appearance.c"),
  "at a fixed address": fixture("appearance.c", "-no-pie"),
  static: fixture("appearance.c", "-static"),
  "static, at a random address": fixture("appearance.c", "-static-pie"),
  "with an executable stack": fixture("appearance.c", "-z", "execstack"),
  "of musl": fixtureBy("musl-gcc", "appearance.c"),
  "of musl, static": fixtureBy("musl-gcc", "appearance.c", "-static"),
};

describe.each(Object.entries(programs))("a program %s", (_, program) => {
  const env = { A: "1", EMPTY: "", LD_PRELOAD: "" };

  test.each([
    ["random", []],
    ["fixed", ["setarch", "-R"]],
  ])("finds what it finds natively, addresses being %s", (_, before) => {
    const command = [...before, program, program, "with blanks", ""];
    const native = run(command, { env: { ...env, PATH: process.env["PATH"] } });
    expect(native).toMatchObject({ status: 3, stderr: "" });
    expect(native.stdout).toContain(`exe (${program.length}):${program}`);
    expect(throughDoor(command, { env: { ...env, PATH: process.env["PATH"] } })).toEqual(native);
  });

  test("that is a script's interpreter, by another name, is called as natively", () => {
    const script = `${program}.script`;
    expect(
      run(["sh", "-c", 'printf "#! %s  one argument \\n" "$1" > "$2"; chmod +x "$2"', "_", program, script]).status,
    ).toBe(0);
    const native = run([script, "a"]);
    expect(native.stdout).toContain(`comm (${Math.min(basename(script).length, 15) + 1})`);
    expect(throughDoor([script, "a"])).toEqual(native);
  });
});
