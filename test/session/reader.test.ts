import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import * as L from "../../src/image/layout.ts";
import { Clock } from "../../src/session/clock.ts";
import { GapList } from "../../src/session/gaps.ts";
import { Reader } from "../../src/session/reader.ts";
import { Ring } from "../../src/session/ring.ts";
import { NUMBERS } from "../../src/syscalls/numbers.ts";
import { BASE_TIME, cstring, FakeThread } from "../helpers/fake-guest.ts";
import { Lines } from "../helpers/lines.ts";

const { getpid, read, write, pause, execve, execveat, exit_group, exit, clone, rt_sigreturn } = NUMBERS;
const me = process.pid;
/** No process has it: above every possible pid_max. */
const DEAD = 0x7ffffff0;

let parent: string;
let ring: Ring;
let sink: Lines;
let gaps: GapList;
let reader: Reader;
let now: number;

beforeEach(() => {
  parent = fs.mkdtempSync(path.join(os.tmpdir(), "reader-test-"));
  begin(me, 8);
});
afterEach(() => {
  ring.remove();
  fs.rmSync(parent, { recursive: true, force: true });
});

function begin(root: number, chunks: number): void {
  ring?.remove();
  ring = Ring.create({ table: Buffer.alloc(16384), dataLimit: 32, parent, chunks });
  sink = new Lines();
  gaps = new GapList();
  now = 0;
  reader = new Reader({ ring, sink, clock: new Clock(BASE_TIME, 1), gaps, root, now: () => now });
}

function drain(): void {
  while (reader.pass() > 0);
  reader.pass();
}

function finish(code = 0): string[] {
  reader.rootEnded({ code });
  reader.finish();
  return sink.lines;
}

function stateOf(chunk: number): number {
  const word = Buffer.alloc(4);
  ring.read(word, L.RING_CHUNK_TABLE + chunk * L.RING_CHUNK_ENTRY, 4);
  return word.readUInt32LE();
}

describe("one thread", () => {
  test("calls come out with arguments, results, payloads and times", () => {
    const thread = new FakeThread(ring.path, me);
    thread.start(10, "/bin/prog", 77);
    thread.enter(100, read, [3, 0x7ffc00001000, 5]);
    thread.exit(250, read, 100, 5, [{ arg: 1, kind: L.CAPTURE_RESULT, bytes: Buffer.from("hello"), full: 5 }]);
    expect(finish()).toEqual([`${me} start /bin/prog`, `${me} read(`, `${me} read) = 5`, `${me} end 0`]);
    const [call] = sink.calls;
    expect(call).toMatchObject({ pid: me, tid: me, nr: read, ip: 0x7f0000001002, start: 100, end: 250, result: 5 });
    expect(call?.arg(1)).toBe(0x7ffc00001000n);
    const [payload] = call?.exit ?? [];
    expect(payload).toMatchObject({ arg: 1, kind: L.CAPTURE_RESULT, full: 5, size: 5 });
    expect(payload?.memory.toString("utf8", payload.at, payload.at + payload.size)).toBe("hello");
    expect(gaps.list()).toEqual([]);
  });

  test("results keep their value: errors, addresses and what no double can hold", () => {
    const thread = new FakeThread(ring.path, me);
    const results = [-14, 0x7fffffffe000, -(2 ** 53) + 1, 0x1234567890abcdefn, -0x1234567890abcdefn];
    results.forEach((result, i) => {
      thread.enter(i * 10, getpid);
      thread.exit(i * 10 + 1, getpid, i * 10, result);
    });
    finish();
    expect(sink.calls.map((call) => call.result)).toEqual(results);
    expect(sink.calls.map((call) => call.errno)).toEqual([14, 0, 0, 0, 0]);
  });

  test("more than a chunk holds goes through several chunks, which become free again", () => {
    const thread = new FakeThread(ring.path, me);
    for (let i = 0; i < 3000; i++) {
      thread.call(i * 10, getpid, [], i);
      if (i % 500 === 0) reader.pass();
    }
    drain();
    expect(sink.calls.map((call) => call.result)).toEqual(Array.from({ length: 3000 }, (_, i) => i));
    const states = Array.from({ length: ring.chunkCount }, (_, i) => stateOf(i));
    expect(states.filter((state) => state === L.STATE_OWNED)).toHaveLength(1);
    expect(states.filter((state) => state === L.STATE_FULL)).toHaveLength(0);
  });

  test("a record in the making is waited for, and what a handler writes meanwhile is not", () => {
    const thread = new FakeThread(ring.path, me);
    const body = Buffer.alloc(64);
    body.writeUInt32LE(write);
    const outer = thread.reserve(64);
    thread.call(20, getpid);
    drain();
    expect(sink.lines).toEqual([`${me} getpid(`, `${me} getpid) = 0`]);
    thread.fill(outer, 10, body);
    drain();
    expect(sink.lines).toHaveLength(2);
    thread.commit(outer, L.TYPE_ENTER);
    thread.call(30, read);
    drain();
    expect(sink.lines.slice(2)).toEqual([`${me} write(`, `${me} read(`, `${me} read) = 0`]);
  });

  test("a full chunk with a record in the making is kept until that is committed", () => {
    const thread = new FakeThread(ring.path, me);
    const outer = thread.reserve(64);
    const first = thread.chunk;
    thread.fill(outer, 1, Buffer.alloc(64));
    thread.release();
    thread.call(20, getpid);
    drain();
    expect(stateOf(first)).toBe(L.STATE_FULL);
    thread.commit(outer, L.TYPE_ENTER);
    drain();
    expect(stateOf(first)).toBe(L.STATE_FREE);
    expect(sink.lines.at(-1)).toBe(`${me} read(`);
  });

  test("a reservation without a size is skipped once the chunk is full", () => {
    const thread = new FakeThread(ring.path, me);
    thread.call(10, getpid);
    thread.skip(96);
    thread.call(20, read);
    drain();
    expect(sink.calls.map(({ nr }) => nr)).toEqual([getpid]);
    thread.release();
    drain();
    expect(sink.calls.map(({ nr }) => nr)).toEqual([getpid, read]);
  });

  test("calls that are jumped out of stay open, handlers nest", () => {
    const thread = new FakeThread(ring.path, me);
    thread.enter(10, pause);
    thread.enter(20, write);
    thread.exit(21, write, 20, 1);
    thread.enter(30, rt_sigreturn);
    thread.exit(40, pause, 10, -4);
    thread.enter(50, pause);
    thread.enter(60, read);
    thread.exit(70, pause, 50, -4);
    expect(finish().filter((line) => line.includes(")"))).toEqual([
      `${me} write) = 1`,
      `${me} rt_sigreturn) = undefined`,
      `${me} pause) = -4`,
      `${me} pause) = -4`,
    ]);
  });

  test("an exit whose enter was lost is left out", () => {
    const thread = new FakeThread(ring.path, me);
    thread.start(1, "/bin/prog");
    thread.exit(20, read, 10, 1);
    thread.lose();
    expect(finish()).toEqual([`${me} start /bin/prog`, `${me} end 0`]);
    expect(gaps.list()).toEqual([{ kind: "ring-overflow", pid: 0, detail: "", count: 1 }]);
  });
});

describe("several threads", () => {
  test("are merged by time", () => {
    const [a, b] = [new FakeThread(ring.path, me), new FakeThread(ring.path, me, DEAD)];
    a.call(10, read);
    a.call(30, write);
    b.call(20, getpid);
    b.call(40, pause);
    expect(finish().filter((line) => line.endsWith("("))).toEqual([
      `${me} read(`,
      `${DEAD} getpid(`,
      `${me} write(`,
      `${DEAD} pause(`,
    ]);
    expect(sink.times).toEqual(sink.times.toSorted((x, y) => x - y));
  });

  test("what is newer than all that was known is held back for one pass", () => {
    const [a, b] = [new FakeThread(ring.path, me), new FakeThread(ring.path, me, me + 1)];
    a.enter(10, read);
    reader.pass();
    a.enter(30, write);
    reader.pass();
    expect(sink.lines).toEqual([`${me} read(`]);
    b.enter(20, getpid);
    reader.pass();
    expect(sink.lines).toEqual([`${me} read(`, `${me + 1} getpid(`, `${me} write(`]);
  });

  test("times never run backwards, even when a record comes late", () => {
    const [a, b] = [new FakeThread(ring.path, me), new FakeThread(ring.path, me, me + 1)];
    a.call(100, read);
    drain();
    b.call(50, write);
    drain();
    expect(sink.times).toEqual(sink.times.toSorted((x, y) => x - y));
    expect(sink.calls).toHaveLength(2);
  });
});

describe("processes", () => {
  test("an execve that succeeds returns 0 before the new image starts", () => {
    const thread = new FakeThread(ring.path, me);
    thread.start(1, "/bin/sh");
    thread.enter(10, execve, [1], [cstring(0, "/bin/ls")]);
    thread.start(50, "/bin/ls");
    thread.call(60, getpid);
    finish();
    expect(sink.lines.slice(0, 4)).toEqual([
      `${me} start /bin/sh`,
      `${me} execve(`,
      `${me} execve) = 0`,
      `${me} start /bin/ls`,
    ]);
    expect(sink.calls[0]).toMatchObject({ result: 0, start: 10, end: 45 });
    expect(gaps.list()).toEqual([]);
  });

  test.each([
    ["execve", execve, [1], "./a", "./a"],
    ["execve of a script", execve, [1], "/bin/script", "/bin/script"],
    ["execveat with the working directory", execveat, [-100, 1], "a", "a"],
    ["execveat with an absolute path", execveat, [5, 1], "/bin/a", "/bin/a"],
    ["execveat with a directory", execveat, [5, 1], "a", "/dev/fd/5/a"],
    ["execveat of a descriptor", execveat, [5, 1], "", "/dev/fd/5"],
  ])(
    "%s: an image that was asked for by another name came from one that was not seen",
    (_name, nr, args, path, name) => {
      const thread = new FakeThread(ring.path, me);
      const argument = args.length - 1;
      thread.enter(10, nr, args, [cstring(argument, path)]);
      thread.start(50, "/usr/bin/a", 1, name);
      thread.enter(60, nr, args, [cstring(argument, path)]);
      thread.start(90, "/usr/bin/b", 1, "/usr/bin/b");
      finish();
      expect(gaps.list()).toEqual([{ kind: "exec-unhooked", pid: me, detail: name, count: 1 }]);
    },
  );

  test("an execve that a guest has already called a gap is one gap", () => {
    const thread = new FakeThread(ring.path, me);
    thread.start(1, "/bin/sh");
    thread.enter(10, execve, [1], [cstring(0, "/sbin/static")]);
    thread.gap(11, L.GAP_EXEC_UNHOOKED, 0, "/sbin/static");
    finish();
    expect(gaps.list()).toEqual([{ kind: "exec-unhooked", pid: me, detail: "/sbin/static", count: 1 }]);
  });

  test("an execve without a start after it is a gap", () => {
    const thread = new FakeThread(ring.path, me);
    thread.start(1, "/bin/sh");
    thread.enter(10, execve, [1], [cstring(0, "/sbin/static")]);
    finish();
    expect(gaps.list()).toEqual([{ kind: "exec-unhooked", pid: me, detail: "/sbin/static", count: 1 }]);
  });

  test("a root that never starts is a gap", () => {
    finish();
    expect(gaps.list()).toEqual([{ kind: "not-hooked", pid: me, detail: "", count: 1 }]);
  });

  test("a child ends with the status of its exit_group, its other threads with it once it is dead", () => {
    const root = new FakeThread(ring.path, me);
    root.start(1, "/bin/sh");
    root.enter(2, clone);
    const [main, other] = [new FakeThread(ring.path, DEAD), new FakeThread(ring.path, DEAD, DEAD + 1)];
    main.child(5, me);
    root.exit(6, clone, 2, DEAD);
    other.child(7, DEAD);
    main.enter(8, exit_group, [0x103]);
    root.call(9, getpid);
    drain();
    now += 1000;
    for (let i = 0; i < 4; i++) reader.pass();
    expect(sink.lines.slice(-5)).toEqual([
      `${DEAD} exit_group(`,
      `${DEAD} end 3`,
      `${me} getpid(`,
      `${me} getpid) = 0`,
      `${DEAD + 1} end 3`,
    ]);
    expect(reader.anyoneLives()).toBe(true);
    finish();
    expect(gaps.list()).toEqual([]);
  });

  test("a thread that exits ends alone", () => {
    const [a, b] = [new FakeThread(ring.path, me), new FakeThread(ring.path, me, DEAD)];
    a.start(1, "/bin/prog");
    b.child(2, me);
    b.enter(3, exit, [0]);
    a.call(4, getpid);
    expect(finish(7)).toEqual([
      `${me} start /bin/prog`,
      `${DEAD} child of ${me}`,
      `${DEAD} exit(`,
      `${DEAD} end 0`,
      `${me} getpid(`,
      `${me} getpid) = 0`,
      `${me} end 7`,
    ]);
  });

  test("a child that says nothing as long as it is seen alive is a gap; one that was dead at once is none", () => {
    const root = new FakeThread(ring.path, me);
    root.start(1, "/bin/sh");
    root.call(10, clone, [], DEAD);
    root.call(12, clone, [], process.ppid);
    drain();
    for (let i = 0; i < 30; i++) {
      now += 1000;
      reader.pass();
    }
    finish();
    const detail = `it had the number ${process.ppid}`;
    expect(gaps.list()).toEqual([{ kind: "untraced-child", pid: me, detail, count: 1 }]);
  });

  test("chunks of a dead thread are read and freed, whoever wrote them last", () => {
    const dead = new FakeThread(ring.path, DEAD);
    dead.call(10, getpid);
    dead.reserve(64);
    now += 1000;
    reader.pass();
    expect(stateOf(dead.chunk)).toBe(L.STATE_FREE);
    drain();
    expect(sink.calls).toHaveLength(1);
  });

  test("where process 1 is seen, nobody is taken for dead", () => {
    const [init, dead] = [new FakeThread(ring.path, 1), new FakeThread(ring.path, DEAD)];
    init.call(5, getpid);
    dead.call(10, getpid);
    drain();
    now += 1000;
    drain();
    expect(stateOf(dead.chunk)).toBe(L.STATE_OWNED);
    expect(reader.anyoneLives()).toBe(false);
  });

  test("gap records reach the sink and the list, same ones counted", () => {
    const thread = new FakeThread(ring.path, me);
    thread.start(1, "/bin/prog");
    thread.gap(2, L.GAP_JIT, 0x1000, "rwx");
    thread.gap(3, L.GAP_JIT, 0x2000, "rwx");
    thread.gap(4, 99, 0, "new");
    finish();
    expect(sink.lines).toContain(`${me} gap ${L.GAP_JIT} 4096 rwx`);
    expect(gaps.list()).toEqual([
      { kind: "jit", pid: me, detail: "rwx", count: 2 },
      { kind: "unknown", pid: me, detail: "new", count: 1 },
    ]);
  });
});

test("the ring grows while few chunks are free", () => {
  begin(me, 4);
  const threads = [0, 1, 2, 3].map((i) => new FakeThread(ring.path, me, i === 0 ? me : undefined));
  for (const thread of threads) thread.call(10, getpid);
  reader.pass();
  expect(ring.chunkCount).toBe(8);
});

test("a scribbled chunk is a gap, what stands before the scribble is told", () => {
  const thread = new FakeThread(ring.path, me);
  thread.start(1, "/bin/prog");
  thread.call(10, getpid);
  thread.write(thread.reserve(64), Buffer.alloc(80, 0x41));
  drain();
  expect(sink.calls).toHaveLength(1);
  finish();
  expect(gaps.list()).toEqual([{ kind: "ring-damaged", pid: me, detail: "", count: 1 }]);
});

test("a record of no known type is a gap", () => {
  const thread = new FakeThread(ring.path, me);
  thread.start(1, "/bin/prog");
  thread.record(77, 10, Buffer.alloc(8));
  finish();
  expect(gaps.list()).toEqual([{ kind: "ring-damaged", pid: me, detail: "", count: 1 }]);
});
