/**
 * What a session produces and what presenters (text, JSON, summary, …) consume.
 *
 * Times are numbers: nanoseconds since the `epoch` of the trace, which is CLOCK_REALTIME in nanoseconds (a bigint, too
 * long for a double). Millions of calls pass through here, so a call keeps no copies: its arguments and payloads are
 * positions in the buffer that its record was read from.
 */

/** Memory of the program that was copied at enter or at exit, for one argument. */
export interface Payload {
  /** Index of the argument, 0…5. */
  readonly arg: number;
  /** CAPTURE_* of src/image/layout.ts that produced it, or PAYLOAD_FAULT. */
  readonly kind: number;
  /** Full length or count, where fewer bytes may have been copied (see CAPTURE_*). */
  readonly full: number;
  /** The copied bytes are memory[at … at + size). */
  readonly memory: Buffer;
  readonly at: number;
  readonly size: number;
}

export const NO_PAYLOADS: readonly Payload[] = [];

/** One system call. Mutable only for the session, which fills in the second half when the call returns. */
export class CallEvent {
  readonly type = "call";
  readonly pid: number;
  readonly tid: number;
  /**
   * Number as the kernel reads it: the low 32 bits of rax, unsigned. A call of the 32-bit table, made by `int $0x80`, has
   * 2 ** 32 more; its arguments have 32 bits each. `callName` knows both.
   */
  readonly nr: number;
  /** Address of the instruction after the system call. */
  readonly ip: number;
  readonly start: number;
  /** Six little-endian u64 at `at`. */
  readonly memory: Buffer;
  readonly at: number;
  readonly enter: readonly Payload[];

  exit: readonly Payload[] = NO_PAYLOADS;
  /** Time of return; undefined as long as it has not returned (exit_group never does). */
  end: number | undefined = undefined;
  /** Result, -4095…-1 for an error; a bigint only where a number would not be exact. Undefined as long as `end` is. */
  result: number | bigint | undefined = undefined;

  constructor(
    pid: number,
    tid: number,
    nr: number,
    ip: number,
    start: number,
    memory: Buffer,
    at: number,
    enter: readonly Payload[],
  ) {
    this.pid = pid;
    this.tid = tid;
    this.nr = nr;
    this.ip = ip;
    this.start = start;
    this.memory = memory;
    this.at = at;
    this.enter = enter;
  }

  /** Argument `i` whole, unsigned. */
  arg(i: number): bigint {
    return this.memory.readBigUInt64LE(this.at + 8 * i);
  }

  /** The low 32 bits of argument `i`, unsigned. */
  low(i: number): number {
    return this.memory.readUInt32LE(this.at + 8 * i);
  }

  /** The high 32 bits of argument `i`, unsigned. */
  high(i: number): number {
    return this.memory.readUInt32LE(this.at + 8 * i + 4);
  }

  /** The low 32 bits of argument `i`, signed: what the kernel sees of an `int`. */
  int(i: number): number {
    return this.memory.readInt32LE(this.at + 8 * i);
  }

  /** Error number of a failed call, else 0. */
  get errno(): number {
    const result = this.result;
    return typeof result === "number" && result < 0 && result >= -4095 ? -result : 0;
  }
}

/** A program image starts to be hooked (at the start of the trace, or by execve). */
export interface StartEvent {
  readonly type: "start";
  readonly pid: number;
  readonly ppid: number;
  /** Path of the executable. */
  readonly exe: string;
  /** When hooking was in place, and when our start-up in the process began. */
  readonly time: number;
  readonly began: number;
  /** Sites of system calls that were rewritten, and that were left alone, until then: under the trap that comes later. */
  readonly patched: number;
  readonly left: number;
  /** Which kinds of patch the process uses, as `--patch` names them: `jump+trap`. */
  readonly patches: string;
}

/** A new thread or process says its first word. */
export interface ChildEvent {
  readonly type: "child";
  readonly pid: number;
  readonly tid: number;
  readonly time: number;
  readonly parentPid: number;
  readonly parentTid: number;
}

/** Something was not seen (GAP_* of src/image/layout.ts). */
export interface GapEvent {
  readonly type: "gap";
  readonly pid: number;
  readonly tid: number;
  readonly time: number;
  readonly kind: number;
  /** An address or a number, by kind. */
  readonly value: number;
  readonly detail: string;
}

/** A thread is gone; a call of it that was still open never returns. At most one of `code` and `signal` is known. */
export interface EndEvent {
  readonly type: "end";
  readonly pid: number;
  readonly tid: number;
  readonly time: number;
  readonly code?: number;
  readonly signal?: number;
}

/**
 * Takes a trace in the order of time. `enter` and `exit` of a call pass the same object: at `enter` it has no `end`,
 * `result` and `exit` yet. An execve that succeeds gets its `exit`, with result 0, before the StartEvent of the new image.
 */
export interface EventSink {
  enter(call: CallEvent): void;
  exit(call: CallEvent): void;
  start(event: StartEvent): void;
  child(event: ChildEvent): void;
  gap(event: GapEvent): void;
  end(event: EndEvent): void;
}
