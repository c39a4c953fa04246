/** Where text cannot be written in the usual way, sites are rewritten in another one, or stay whole and are reported. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { libraryPath } from "../../src/session/library.ts";
import { type AuditLine, readAudit } from "./audit.ts";
import { fixture, fixtureBy, run, scratch, zpoline } from "./run.ts";

const program = fixture("bigtext.c");
const musl = fixtureBy("musl-gcc", "bigtext.c");
const deny = fixture("deny.c");
let logs = 0;

// Program headers (elf(5)).
const E_PHOFF = 32;
const E_PHNUM = 56;
const PHDR_SIZE = 56;
const PT_LOAD = 1;
const PF_X = 1;
const PF_W = 2;
const PF_R = 4;

/** Runs `command` hooked, started by `wrapper`, which is not. */
function hooked(wrapper: readonly string[], command: string): { stdout: string; lines: readonly AuditLine[] } {
  const log = join(scratch, `patching.${logs++}`);
  const variables = [`LD_PRELOAD=${libraryPath()}`, `ZPOLINE_AUDIT=${log}`, "ZPOLINE_CACHE=off"];
  const { stdout, stderr, status } = run([...wrapper, "env", ...variables, command]);
  expect({ stderr, status }).toEqual({ stderr: "", status: 0 });
  return { stdout, lines: readAudit(log) };
}

/** What became of each site of a file. (Kernels may seal the vDSO: then it can be written in the usual way only.) */
const patches = (lines: readonly AuditLine[]) =>
  lines
    .filter(({ type, file }) => type === "site" && file !== "[vdso]")
    .map(({ fileOffset, number, patch, reason }) => ({ fileOffset, number, patch, reason }));

const usual = patches(hooked([], program).lines);

test("without pwrite, by a change of protection", () => {
  const { stdout, lines } = hooked([deny, "pwrite64", "--"], program);
  expect(stdout).toBe("1 1\n");
  expect(patches(lines)).toEqual(usual);
});

test("in no way: all sites are left, told one by one, and as a gap", () => {
  const { stdout, lines } = hooked([deny, "pwrite64", "write-text", "--"], program);
  expect(stdout).toBe("1 1\n");
  const left = usual.map((site) => {
    return { ...site, patch: "none", reason: site.patch === "none" ? site.reason : "not-written" };
  });
  expect(patches(lines)).toEqual(left);
  expect(lines.filter(({ kind }) => kind === "unpatched-site").length).toBeGreaterThan(8);
});

test("in no way, in a session: the trace says so", () => {
  const { stdout, stderr } = zpoline([deny, "pwrite64", "write-text", "--", program], { patch: "zero" });
  expect(stdout).toBe("1 1\n");
  expect(stderr).toMatch(/trace is incomplete: a system call instruction was left as it is: .*libc\.so\.6/);
});

test("a text that is writable stays so", () => {
  const file = fixture("writable-text.c");
  const bytes = readFileSync(file);
  const [headers, count] = [Number(bytes.readBigUInt64LE(E_PHOFF)), bytes.readUInt16LE(E_PHNUM)];
  for (let at = headers; at < headers + count * PHDR_SIZE; at += PHDR_SIZE) {
    const [type, flags] = [bytes.readUInt32LE(at), bytes.readUInt32LE(at + 4)];
    if (type === PT_LOAD && flags === PF_R + PF_X) bytes.writeUInt32LE(PF_R + PF_W + PF_X, at + 4);
  }
  const writable = `${file}-writable`;
  writeFileSync(writable, bytes, { mode: 0o755 });
  const { stdout, lines } = hooked([], writable);
  expect(stdout).toBe("1\n");
  expect(
    lines.filter(({ type, file, patch }) => type === "site" && file === writable && patch !== "none"),
  ).toHaveLength(16);
});

const WITHOUT_PROC = ["unshare", "-m", "sh", "-c", 'mount -t tmpfs none /proc && exec "$@"', "sh"];

test.each([
  ["glibc", program],
  ["musl", musl],
])("without /proc, %s: by what the loader tells", (_, command) => {
  const there = hooked([], command);
  const { stdout, lines } = hooked(WITHOUT_PROC, command);
  expect(stdout).toBe(there.stdout);
  const order = (sites: ReturnType<typeof patches>) => sites.map((site) => JSON.stringify(site)).sort();
  expect(order(patches(lines))).toEqual(order(patches(there.lines)));
  expect(lines.filter(({ kind }) => kind === "jit")).toEqual([]);
});
