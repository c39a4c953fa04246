/** The audit log tells of every site, every object and every gap, and never stands in the program's way. */
import * as fs from "node:fs";
import { basename, join } from "node:path";
import { describe, expect, test } from "vitest";
import * as layout from "../../src/image/layout.ts";
import { gapKind, TEXT_OF } from "../../src/session/gaps.ts";
import { libraryPath } from "../../src/session/library.ts";
import { audited, objectLine, readAudit } from "./audit.ts";
import { fixture, run, scratch, ZPOLINE, zpoline } from "./run.ts";

const program = fixture("bigtext.c");
const LIBC = "/libc.so.6";

interface ScannedSite {
  readonly address: number;
  readonly number: number | null;
  readonly patch: string;
  readonly reason: string | null;
}

function scanned(file: string): ScannedSite[] {
  const { stdout } = run([process.execPath, ZPOLINE, "scan", "--json", file]);
  return (JSON.parse(stdout) as { list: ScannedSite[] }).list;
}

describe("the sites of a run", () => {
  const { lines, pid } = (() => {
    const { lines } = audited([program]);
    return { lines, pid: lines[0]!.pid };
  })();

  test("the first line is about the process", () => {
    expect(lines[0]).toEqual({ type: "start", pid, ppid: process.pid, exe: fs.realpathSync(program), patches: "zero" });
    expect(new Set(lines.map((line) => line.pid))).toEqual(new Set([pid]));
  });

  test("each object counts its sites", () => {
    const objects = lines.filter(({ type }) => type === "object");
    expect(objects.length).toBeGreaterThanOrEqual(3);
    for (const { file, start, end, zero, jump, left } of objects) {
      const sites = lines.filter((line) => line.type === "site" && line["file"] === file);
      const count = (patch: string) => sites.filter((site) => site["patch"] === patch).length;
      expect([count("zero"), count("jump"), count("none")]).toEqual([zero, jump, left]);
      for (const { address } of sites) {
        expect(address).toBeGreaterThanOrEqual(Number(start));
        expect(address).toBeLessThan(Number(end));
      }
    }
  });

  test("what is left is a gap, too", () => {
    const left = lines.filter(({ type, patch }) => type === "site" && patch === "none");
    const gaps = lines.filter(({ type, kind }) => type === "gap" && kind === "unpatched-site");
    expect(left.length).toBeGreaterThan(0);
    expect(gaps.map(({ value }) => value)).toEqual(left.map(({ address }) => address));
  });
});

describe("the file", () => {
  test("%p is the process id, %% a percent sign", () => {
    const { lines } = audited(["/bin/true"]);
    expect(lines.length).toBeGreaterThan(1);
    const path = join(scratch, "log.%p.%%");
    run(["/bin/true"], { env: { LD_PRELOAD: libraryPath(), ZPOLINE_AUDIT: path } });
    const [name] = fs.readdirSync(scratch).filter((file) => /^log\.\d+\.%$/.test(file));
    expect(name).toBeDefined();
    expect(readAudit(join(scratch, name!))[0]!.pid).toBe(Number(name!.split(".")[1]));
  });

  test("a relative path does not follow the program to other directories", () => {
    const env = { PATH: process.env["PATH"], LD_PRELOAD: libraryPath(), ZPOLINE_AUDIT: "relative.log" };
    run(["sh", "-c", "cd / && exec 3</dev/null"], { env });
    expect(readAudit(join(scratch, "relative.log")).length).toBeGreaterThan(1);
  });

  test("many processes write whole lines into one", () => {
    const script = `for i in 1 2 3 4 5 6 7 8 9 10; do /bin/true & done; wait`;
    const { lines, status } = audited(["sh", "-c", script]);
    expect(status).toBe(0);
    const starts = lines.filter(({ type }) => type === "start");
    expect(starts).toHaveLength(11);
    for (const { pid } of starts) {
      const own = lines.filter((line) => line.pid === pid);
      expect(own.filter(({ type, file }) => type === "object" && String(file).endsWith(LIBC))).toHaveLength(1);
    }
  });

  test.each([
    ["/dev/full", 28],
    ["/nowhere/at/all", 2],
    ["/", 21],
  ])("%s is told of once, and the program runs", (path, errno) => {
    const env = { PATH: process.env["PATH"], LD_PRELOAD: libraryPath(), ZPOLINE_AUDIT: path };
    const { status, stdout, stderr } = run([program], { env });
    expect({ status, stdout }).toEqual({ status: 0, stdout: "1 1\n" });
    expect(stderr).toBe(`zpoline: the audit log cannot be written: ${path}: errno ${errno}\n`);
  });

  test("a limit of the size of files does not kill the program", () => {
    const log = join(scratch, "limited.log");
    const preload = ["env", `LD_PRELOAD=${libraryPath()}`, `ZPOLINE_AUDIT=${log}`];
    const outcome = run(["prlimit", "--fsize=1000", "--", ...preload, program]);
    expect(outcome).toMatchObject({ status: 0, stdout: "1 1\n" });
    expect(outcome.stderr).toMatch(/^zpoline: the audit log cannot be written: .*\n$/);
    expect(fs.statSync(log).size).toBeLessThanOrEqual(1000);
  });
});

test("in a session, it is written as well, by all processes, whatever their environment", () => {
  const log = join(scratch, "session.log");
  const env = { PATH: process.env["PATH"], ZPOLINE_AUDIT: log };
  zpoline(["sh", "-c", "env -i /bin/true; exec env -i /bin/true"], { env });
  const starts = readAudit(log).filter(({ type }) => type === "start");
  expect(starts.map(({ exe }) => String(exe).replace(/.*\//, ""))).toEqual(["dash", "env", "true", "env", "true"]);
});

describe("ZPOLINE_EXCLUDE", () => {
  const excluded = (value: string) => {
    const { lines, stdout } = audited([program], { ZPOLINE_EXCLUDE: value });
    expect(stdout).toBe("1 1\n");
    const objects = lines.filter(({ type }) => type === "object").map(({ file }) => String(file).replace(/.*\//, ""));
    const gaps = lines
      .filter(({ kind }) => kind === "excluded")
      .map(({ detail }) => String(detail).replace(/.*\//, ""));
    return { objects, gaps };
  };
  const name = basename(program);
  const libc = "libc.so.6";
  const vdso = "[vdso]";
  const loader = fs.realpathSync("/lib64/ld-linux-x86-64.so.2").replace(/.*\//, "");

  test.each([
    ["", []],
    ["libc", []],
    ["libc.so.6", [libc]],
    ["libc.so.*", [libc]],
    ["*.so*", [libc, loader]],
    ["nothing:l*c.*6", [libc]],
    ["/usr/*/libc.so.6:/*tmp*text*/", [libc]],
    [`*/${name}`, [name]],
    ["*", [name, libc, vdso, loader]],
  ])("%s", (value, names) => {
    const { objects, gaps } = excluded(value);
    expect(gaps).toEqual(names);
    expect(objects).toEqual([name, libc, vdso, loader].filter((file) => !names.includes(file)));
  });

  test("is a gap of a session", () => {
    const env = { ...process.env, ZPOLINE_EXCLUDE: libc };
    const { stderr } = zpoline(["/bin/true"], { env, patch: "zero" });
    expect(stderr).toMatch(/trace is incomplete: a file was not rewritten, as ZPOLINE_EXCLUDE asks: .*libc\.so\.6/);
    expect(zpoline(["/bin/true"], { env, patch: "zero+trap" }).stderr).toBe("");
  });
});

test("patches and reasons are those of zpoline scan", () => {
  const { lines } = audited([program]);
  const libc = objectLine(lines, LIBC);
  const sites = lines.filter(({ type, file }) => type === "site" && file === libc["file"]);
  const told = sites.map(({ number, patch, reason }) => ({ number, patch, reason }));
  expect(told).toEqual(scanned(String(libc["file"])).map(({ number, patch, reason }) => ({ number, patch, reason })));
});

test("a program that is started without our library in its environment is said to run unhooked; one that is not there is not", () => {
  const { lines } = audited([
    "/bin/sh",
    "-c",
    "env -i /bin/true; /bin/true; LD_PRELOAD= /bin/true; env -i /not/there; true",
  ]);
  const lost = lines.filter(({ kind }) => kind === "exec-unhooked").map(({ detail }) => detail);
  expect(lost).toEqual(["/bin/true", "/bin/true"]);
});

test("gaps have the names and words that a trace gives them", () => {
  const source = fs.readFileSync(new URL("../../guest/audit/gaps.ts", import.meta.url), "utf8");
  const cases = [...source.matchAll(/case (GAP_\w+):\s+return cstr\("([^"]+)"\)/g)].map(([, name, text]) => [
    name,
    text,
  ]);
  const kinds = Object.entries(layout).filter(([name]) => /^GAP_(?!KIND|VALUE|PAYLOADS)/.test(name));
  const names = kinds.map(([name, number]) => [name, gapKind(number)]);
  const words = kinds.map(([name, number]) => [name, TEXT_OF[gapKind(number)]]);
  expect(cases.sort()).toEqual([...names, ...words].sort());
});

test("so are static programs and scripts of theirs, whatever their environment", () => {
  const script = join(scratch, "static.sh");
  fs.writeFileSync(script, "#! /bin/busybox sh\ntrue\n", { mode: 0o755 });
  const { lines } = audited(["/bin/sh", "-c", `/bin/busybox true; ${script}; /bin/true`]);
  const lost = lines.filter(({ kind }) => kind === "exec-unhooked").map(({ detail }) => detail);
  expect(lost).toEqual(["/bin/busybox", script]);
});
