import { CallEvent, type EventSink } from "../events.ts";
import * as L from "../image/layout.ts";
import { I386, i386, sameCall } from "../syscalls/i386.ts";
import { NUMBERS } from "../syscalls/numbers.ts";
import type { RawRecord } from "./chunks.ts";
import type { Clock } from "./clock.ts";
import { patchNames } from "./coverage.ts";
import { type GapList, gapKind } from "./gaps.ts";
import { readPayloads, readText, recordType } from "./records.ts";

const TWO_32 = 4294967296;
/** fcntl.h */
const AT_FDCWD = -100;
/** Calls of one thread that are open at once (signal handlers nest); older ones were jumped out of. */
const MOST_OPEN = 64;
/** A child that was found alive so often and has said nothing runs without us: 1 s, by the reader's census. */
const MOST_SIGHTINGS = 20;

/** How a process ended, where it is known. */
export interface Status {
  readonly code?: number;
  readonly signal?: number;
}

interface Open {
  readonly call: CallEvent;
  /** Ticks at enter: what the exit record names. */
  readonly ticks: number;
}

interface Thread {
  readonly pid: number;
  readonly tid: number;
  open: Open[];
}

interface Silent {
  readonly parent: number;
  /** How often it was found alive. */
  sightings: number;
}

interface Process {
  readonly tids: Set<number>;
  /** Of exit_group. */
  status: Status;
}

/** Tells a sink what the records say, taken in the order of time: pairs exits with enters and knows who is alive. */
export class Narrator {
  readonly #sink: EventSink;
  readonly #clock: Clock;
  readonly #gaps: GapList;
  readonly #root: number;
  readonly #threads = new Map<number, Thread>();
  readonly #processes = new Map<number, Process>();
  readonly #seen = new Set<number>();
  /**
   * Children that a parent was told of and that have said nothing yet, by tid. Their first word comes before anything of the
   * program's: one that dies without was killed at once, and nothing of it was missed.
   */
  readonly #expected = new Map<number, Silent>();
  /** Whether an image of the program that was started was ever hooked. */
  rootStarted = false;
  #rootEnded = false;
  /** Times never run backwards, also when the clock learns. */
  #now = Number.NEGATIVE_INFINITY;

  constructor(sink: EventSink, clock: Clock, gaps: GapList, root: number) {
    this.#sink = sink;
    this.#clock = clock;
    this.#gaps = gaps;
    this.#root = root;
  }

  /** Processes (and threads that have said nothing yet) that were not told dead. */
  living(): number[] {
    return [...this.#processes.keys(), ...this.#expected.keys()];
  }

  tell(record: RawRecord): void {
    this.#now = Math.max(this.#now, this.#clock.time(record.ticks));
    const type = recordType(record.memory, record.at);
    if (type === L.TYPE_ENTER) this.#enter(record);
    else if (type === L.TYPE_EXIT) this.#exit(record);
    else if (type === L.TYPE_START) this.#start(record);
    else if (type === L.TYPE_GAP) this.#gap(record);
    else if (type === L.TYPE_CHILD) this.#child(record);
    else this.#gaps.add("ring-damaged", record.pid, "");
  }

  /** It was not dead just now. */
  lives(pid: number): void {
    const silent = this.#expected.get(pid);
    if (silent === undefined) return;
    silent.sightings += 1;
    if (silent.sightings === MOST_SIGHTINGS) {
      this.#gaps.add("untraced-child", silent.parent, `it had the number ${pid}`);
    }
  }

  /** The process is gone, and everything that it recorded has been told. */
  died(pid: number, status?: Status): void {
    const process = this.#processes.get(pid);
    this.#expected.delete(pid);
    if (process === undefined) return;
    this.#processes.delete(pid);
    for (const tid of [...process.tids].reverse()) {
      const thread = this.#threads.get(tid);
      if (thread?.pid !== pid) continue;
      const exec = findExec(thread);
      if (exec !== undefined) this.#gaps.add("exec-unhooked", pid, execName(exec.call));
      this.#end(thread, status ?? process.status);
    }
  }

  /** Nothing more will be told. */
  finish(root: Status): void {
    if (!this.#rootEnded) this.#thread(this.#root, this.#root); // also when it never said a word
    for (const pid of [...this.#processes.keys()]) this.died(pid, pid === this.#root ? root : undefined);
  }

  #enter({ pid, tid, ticks, memory, at }: RawRecord): void {
    const thread = this.#thread(pid, tid);
    const nr = memory.readUInt32LE(at + L.ENTER_NR) + (memory.readUInt32LE(at + L.ENTER_ABI) === L.ABI_I386 ? I386 : 0);
    const ip = unsigned(memory, at + L.ENTER_IP);
    const payloads = readPayloads(memory, at, L.ENTER_PAYLOADS);
    const call = new CallEvent(pid, tid, nr, ip, this.#now, memory, at + L.ENTER_ARGS, payloads);
    this.#sink.enter(call);
    if (SIGRETURNS.has(nr)) {
      this.#sink.exit(call); // it never returns: it goes on where the signal came
      return;
    }
    if (nr === NUMBERS.exit || nr === i386("exit") || ENDS.has(nr)) {
      this.#exiting(thread, nr, { code: call.low(0) & 0xff });
      return;
    }
    if (thread.open.length >= MOST_OPEN) thread.open.shift();
    thread.open.push({ call, ticks });
  }

  /** How the root ended is known better by wait(2). */
  #exiting(thread: Thread, nr: number, status: Status): void {
    const process = this.#processes.get(thread.pid);
    if (process !== undefined && ENDS.has(nr)) process.status = status;
    if (thread.tid !== this.#root) this.#end(thread, status);
  }

  #exit({ pid, tid, memory, at }: RawRecord): void {
    const thread = this.#thread(pid, tid);
    const ticks = this.#clock.ticks(memory, at + L.EXIT_ENTER_TSC);
    const index = thread.open.findLastIndex((open) => open.ticks === ticks);
    const open = thread.open[index];
    if (open === undefined) return; // its enter was lost, which is counted
    thread.open.length = index; // what was entered later was jumped out of
    const { call } = open;
    call.exit = readPayloads(memory, at, L.EXIT_PAYLOADS);
    call.result = signed(memory, at + L.EXIT_RESULT);
    call.end = this.#now;
    this.#sink.exit(call);
    if (makesChild(call.nr) && typeof call.result === "number" && call.result > 0) this.#expect(call.result, pid);
  }

  #start({ pid, tid, ticks, memory, at }: RawRecord): void {
    this.#clock.pair(ticks, this.#clock.realTime(memory, at + L.START_TIME));
    const began = Math.min(this.#now, this.#clock.time(this.#clock.ticks(memory, at + L.START_BEGIN_TSC)));
    this.#replaceImage(pid, began, readText(memory, at, L.START_PAYLOADS, 1));
    this.#thread(pid, tid);
    if (pid === this.#root) this.rootStarted = true;
    this.#sink.start({
      type: "start",
      pid,
      ppid: memory.readUInt32LE(at + L.START_PPID),
      exe: readText(memory, at, L.START_PAYLOADS),
      time: this.#now,
      began,
      patched: memory.readUInt32LE(at + L.START_PATCHED),
      left: memory.readUInt32LE(at + L.START_LEFT),
      patches: patchNames(memory.readUInt32LE(at + L.START_PATCHES)),
    });
  }

  /**
   * An execve ends all threads but the one that called it, and that one goes on as the main thread. `executed`: what the new
   * image was called by; where that is not what was asked for, there was another one in between, which called execve itself.
   */
  #replaceImage(pid: number, began: number, executed: string): void {
    for (const tid of [...(this.#processes.get(pid)?.tids ?? [])]) {
      const thread = this.#threads.get(tid);
      if (thread?.pid !== pid) continue;
      const exec = findExec(thread);
      if (exec !== undefined) {
        const asked = execName(exec.call);
        if (executed !== "" && asked !== "" && asked !== executed) {
          this.#gaps.add("exec-unhooked", pid, execName(exec.call));
        }
        exec.call.result = 0;
        exec.call.end = Math.max(exec.call.start, began);
        this.#sink.exit(exec.call);
      }
      thread.open = [];
      if (tid !== pid) this.#end(thread, {});
    }
  }

  #gap({ pid, tid, memory, at }: RawRecord): void {
    const kind = memory.readUInt32LE(at + L.GAP_KIND);
    const value = unsigned(memory, at + L.GAP_VALUE);
    const detail = readText(memory, at, L.GAP_PAYLOADS);
    const thread = this.#thread(pid, tid);
    if (kind === L.GAP_EXEC_UNHOOKED) thread.open = thread.open.filter((open) => open !== findExec(thread));
    this.#gaps.add(gapKind(kind), pid, detail);
    this.#sink.gap({ type: "gap", pid, tid, time: this.#now, kind, value, detail });
  }

  #child({ pid, tid, memory, at }: RawRecord): void {
    const before = this.#threads.get(tid);
    if (before !== undefined) this.#end(before, {}); // the number was given again
    this.#thread(pid, tid);
    this.#sink.child({
      type: "child",
      pid,
      tid,
      time: this.#now,
      parentPid: memory.readUInt32LE(at + L.CHILD_PPID),
      parentTid: memory.readUInt32LE(at + L.CHILD_PTID),
    });
  }

  #thread(pid: number, tid: number): Thread {
    const known = this.#threads.get(tid);
    if (known !== undefined && known.pid === pid) return known;
    const thread: Thread = { pid, tid, open: [] };
    this.#threads.set(tid, thread);
    this.#seen.add(tid);
    this.#expected.delete(tid);
    const process = this.#processes.get(pid);
    if (process === undefined) this.#processes.set(pid, { tids: new Set([tid]), status: {} });
    else process.tids.add(tid);
    return thread;
  }

  #end(thread: Thread, status: Status): void {
    if (thread.tid === this.#root) this.#rootEnded = true;
    this.#threads.delete(thread.tid);
    this.#processes.get(thread.pid)?.tids.delete(thread.tid);
    this.#sink.end({ type: "end", pid: thread.pid, tid: thread.tid, time: this.#now, ...status });
  }

  #expect(tid: number, parent: number): void {
    if (!this.#seen.has(tid)) this.#expected.set(tid, { parent, sightings: 0 });
  }
}

function findExec(thread: Thread): Open | undefined {
  return thread.open.find(({ call }) => EXECS.has(call.nr));
}

function execPath(call: CallEvent): string {
  const arg = call.nr === NUMBERS.execveat ? 1 : 0;
  const path = call.enter.find((payload) => payload.arg === arg && payload.kind === L.CAPTURE_CSTRING);
  return path === undefined ? "" : path.memory.toString("utf8", path.at, path.at + path.size);
}

/** What an image finds as its AT_EXECFN (fs/exec.c, alloc_bprm). */
function execName(call: CallEvent): string {
  const path = execPath(call);
  const fromDescriptor = call.nr === NUMBERS.execveat && call.int(0) !== AT_FDCWD && !path.startsWith("/");
  if (!fromDescriptor) return path;
  return path === "" ? `/dev/fd/${call.int(0)}` : `/dev/fd/${call.int(0)}/${path}`;
}

const SIGRETURNS: ReadonlySet<number> = new Set([NUMBERS.rt_sigreturn, i386("sigreturn"), i386("rt_sigreturn")]);
const ENDS: ReadonlySet<number> = new Set([NUMBERS.exit_group, i386("exit_group")]);
const EXECS: ReadonlySet<number> = new Set([NUMBERS.execve, NUMBERS.execveat, i386("execve"), i386("execveat")]);
const CLONES: readonly number[] = [NUMBERS.clone, NUMBERS.clone3, NUMBERS.fork, NUMBERS.vfork];

/** Also by `int $0x80`. */
function makesChild(nr: number): boolean {
  return CLONES.includes(nr < I386 ? nr : (sameCall(nr) ?? nr));
}

/** The u64 at `at`; not exact above 2^53, where no address of a program is. */
function unsigned(memory: Buffer, at: number): number {
  return memory.readUInt32LE(at + 4) * TWO_32 + memory.readUInt32LE(at);
}

/** The i64 at `at`. */
function signed(memory: Buffer, at: number): number | bigint {
  const value = memory.readInt32LE(at + 4) * TWO_32 + memory.readUInt32LE(at);
  return Number.isSafeInteger(value) ? value : memory.readBigInt64LE(at);
}
