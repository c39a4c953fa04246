/** The site cache: a start from it is the same as one without, and nothing that is wrong with it is believed. */
import * as fs from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { beforeAll, beforeEach, describe, expect, test } from "vitest";
import { libraryPath } from "../../src/session/library.ts";
import { type Audited, type AuditLine, audited, objectLine } from "./audit.ts";
import { fixture, run, scratch } from "./run.ts";

const directory = join(scratch, "cache");
const env = { ZPOLINE_CACHE: directory };
const SETTLED = 2100;
let program: string;

const start = (more: NodeJS.ProcessEnv = {}) => audited([program], { ...env, ...more });
const isCached = ({ lines }: Audited) => objectLine(lines, "bigtext")["cached"];
const entries = () => (fs.existsSync(directory) ? fs.readdirSync(directory).sort() : []);

/** What is told of each site and gap, without what differs from one process to the next. */
const told = ({ lines }: Audited): AuditLine[] =>
  lines
    .filter(({ type }) => type === "site" || type === "gap")
    .map(({ type, file, fileOffset, number, patch, reason, kind, detail }) => {
      return { type, pid: 0, file, fileOffset, number, patch, reason, kind, detail };
    });

beforeAll(async () => {
  program = fixture("bigtext.c");
  await sleep(SETTLED);
});

beforeEach(() => fs.rmSync(directory, { recursive: true, force: true }));

/** Path of the cache's file for the program, after a first start. */
function entryOfProgram(): string {
  start();
  const inode = fs.statSync(program, { bigint: true }).ino;
  const path = entries().map((name) => join(directory, name));
  const entry = path.find((file) => fs.readFileSync(file).readBigUInt64LE(INODE_AT) === inode);
  if (entry === undefined) throw new Error("the program is not in the cache");
  return entry;
}

// As in guest/rewrite/cache.ts.
const CHECKSUM_AT = 24;
const CHECKED_AT = 32;
const CODE_AT = 40;
const INODE_AT = 64;
const ENTRIES_AT = 152;
const mask = (value: bigint) => BigInt.asUintN(64, value);

function checksum(bytes: Buffer): bigint {
  let hash = BigInt(bytes.length);
  for (let at = 0; at < bytes.length; at += 8) {
    const mixed = hash ^ (at + 8 > bytes.length ? BigInt(bytes.readUInt32LE(at)) : bytes.readBigUInt64LE(at));
    hash = mask((mask(mixed << 29n) | (mixed >> 35n)) * 0x9e3779b97f4a7c15n);
  }
  return hash ^ (hash >> 32n);
}

/** Changes the file and makes its checksum right again. */
function forge(path: string, change: (bytes: Buffer) => void): void {
  const bytes = fs.readFileSync(path);
  expect(bytes.readBigUInt64LE(CHECKSUM_AT)).toBe(checksum(bytes.subarray(CHECKED_AT)));
  change(bytes);
  bytes.writeBigUInt64LE(checksum(bytes.subarray(CHECKED_AT)), CHECKSUM_AT);
  fs.writeFileSync(path, bytes);
}

test("the second start tells the same of every site and gap as the first", () => {
  const [cold, warm] = [start(), start()];
  expect([isCached(cold), isCached(warm)]).toEqual([false, true]);
  expect(objectLine(warm.lines, "libc.so.6")["cached"]).toBe(true);
  expect(told(warm)).toEqual(told(cold));
  expect(told(cold).some(({ patch, reason }) => patch === "none" && reason === "data")).toBe(false);
  expect(told(cold).some(({ kind }) => kind === "unpatched-site")).toBe(true);
  expect(warm).toMatchObject({ status: 0, stdout: "1 1\n", stderr: "" });
});

test("nothing is kept with ZPOLINE_CACHE=off, or empty, or a relative path", () => {
  for (const value of ["off", "", "cache"]) expect(isCached(start({ ZPOLINE_CACHE: value }))).toBe(false);
  expect(fs.existsSync(join(scratch, "cache"))).toBe(false);
});

describe("without ZPOLINE_CACHE", () => {
  const home = join(scratch, "home");
  const homes = (more: NodeJS.ProcessEnv) => ({ HOME: home, ...more });

  beforeEach(() => {
    fs.rmSync(home, { recursive: true, force: true });
    fs.mkdirSync(home);
  });

  test.each([
    ["HOME", ".cache", {}],
    ["XDG_CACHE_HOME", "xdg", { XDG_CACHE_HOME: join(home, "xdg") }],
  ])("it is in a directory below %s, if there is one", (_, parent, more) => {
    audited([program], homes(more));
    expect(fs.readdirSync(home)).toEqual([]);
    fs.mkdirSync(join(home, parent));
    const cold = audited([program], homes(more));
    expect(fs.statSync(join(home, parent, "zpoline")).mode & 0o777).toBe(0o700);
    expect([cold, audited([program], homes(more))].map(isCached)).toEqual([false, true]);
  });
});

describe("a damaged file is not believed, and replaced:", () => {
  const damages: readonly [string, (path: string) => void][] = [
    ["empty", (path) => fs.truncateSync(path, 0)],
    ["cut in the header", (path) => fs.truncateSync(path, 100)],
    ["cut in the entries", (path) => fs.truncateSync(path, fs.statSync(path).size - 8)],
    ["longer", (path) => fs.appendFileSync(path, Buffer.alloc(8))],
    ["garbage", (path) => fs.writeFileSync(path, Buffer.alloc(500, 0xa5))],
    ["of another version", (path) => forge(path, (bytes) => bytes.writeUInt8(bytes.readUInt8(7) + 1, 7))],
    ["of another build", (path) => forge(path, (bytes) => bytes.writeUInt8(bytes.readUInt8(8) ^ 1, 8))],
    ["with another time stamp", (path) => forge(path, (bytes) => bytes.writeUInt8(bytes.readUInt8(104) ^ 1, 104))],
    ["of other bytes at the sites", (path) => forge(path, (bytes) => bytes.writeUInt8(1, CODE_AT))],
    ["with a site moved", (path) => forge(path, (bytes) => bytes.writeUInt32LE(7, ENTRIES_AT))],
    ["with a site outside", (path) => forge(path, (bytes) => bytes.writeUInt32LE(0x7fffffff, ENTRIES_AT))],
    [
      "with one bit changed",
      (path) => {
        const bytes = fs.readFileSync(path);
        bytes.writeUInt8(bytes.readUInt8(ENTRIES_AT + 6) ^ 1, ENTRIES_AT + 6);
        fs.writeFileSync(path, bytes);
      },
    ],
  ];

  test.each(damages)("%s", (_, damage) => {
    const path = entryOfProgram();
    damage(path);
    expect([start(), start()].map(isCached)).toEqual([false, true]);
  });

  test("a pipe, a link or a directory in its place", () => {
    const path = entryOfProgram();
    const copy = join(scratch, "entry");
    fs.copyFileSync(path, copy);
    for (const make of [() => run(["mkfifo", path]), () => fs.symlinkSync(copy, path), () => fs.mkdirSync(path)]) {
      fs.rmSync(path, { recursive: true });
      make();
      const outcome = start();
      expect([isCached(outcome), outcome.stdout]).toEqual([false, "1 1\n"]);
    }
  });
});

describe("a changed file is searched again:", () => {
  const copy = () => join(scratch, "copy-of-bigtext");
  const startCopy = () => audited([copy()], env);

  test("rewritten in place, its time of modification put back", async () => {
    fs.copyFileSync(program, copy());
    expect(isCached(startCopy())).toBe(false);
    expect(isCached(startCopy())).toBe(false); // it has changed too recently to be kept
    await sleep(SETTLED);
    expect([startCopy(), startCopy()].map(isCached)).toEqual([false, true]);
    const { atime, mtime } = fs.statSync(copy());
    const bytes = fs.readFileSync(copy());
    bytes.write("%d-%d\n", bytes.indexOf("%d %d\n"));
    fs.writeFileSync(copy(), bytes);
    fs.utimesSync(copy(), atime, mtime);
    const changed = startCopy();
    expect([isCached(changed), changed.stdout]).toEqual([false, "1-1\n"]);
  });
});

describe("a directory that others can write to is not used:", () => {
  const modes: readonly (readonly [string, () => void])[] = [
    ["by its group", () => fs.chmodSync(directory, 0o720)],
    ["by all", () => fs.chmodSync(directory, 0o702)],
    ["of another user", () => fs.chownSync(directory, 65534, 65534)],
    [
      "through a symbolic link",
      () => {
        fs.renameSync(directory, `${directory}-elsewhere`);
        fs.symlinkSync(`${directory}-elsewhere`, directory);
      },
    ],
  ];

  test.each(modes)("%s", (_, spoil) => {
    start();
    expect(isCached(start())).toBe(true);
    const before = entries();
    spoil();
    expect(isCached(start())).toBe(false);
    expect(fs.readdirSync(fs.realpathSync(directory)).sort()).toEqual(before);
    fs.rmSync(`${directory}-elsewhere`, { recursive: true, force: true });
  });

  test("a file of another user", () => {
    fs.chownSync(entryOfProgram(), 65534, 65534);
    expect(isCached(start())).toBe(false);
  });
});

describe("where nothing can be kept, the program runs all the same:", () => {
  const limits: readonly (readonly [string, readonly string[]])[] = [
    ["no file may grow", ["prlimit", "--fsize=0", "--"]],
    ["no file may have more than 150 bytes", ["prlimit", "--fsize=150", "--"]],
    ["no descriptor is left", ["prlimit", "--nofile=4", "--"]],
  ];

  test.each(limits)("%s", (_, limit) => {
    const preload = ["env", `LD_PRELOAD=${libraryPath()}`, `ZPOLINE_CACHE=${directory}`];
    const outcome = run([...limit, ...preload, program]);
    expect(entries()).toEqual([]);
    expect(outcome).toMatchObject({ status: 0, stdout: "1 1\n", stderr: "" });
  });
});

test("several first starts at once leave whole files and nothing else", () => {
  const script = `for i in 1 2 3 4 5 6 7 8; do ${program} & done; wait`;
  const outcome = audited(["sh", "-c", script], env);
  expect(outcome.stdout).toBe("1 1\n".repeat(8));
  expect(entries().filter((name) => !/^[0-9a-f]{16}$/.test(name))).toEqual([]);
  expect(isCached(start())).toBe(true);
});

test("no descriptor stays open", () => {
  const list = ["ls", "/proc/self/fd"];
  const native = run(list, { env: { PATH: process.env["PATH"] } }).stdout;
  expect([audited(list, env).stdout, audited(list, env).stdout]).toEqual([native, native]);
});
