import { execFileSync } from "node:child_process";
import { chmodSync, chownSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { describeProgram, parseScriptLine } from "../../src/elf/program.ts";
import { memorySource } from "../../src/elf/source.ts";
import { writeExecutable } from "../../src/elf/write.ts";
import { ZpolineError } from "../../src/errors.ts";
import { code, hex, text } from "../compiler/units.ts";

let directory = "";
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "zpoline-program-"));
});
afterAll(() => rmSync(directory, { recursive: true }));

function put(name: string, contents: Uint8Array | string, mode = 0o755): string {
  const path = join(directory, name);
  writeFileSync(path, contents);
  chmodSync(path, mode);
  return path;
}

function failure(path: string): ZpolineError {
  try {
    describeProgram(path);
  } catch (error) {
    if (error instanceof ZpolineError) return error;
    throw error;
  }
  throw new Error("nothing was thrown");
}

const tiny = (base: number | "pie" = 0x400000) =>
  writeExecutable([{ code: [code("_start", hex("0f 0b"))], data: [] }], { base });

describe("a program is described", () => {
  test("dynamic, position independent", () => {
    expect(describeProgram("/bin/true")).toMatchObject({
      path: "/bin/true",
      scripts: [],
      linkage: "dynamic",
      loader: "/lib64/ld-linux-x86-64.so.2",
      positionIndependent: true,
      gainsRights: false,
    });
  });

  test("dynamic, at a fixed address", () => {
    const path = join(directory, "fixed");
    execFileSync("gcc", ["-no-pie", "-o", path, put("fixed.c", "int main(void) { return 0; }")]);
    expect(describeProgram(path)).toMatchObject({ linkage: "dynamic", positionIndependent: false });
  });

  test("static", () => {
    expect(describeProgram(put("static", tiny()))).toMatchObject({
      linkage: "static",
      loader: undefined,
      positionIndependent: false,
      buildId: expect.stringMatching(/^[0-9a-f]{40}$/),
    });
    expect(describeProgram(put("pie", tiny("pie")))).toMatchObject({ linkage: "static", positionIndependent: true });
  });

  test("set-user-ID, set-group-ID: to one's own, there is nothing to gain", () => {
    expect(describeProgram(put("suid", tiny(), 0o4755)).gainsRights).toBe(false);
    expect(describeProgram(put("sgid", tiny(), 0o2755)).gainsRights).toBe(false);
  });

  test.runIf(process.getuid?.() === 0)("set-user-ID, set-group-ID of others", () => {
    const others = (name: string, mode: number): string => {
      const path = put(name, tiny());
      chownSync(path, 1, 1);
      chmodSync(path, mode);
      return path;
    };
    expect(describeProgram(others("suid-other", 0o4755)).gainsRights).toBe(true);
    expect(describeProgram(others("sgid-other", 0o2755)).gainsRights).toBe(true);
    expect(describeProgram(others("locking", 0o2745)).gainsRights).toBe(false);
  });

  test("a script, and a script of a script", () => {
    const inner = put("inner", "#!/bin/sh\necho\n");
    const outer = put("outer", `#! ${inner} -x  y \n`);
    expect(describeProgram(outer)).toMatchObject({
      path: "/bin/sh",
      linkage: "dynamic",
      scripts: [
        { path: outer, interpreter: inner, argument: "-x  y" },
        { path: inner, interpreter: "/bin/sh", argument: undefined },
      ],
    });
  });
});

describe("the #! line", () => {
  const parse = (line: string) => parseScriptLine(memorySource(text(line)), "script");

  test.each([
    ["#!/bin/sh\n", "/bin/sh", undefined],
    ["#!/bin/sh", "/bin/sh", undefined],
    ["#! \t/usr/bin/env  node --x\t\nrest", "/usr/bin/env", "node --x"],
    [`#!/bin/sh ${"a".repeat(300)}\n`, "/bin/sh", "a".repeat(246)],
  ])("%j", (line, interpreter, argument) => {
    expect(parse(line)).toEqual({ path: "script", interpreter, argument });
  });

  test("must name an interpreter within 256 bytes", () => {
    expect(() => parse("#! \n/bin/sh\n")).toThrow("without an interpreter");
    expect(() => parse(`#!/${"a".repeat(300)}\n`)).toThrow("too long");
    expect(parse("# comment\n")).toBeUndefined();
  });
});

describe("what cannot be started says why", () => {
  test.each([
    ["PROGRAM_FORMAT", "text", "echo hello\n", "run: sh "],
    ["PROGRAM_FORMAT", "empty", "", "run: sh "],
    ["ELF_TRUNCATED", "cut", tiny().subarray(0, 100), "again"],
    ["SCRIPT_LINE", "blank", "#!\n", ""],
  ])("%s: %s", (expected, name, contents, fix) => {
    const error = failure(put(name, contents));
    expect(error.code).toBe(expected);
    expect(error.message).toContain(join(directory, name));
    expect(error.fix ?? "").toContain(fix);
  });

  test("an object file", () => {
    const path = join(directory, "object.o");
    execFileSync("gcc", ["-c", "-o", path, put("object.c", "int x;")]);
    chmodSync(path, 0o755);
    expect(failure(path)).toMatchObject({
      code: "PROGRAM_FORMAT",
      message: `${path} is an ELF file, but not a program`,
    });
  });

  test("a 32-bit program", () => {
    const bytes = tiny();
    bytes[4] = 1;
    expect(failure(put("old", bytes)).format()).toBe(
      `zpoline: ${join(directory, "old")} is 32-bit (ELF_CLASS)\n` +
        "  fix: zpoline works on 64-bit x86 programs: use a build for x86-64",
    );
  });

  test("a missing file, a directory, a FIFO, a file without permission", () => {
    expect(failure(join(directory, "none")).code).toBe("PROGRAM_NOT_FOUND");
    mkdirSync(join(directory, "sub"));
    expect(failure(join(directory, "sub")).code).toBe("PROGRAM_NOT_EXECUTABLE");
    execFileSync("mkfifo", ["-m", "755", join(directory, "fifo")]);
    expect(failure(join(directory, "fifo")).code).toBe("PROGRAM_NOT_EXECUTABLE");
    expect(failure(put("plain", tiny(), 0o644))).toMatchObject({
      code: "PROGRAM_NOT_EXECUTABLE",
      fix: `chmod +x ${join(directory, "plain")}`,
    });
  });

  test("a script whose interpreter is missing, and one that is its own interpreter", () => {
    const orphan = put("orphan", "#!/no/such/interpreter\n");
    expect(failure(orphan)).toMatchObject({
      code: "PROGRAM_NOT_FOUND",
      message: "cannot find /no/such/interpreter",
      cause: `it is the interpreter of ${orphan}`,
    });
    expect(failure(put("ouroboros", `#!${join(directory, "ouroboros")}\n`)).code).toBe("SCRIPT_DEPTH");
  });
});
