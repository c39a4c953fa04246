import { execFileSync } from "node:child_process";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { callName, type TraceEvent, type TraceOptions, trace, version, ZpolineError } from "../src/index.ts";
import { NUMBERS } from "../src/syscalls/numbers.ts";
import { FakeThread } from "./helpers/fake-guest.ts";

const { getpid, pause } = NUMBERS;

let tmp: string;
/** The programs wait until something is written into it. */
let fifo: string;
/** The tests write into the ring in the guest's place, so any library will do. */
let options: TraceOptions;
const tmpBefore = process.env["TMPDIR"];
beforeEach(() => {
  tmp = fs.mkdtempSync(path.join(os.tmpdir(), "trace-test-"));
  process.env["TMPDIR"] = path.join(tmp, "ring");
  fs.mkdirSync(process.env["TMPDIR"]);
  fifo = path.join(tmp, "fifo");
  execFileSync("mkfifo", [fifo]);
  options = { stdio: "ignore", cwd: tmp, library: "/lib/x86_64-linux-gnu/libc.so.6" } as TraceOptions;
});
afterEach(() => {
  if (tmpBefore === undefined) delete process.env["TMPDIR"];
  else process.env["TMPDIR"] = tmpBefore;
  fs.rmSync(tmp, { recursive: true, force: true });
});

function threadOf(pid: number): FakeThread {
  const [directory = ""] = fs.readdirSync(path.join(tmp, "ring"));
  return new FakeThread(path.join(tmp, "ring", directory, "ring"), pid);
}

const text = (event: TraceEvent): string =>
  event.type === "call" ? `${callName(event.nr)} = ${event.result ?? "?"}` : event.type;

test("events come in order, a call when it has returned or when its thread has ended in it", async () => {
  const run = await trace("sh", ["-c", "read x < fifo; exit 4"], options);
  const thread = threadOf(run.pid);
  thread.start(1, "/bin/sh");
  thread.call(10, getpid, [], 42);
  thread.enter(20, pause);
  thread.call(30, getpid, [], 43);
  fs.writeFileSync(fifo, "go\n");
  const seen: string[] = [];
  for await (const event of run) seen.push(text(event));
  expect(seen).toEqual(["start", "getpid = 42", "getpid = 43", "pause = ?", "end"]);
  const patches = { "jump+trap": 1 };
  expect(await run.result).toEqual({ status: { code: 4 }, coverage: { complete: true, gaps: [], patches } });
});

test("calls that are jumped out of do not pile up", async () => {
  const run = await trace("sh", ["-c", "read x < fifo"], options);
  const thread = threadOf(run.pid);
  for (let i = 0; i < 100; i++) thread.enter(i, pause);
  thread.call(200, getpid);
  fs.writeFileSync(fifo, "go\n");
  const seen: string[] = [];
  for await (const event of run) seen.push(text(event));
  expect(seen.indexOf("getpid = 0")).toBe(37);
  expect(seen.filter((line) => line === "pause = ?")).toHaveLength(100);
});

test("what cannot be started rejects with a ZpolineError", async () => {
  await expect(trace("no-such-command", [], options)).rejects.toBeInstanceOf(ZpolineError);
});

test("the version is the package's", () => {
  expect(version).toMatch(/^\d+\.\d+\.\d+$/);
});
