import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import * as L from "../../src/image/layout.ts";
import { Ring } from "../../src/session/ring.ts";
import { removeStale } from "../../src/session/stale.ts";

let parent: string;
beforeEach(() => {
  parent = fs.mkdtempSync(path.join(os.tmpdir(), "ring-test-"));
});
afterEach(() => fs.rmSync(parent, { recursive: true, force: true }));

const table = Buffer.alloc(L.RING_ROWS * L.RING_ROW_SIZE, 0x5a);

test("a new ring has header, recording table and chunks that exist on disk, for its user only", () => {
  const ring = Ring.create({ table, dataLimit: 32, parent, chunks: 4 });
  const bytes = fs.readFileSync(ring.path);
  expect(bytes.length).toBe(L.RING_CHUNKS + 4 * L.RING_CHUNK_SIZE);
  expect(bytes.readUInt32LE(L.RING_H_MAGIC)).toBe(L.RING_MAGIC);
  expect(bytes.readUInt32LE(L.RING_H_VERSION)).toBe(L.RING_VERSION);
  expect(bytes.readUInt32LE(L.RING_H_CHUNK_COUNT)).toBe(4);
  expect(bytes.readUInt32LE(L.RING_H_DATA_LIMIT)).toBe(32);
  expect(bytes.subarray(L.RING_TABLE, L.RING_TABLE + table.length).equals(table)).toBe(true);
  expect(bytes.subarray(L.RING_CHUNK_TABLE).every((byte) => byte === 0)).toBe(true);
  const stat = fs.statSync(ring.path);
  expect(stat.blocks * 512).toBeGreaterThanOrEqual(bytes.length);
  expect(stat.mode & 0o777).toBe(0o600);
  expect(fs.statSync(ring.directory).mode & 0o777).toBe(0o700);
  ring.remove();
});

test("it grows by doubling up to the limit, and says so only when the room is there", () => {
  const ring = Ring.create({ table, dataLimit: 32, parent, chunks: 1024 });
  const sizes = [];
  while (ring.grow()) sizes.push(ring.chunkCount);
  expect(sizes).toEqual([2048, L.RING_MAX_CHUNKS]);
  const header = Buffer.alloc(4);
  ring.read(header, L.RING_H_CHUNK_COUNT, 4);
  expect(header.readUInt32LE()).toBe(L.RING_MAX_CHUNKS);
  expect(fs.statSync(ring.path).size).toBe(L.RING_CHUNKS + L.RING_MAX_CHUNKS * L.RING_CHUNK_SIZE);
  ring.remove();
});

test("removing it leaves nothing behind, tells guests, and may be done twice", () => {
  const ring = Ring.create({ table, dataLimit: 32, parent, chunks: 1 });
  const guest = fs.openSync(ring.path, "r");
  ring.remove();
  ring.remove();
  const word = Buffer.alloc(4);
  fs.readSync(guest, word, 0, 4, L.RING_H_CLOSED);
  fs.closeSync(guest);
  expect(word.readUInt32LE()).toBe(1);
  expect(fs.readdirSync(parent)).toEqual([]);
});

test("the beat changes with each pass", () => {
  const ring = Ring.create({ table, dataLimit: 32, parent, chunks: 1 });
  const beats = [0, 1, 2].map(() => {
    ring.beat();
    const word = Buffer.alloc(8);
    ring.read(word, L.RING_H_BEAT, 8);
    return word.readBigUInt64LE();
  });
  expect(new Set(beats).size).toBe(3);
  ring.remove();
});

test("no directory to make it in is an error with a cause and a fix", () => {
  const missing = path.join(parent, "missing");
  expect(() => Ring.create({ table, dataLimit: 32, parent: missing })).toThrowError(
    expect.objectContaining({ code: "RING_CREATE", cause: expect.objectContaining({ code: "ENOENT" }) }),
  );
});

test("directories that dead processes left are removed, others are not", () => {
  const mine = Ring.create({ table, dataLimit: 32, parent, chunks: 1 });
  const namespace = fs.readlinkSync("/proc/self/ns/pid");
  const leave = (name: string, owner: unknown): void => {
    fs.mkdirSync(path.join(parent, name));
    if (owner !== undefined) fs.writeFileSync(path.join(parent, name, "owner"), JSON.stringify(owner));
  };
  leave("zpoline-dead", { pid: process.pid, start: "1", namespace });
  leave("zpoline-elsewhere", { pid: process.pid, start: "1", namespace: "pid:[1]" });
  leave("zpoline-unknown", undefined);
  leave("zpoline-odd", "text");
  leave("other-dead", { pid: process.pid, start: "1", namespace });
  removeStale(parent);
  expect(fs.readdirSync(parent).sort()).toEqual(
    [path.basename(mine.directory), "other-dead", "zpoline-elsewhere", "zpoline-odd", "zpoline-unknown"].sort(),
  );
  mine.remove();
});
