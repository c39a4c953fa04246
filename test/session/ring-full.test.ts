import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { afterAll, expect, test } from "vitest";
import * as L from "../../src/image/layout.ts";
import { Ring } from "../../src/session/ring.ts";

const MIB = 1 << 20;
const directory = fs.mkdtempSync(path.join(os.tmpdir(), "small-disk-"));
const mounted = spawnSync("mount", ["-t", "tmpfs", "-o", "size=3m", "tmpfs", directory]).status === 0;
afterAll(() => {
  if (mounted) spawnSync("umount", [directory]);
  fs.rmSync(directory, { recursive: true, force: true });
});

const table = Buffer.alloc(L.RING_ROWS * L.RING_ROW_SIZE);

test.runIf(mounted)("a disk without room is an error at once, and nothing is left on it", () => {
  expect(() => Ring.create({ table, dataLimit: 32, parent: directory, chunks: 128 })).toThrowError(
    expect.objectContaining({ code: "RING_CREATE", cause: expect.objectContaining({ code: "ENOSPC" }) }),
  );
  expect(fs.readdirSync(directory)).toEqual([]);
});

test.runIf(mounted)("a disk that fills up while the ring grows stops the growth and nothing else", () => {
  const ring = Ring.create({ table, dataLimit: 32, parent: directory, chunks: 32 });
  expect(ring.grow()).toBe(true);
  expect(ring.grow()).toBe(false);
  expect(ring.chunkCount).toBe(64);
  expect(fs.statSync(ring.path).size).toBe(L.RING_CHUNKS + 64 * L.RING_CHUNK_SIZE);
  expect(ring.grow()).toBe(false);
  ring.free(63);
  ring.remove();
  const left = fs.statfsSync(directory);
  expect(left.bfree * left.bsize).toBe(3 * MIB);
});
