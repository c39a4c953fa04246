import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { Output } from "../../src/cli/output.ts";

let directory: string;
beforeEach(() => {
  directory = fs.mkdtempSync(path.join(os.tmpdir(), "output-test-"));
});
afterEach(() => fs.rmSync(directory, { recursive: true, force: true }));

test("what is written arrives whole and in order, in turns and at once", async () => {
  const file = path.join(directory, "out");
  const output = new Output(fs.openSync(file, "w"), file);
  let expected = "";
  for (let turn = 0; turn < 20; turn++) {
    for (let i = 0; i < 500; i++) {
      const line = `${turn} ${i} é\n`;
      output.write(line);
      expected += line;
    }
    await new Promise((resolve) => setImmediate(resolve));
  }
  await output.end();
  expect(fs.readFileSync(file, "utf8")).toBe(expected);
});

test("a pipe that is full is congestion, and goes on when there is room", async () => {
  const fifo = path.join(directory, "fifo");
  spawnSync("mkfifo", [fifo]);
  const { O_RDWR, O_NONBLOCK, O_WRONLY } = fs.constants;
  const reader = fs.openSync(fifo, O_RDWR | O_NONBLOCK);
  const output = new Output(fs.openSync(fifo, O_WRONLY | O_NONBLOCK), fifo);
  const line = `${"x".repeat(1023)}\n`;
  const lines = 17 * 1024;
  for (let i = 0; i < lines; i++) output.write(line);
  expect(output.congested).toBe(true);
  const buffer = Buffer.alloc(1 << 16);
  let got = 0;
  while (got < lines * line.length) {
    got += readSome(reader, buffer);
    await new Promise((resolve) => setImmediate(resolve));
  }
  await output.end();
  expect(got).toBe(lines * line.length);
  expect(output.congested).toBe(false);
});

/** Bytes read from a pipe that may be empty. */
function readSome(fd: number, into: Buffer): number {
  try {
    return fs.readSync(fd, into);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EAGAIN") return 0;
    throw error;
  }
}

test("a write error comes at the end, whatever is written after it", async () => {
  const output = new Output(fs.openSync("/dev/full", "w"), "/dev/full");
  output.write("text");
  await new Promise((resolve) => setTimeout(resolve, 10));
  output.write("more");
  await expect(output.end()).rejects.toEqual(
    expect.objectContaining({ code: "OUTPUT_WRITE", cause: expect.objectContaining({ code: "ENOSPC" }) }),
  );
});

test("nothing written is nothing to wait for", async () => {
  await expect(new Output(-1, "nowhere").end()).resolves.toBeUndefined();
});
