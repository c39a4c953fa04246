import { describe, expect, it } from "vitest";
import type { CallEvent } from "../../src/events.ts";
import { dataLimitFor, type StraceOptions, StraceText } from "../../src/present/strace.ts";
import { NUMBERS } from "../../src/syscalls/numbers.ts";
import type { CallName } from "../../src/syscalls/table.ts";
import { CaseList } from "./cases.ts";
import { makeEvent } from "./guest.ts";

const list = new CaseList();
const hello = list.bytes("hello");

/** A call that is not made yet: `enter` and `exit` make it happen. */
class Moment {
  readonly before: CallEvent;
  readonly #after: CallEvent;

  constructor(tid: number, name: CallName, args: readonly (number | bigint)[], result = 0, start = 0, end = start) {
    const [nr, values, when] = [NUMBERS[name], args.map(BigInt), { pid: 1000, tid, start, end }];
    this.before = makeEvent(nr, values, undefined, list.memory, when);
    this.#after = makeEvent(nr, values, result, list.memory, when);
  }

  enter(text: StraceText): void {
    text.enter(this.before);
  }

  exit(text: StraceText): void {
    Object.assign(this.before, { exit: this.#after.exit, end: this.#after.end, result: this.#after.result });
    text.exit(this.before);
  }

  whole(text: StraceText): void {
    this.enter(text);
    this.exit(text);
  }
}

function record(options: Partial<StraceOptions>, act: (text: StraceText) => void): string[] {
  const parts: string[] = [];
  act(new StraceText({ write: (part) => parts.push(part), dataLimit: dataLimitFor(), ...options }));
  return parts.join("").split("\n").slice(0, -1);
}

const read = (tid: number, start = 0, end = start) => new Moment(tid, "read", [3, hello, 5], 5, start, end);
const exitGroup = (tid: number, code: number) => new Moment(tid, "exit_group", [code]);
const ended = (tid: number, status: { code?: number; signal?: number }) =>
  ({ type: "end", pid: tid, tid, time: 0, ...status }) as const;

describe("a stream of calls", () => {
  it("is one line a call when nothing comes between", () => {
    const lines = record({}, (text) => {
      read(1).whole(text);
      exitGroup(1, 0).enter(text);
      text.end(ended(1, { code: 0 }));
    });
    expect(lines).toEqual([
      'read(3, "hello", 5)                     = 5',
      "exit_group(0)                           = ?",
      "+++ exited with 0 +++",
    ]);
  });

  // The expected lines of this test and the next are those of strace 6.1 -f for a program that does the same.
  it("is in two parts where another thread comes between", () => {
    const lines = record({ pids: "several" }, (text) => {
      text.start({
        type: "start",
        pid: 27096,
        ppid: 1,
        exe: "/bin/x",
        time: 0,
        began: 0,
        patched: 0,
        left: 0,
        patches: "jump",
      });
      text.child({ type: "child", pid: 27137, tid: 27137, time: 0, parentPid: 27096, parentTid: 27096 });
      const sleep = new Moment(27096, "clock_nanosleep", [1, 1, list.longs(3912, 415400153), 0]);
      const input = read(27137);
      sleep.enter(text);
      input.enter(text);
      sleep.exit(text);
      new Moment(27096, "write", [4, hello, 5], 5).whole(text);
      input.exit(text);
      const wait = new Moment(27096, "wait4", [-1, list.ints(0x300), 0, 0], 27137);
      wait.enter(text);
      exitGroup(27137, 3).enter(text);
      text.end(ended(27137, { code: 3 }));
      wait.exit(text);
      read(27096).whole(text);
    });
    expect(lines).toEqual([
      "zpoline: process 27137 attached",
      "[pid 27096] clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, {tv_sec=3912, tv_nsec=415400153},  <unfinished ...>",
      "[pid 27137] read(3,  <unfinished ...>",
      "[pid 27096] <... clock_nanosleep resumed>NULL) = 0",
      '[pid 27096] write(4, "hello", 5)        = 5',
      '[pid 27137] <... read resumed>"hello", 5) = 5',
      "[pid 27096] wait4(-1,  <unfinished ...>",
      "[pid 27137] exit_group(3)               = ?",
      "[pid 27137] +++ exited with 3 +++",
      "<... wait4 resumed>[{WIFEXITED(s) && WEXITSTATUS(s) == 3}], 0, NULL) = 27137",
      'read(3, "hello", 5)                     = 5',
    ]);
  });

  it("ends the calls that a thread was in when it ended", () => {
    const lines = record({ pids: "several" }, (text) => {
      read(27096).whole(text);
      const input = read(27138);
      input.enter(text);
      new Moment(27096, "kill", [27138, 9]).whole(text);
      text.end(ended(27138, { signal: 9 }));
      const wait = new Moment(27139, "futex", [list.longs(1), 0, 2, 0]);
      wait.enter(text);
      exitGroup(27096, 0).enter(text);
      text.end(ended(27139, { code: 0 }));
      const pipe = read(27140);
      pipe.enter(text);
      text.end(ended(27140, {}));
    });
    expect(lines).toEqual([
      'read(3, "hello", 5)                     = 5',
      "[pid 27138] read(3,  <unfinished ...>",
      "[pid 27096] kill(27138, SIGKILL)        = 0",
      "[pid 27138] <... read resumed> <unfinished ...>) = ?",
      "[pid 27138] +++ killed by SIGKILL +++",
      expect.stringMatching(/^\[pid 27139\] futex\(0x\w+, FUTEX_WAIT, 2, NULL <unfinished \.\.\.>$/),
      "[pid 27096] exit_group(0)               = ?",
      "[pid 27139] <... futex resumed>)        = ?",
      "[pid 27139] +++ exited with 0 +++",
      "[pid 27140] read(3,  <unfinished ...>)  = ?",
      "[pid 27140] +++ exited +++",
    ]);
  });

  it("splits clone where strace does", () => {
    const lines = record({}, (text) => {
      const fork = new Moment(1, "clone", [0x1200011, 0, 0, 0x5000], 2);
      fork.enter(text);
      read(2).whole(text);
      fork.exit(text);
    });
    expect(lines).toEqual([
      "clone(child_stack=NULL, flags=CLONE_CHILD_CLEARTID|CLONE_CHILD_SETTID|SIGCHLD <unfinished ...>",
      'read(3, "hello", 5)                     = 5',
      "<... clone resumed>, child_tidptr=0x5000) = 2",
    ]);
  });

  it("says the thread of every line in a file", () => {
    const lines = record({ pids: "always" }, (text) => {
      read(27).whole(text);
      exitGroup(123456, 1).enter(text);
      text.end(ended(123456, { code: 1 }));
    });
    expect(lines).toEqual([
      '27    read(3, "hello", 5)               = 5',
      "123456 exit_group(1)                    = ?",
      "123456 +++ exited with 1 +++",
    ]);
  });

  it("says times", () => {
    const epoch = 1795467890_725460_123n;
    const of = (times: StraceOptions["times"], durations = false) =>
      record({ ...(times && { times }), epoch, durations }, (text) => {
        read(1, 0, 120_000).whole(text);
        read(1, 2_000_000, 2_000_700).whole(text);
      }).map((line) => line.replace(/^(\d\d):\d\d:\d\d/, "hh:mm:ss").replace(/read.*5\) +/, ""));
    expect(of("epoch")).toEqual(["1795467890.725460 = 5", "1795467890.727460 = 5"]);
    expect(of("relative")).toEqual(["     0.000000 = 5", "     0.002000 = 5"]);
    expect(of("time")).toEqual(["hh:mm:ss = 5", "hh:mm:ss = 5"]);
    expect(of("microseconds")).toEqual(["hh:mm:ss.725460 = 5", "hh:mm:ss.727460 = 5"]);
    expect(of("none", true)).toEqual(["= 5 <0.000120>", "= 5 <0.000000>"]);
  });

  it("shows what is waited for when it is asked to", () => {
    const parts: string[] = [];
    const text = new StraceText({ write: (part) => parts.push(part), dataLimit: dataLimitFor() });
    const input = read(1);
    text.flush();
    input.enter(text);
    text.flush();
    text.flush();
    expect(parts).toEqual(["read(3, "]);
    input.exit(text);
    expect(parts.join("")).toBe('read(3, "hello", 5)                     = 5\n');
  });

  it("cuts strings at the limit that is asked for", () => {
    expect(record({ stringLimit: 2 }, (text) => read(1).whole(text))).toEqual([
      'read(3, "he"..., 5)                     = 5',
    ]);
    expect(dataLimitFor(4096)).toBe(4096);
    expect(dataLimitFor(0)).toBe(128);
  });

  it("shows raw arguments of a number that is no call", () => {
    const event = makeEvent(400, [1n, 0n, 0xffffffffffffffffn, 4n, 5n, 6n], -38, list.memory);
    const lines = record({}, (text) => {
      text.enter(event);
      text.exit(event);
    });
    expect(lines).toEqual([
      "syscall_0x190(0x1, 0, 0xffffffffffffffff, 0x4, 0x5, 0x6) = -1 ENOSYS (Function not implemented)",
    ]);
  });
});
