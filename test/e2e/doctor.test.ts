/** `zpoline doctor` on this machine: as whoever runs the tests, as an ordinary user, and where next to nothing works. */
import { chmodSync, cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Diagnosis } from "../../src/doctor/report.ts";
import { type Outcome, run, scratch, ZPOLINE } from "./run.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const isRoot = process.getuid?.() === 0;
const doctor = (...flags: readonly string[]) => [process.execPath, ZPOLINE, "doctor", ...flags];
const parse = ({ stdout }: Outcome): Diagnosis => JSON.parse(stdout) as Diagnosis;
const kindsOf = ({ bench }: Diagnosis) => Object.fromEntries((bench?.kinds ?? []).map((kind) => [kind.kind, kind]));

test("the text tells of every kind of patch, without colours, and leaves nothing behind", () => {
  const temporary = join(scratch, "temporary");
  mkdirSync(temporary);
  const { stdout, stderr, status } = run(doctor(), { env: { ...process.env, TMPDIR: temporary } });
  expect({ stderr, status }).toEqual({ stderr: "", status: 0 });
  for (const text of ["Syscall User Dispatch", "memory at address 0", "native", "zero", "jump"])
    expect(stdout).toContain(text);
  expect(stdout).not.toContain("\x1b");
  expect(readdirSync(temporary)).toEqual([]);
});

test("the JSON has the facts, the costs, and the advice", () => {
  const outcome = run(doctor("--json"));
  const diagnosis = parse(outcome);
  expect(outcome.status).toBe(0);
  expect(diagnosis.facts.userDispatch).toEqual({ works: true, why: null });
  expect(diagnosis.facts.proc).toEqual({ mounted: true, textWritable: { works: true, why: null } });
  expect(diagnosis.bench?.native.call).toBeGreaterThan(0);
  for (const { works, cost } of diagnosis.bench?.kinds ?? []) expect(cost !== null).toBe(works);
  expect(kindsOf(diagnosis)["zero"]?.works).toBe(diagnosis.facts.addressZero.mapping?.works);
});

describe.runIf(isRoot)("elsewhere", () => {
  // Other users can read neither the checkout nor the scratch directory.
  const open = mkdtempSync("/tmp/zpoline-open-");
  afterAll(() => rmSync(open, { recursive: true, force: true }));
  const command = [process.execPath, join(open, "bin/zpoline.js"), "doctor", "--json"];
  const USER = [
    "setpriv",
    "--reuid",
    "65534",
    "--regid",
    "65534",
    "--clear-groups",
    "--inh-caps=-all",
    "--bounding-set=-all",
  ];

  beforeAll(() => {
    for (const part of ["bin", "dist", "package.json", "node_modules/commander"])
      cpSync(join(root, part), join(open, part), { recursive: true });
    chmodSync(open, 0o755);
    run(["chmod", "-R", "a+rX", open]);
  });

  test("an ordinary user may not map address 0, and is told what to do", () => {
    const diagnosis = parse(run([...USER, ...command]));
    expect(diagnosis.facts.addressZero.capability).toEqual({ effective: false, bounding: false });
    const allowed = diagnosis.facts.addressZero.minAddress === 0;
    expect(diagnosis.facts.addressZero.mapping?.works).toBe(allowed);
    if (allowed) return;
    expect(diagnosis.facts.addressZero.mapping?.why).toBe("EPERM");
    expect(kindsOf(diagnosis)["zero"]).toEqual({ kind: "zero", works: false, why: "NO_VA0", cost: null });
    expect(diagnosis.advice.improvements.map(({ fix }) => fix).join("\n")).toContain("vm.mmap_min_addr=0");
  });

  test("a temporary directory that is mounted noexec does not matter", () => {
    const mounted = join(open, "noexec");
    mkdirSync(mounted);
    const script = 'mount -t tmpfs -o noexec none "$1" && shift && TMPDIR="$1" && export TMPDIR && shift && exec "$@"';
    const diagnosis = parse(run(["unshare", "-m", "sh", "-c", script, "sh", mounted, mounted, ...command]));
    expect(diagnosis.facts.temporary.path).toBe(mounted);
    expect(diagnosis.facts.temporary.programs).not.toBe(mounted);
    expect(diagnosis.bench).not.toBeNull();
  });

  test("without /proc it says so", () => {
    const outcome = run(["unshare", "-m", "sh", "-c", 'umount -l /proc && exec "$@"', "sh", ...command]);
    expect(parse(outcome).facts.proc.mounted).toBe(false);
    expect(parse(outcome).advice.improvements.map(({ fix }) => fix)).toContain("sudo mount -t proc proc /proc");
  });

  test("a library that cannot be loaded, or is not there, is 125", () => {
    const library = join(open, "dist/libzpoline.so");
    cpSync("/dev/null", library);
    const empty = run(command);
    expect(empty.status).toBe(125);
    expect(kindsOf(parse(empty))["zero"]?.works).toBe(false);
    expect(parse(empty).advice.tier).toBeNull();
    rmSync(library);
    const missing = run(command);
    expect(missing.status).toBe(125);
    expect(parse(missing).facts.library).toEqual({ path: null, error: "NOT_BUILT" });
    expect(parse(missing).advice.improvements[0]?.fix).toBe("npm run build");
  });
});
