/** A trace as text in the format of strace(1). */
import type { CallEvent, ChildEvent, EndEvent, EventSink, GapEvent, StartEvent } from "../events.ts";
import { i386 } from "../syscalls/i386.ts";
import { NUMBERS } from "../syscalls/numbers.ts";
import { signalName } from "../syscalls/signals.ts";
import { callName } from "../syscalls/table.ts";
import { abandonedTail, callHead, callLine, callTail } from "./strace/line.ts";
import { dateTime } from "./strace/values.ts";

export { callLine } from "./strace/line.ts";

/** How a line says which thread it is of: `[pid N] ` while there are several, `N ` always, or not at all. */
export type PidPrefix = "several" | "always" | "never";

/** What stands before a call: nothing, local time in seconds or microseconds, seconds since 1970, or since the last. */
export type TimePrefix = "none" | "time" | "microseconds" | "epoch" | "relative";

export interface StraceOptions {
  /** Takes text that ends at the end of a line, except for what flush() writes. */
  readonly write: (text: string) => void;
  /** Most bytes of a string, or elements of an array, to show; 32 by default. */
  readonly stringLimit?: number;
  /** Most bytes that the guest copied of one buffer: the data limit of the session. */
  readonly dataLimit: number;
  readonly pids?: PidPrefix;
  readonly times?: TimePrefix;
  /** CLOCK_REALTIME in nanoseconds that the times of the events count from; needed for absolute times. */
  readonly epoch?: bigint;
  /** Show after each call how long it took. */
  readonly durations?: boolean;
}

const DEFAULT_STRING_LIMIT = 32;
const NEVER_RETURNS: ReadonlySet<number> = new Set([
  NUMBERS.exit,
  NUMBERS.exit_group,
  i386("exit"),
  i386("exit_group"),
]);
/** Bytes that a session should copy of a buffer: addresses of sockets and signal sets are cut to this as well. */
const LEAST_DATA_LIMIT = 128;

/** Data limit for a session whose trace is shown with this limit of strings. */
export function dataLimitFor(stringLimit: number = DEFAULT_STRING_LIMIT): number {
  return Math.max(stringLimit, LEAST_DATA_LIMIT);
}

/**
 * Writes each call when it returns. A call during which something else happens is written in two parts, as
 * `read(3,  <unfinished ...>` and `<... read resumed>"", 1) = 0`.
 */
export class StraceText implements EventSink {
  readonly #options: StraceOptions;
  readonly #limits: { readonly string: number; readonly data: number };
  /** Threads that live, for "several". */
  readonly #threads = new Set<number>();
  /** Calls whose first part is written and whose second is not. */
  readonly #unfinished = new Set<CallEvent>();
  /** The call that was made last, if nothing was written since; and what flush() wrote of its line. */
  #open: CallEvent | undefined;
  #written = "";
  #lastTime: number | undefined;

  constructor(options: StraceOptions) {
    this.#options = options;
    this.#limits = { string: options.stringLimit ?? DEFAULT_STRING_LIMIT, data: options.dataLimit };
  }

  enter(call: CallEvent): void {
    this.#suspend();
    this.#threads.add(call.tid);
    if (NEVER_RETURNS.has(call.nr)) this.#line(callLine(call, this.#limits, this.#prefix(call.tid, call.start)));
    else this.#open = call;
  }

  exit(call: CallEvent): void {
    const isOpen = this.#open === call;
    if (!isOpen) this.#suspend();
    if (isOpen && this.#written !== "") this.#line(callTail(call, this.#limits, this.#written), call);
    else if (this.#unfinished.delete(call)) {
      this.#line(callTail(call, this.#limits, this.#resumed(call, call.end ?? call.start)), call);
    } else this.#line(callLine(call, this.#limits, this.#prefix(call.tid, call.start)), call);
    if (isOpen) this.#close();
  }

  start(event: StartEvent): void {
    this.#threads.add(event.pid);
  }

  child(event: ChildEvent): void {
    this.#threads.add(event.tid);
    if (this.#options.pids !== "several") return;
    this.#suspend();
    this.#options.write(`zpoline: process ${event.tid} attached\n`);
  }

  gap(_event: GapEvent): void {}

  end(event: EndEvent): void {
    this.#abandon(event);
    this.#suspend();
    const how =
      event.signal !== undefined
        ? `killed by SIG${signalName(event.signal) ?? event.signal}`
        : event.code !== undefined
          ? `exited with ${event.code}`
          : "exited";
    this.#options.write(`${this.#prefix(event.tid, event.time)}+++ ${how} +++\n`);
    this.#threads.delete(event.tid);
  }

  /** Writes what is known of the call that is open, so that a reader sees what a program waits for. */
  flush(): void {
    const call = this.#open;
    if (call === undefined || this.#written !== "") return;
    this.#written = this.#prefix(call.tid, call.start) + callHead(call, this.#limits);
    this.#options.write(this.#written);
  }

  /** Ends the line of the open call, because something else is to be written. */
  #suspend(): void {
    const call = this.#open;
    if (call === undefined) return;
    this.flush();
    this.#options.write(" <unfinished ...>\n");
    this.#unfinished.add(call);
    this.#close();
  }

  #close(): void {
    this.#open = undefined;
    this.#written = "";
  }

  /** Ends the lines of the calls that a thread was in when it ended. */
  #abandon({ tid, time }: EndEvent): void {
    const open = this.#open;
    if (open?.tid === tid) {
      this.flush();
      this.#line(abandonedTail(open, this.#limits, this.#written));
      this.#close();
    }
    for (const call of [...this.#unfinished].reverse()) {
      if (call.tid !== tid) continue;
      this.#unfinished.delete(call);
      this.#suspend();
      this.#line(abandonedTail(call, this.#limits, this.#resumed(call, time)));
    }
  }

  #resumed(call: CallEvent, time: number): string {
    return `${this.#prefix(call.tid, time)}<... ${callName(call.nr)} resumed>`;
  }

  /** Writes a line, without what flush() wrote of it already. */
  #line(text: string, call?: CallEvent): void {
    const rest = this.#written === "" ? text : text.slice(this.#written.length);
    const took = this.#options.durations && call?.end !== undefined ? ` <${seconds(call.end - call.start)}>` : "";
    this.#options.write(`${rest}${took}\n`);
  }

  #prefix(tid: number, time: number): string {
    return this.#pid(tid) + this.#time(time);
  }

  #pid(tid: number): string {
    switch (this.#options.pids ?? "never") {
      case "always":
        return `${String(tid).padEnd(5)} `;
      case "several":
        return this.#threads.size > 1 ? `[pid ${String(tid).padStart(5)}] ` : "";
      case "never":
        return "";
    }
  }

  #time(time: number): string {
    const times = this.#options.times ?? "none";
    if (times === "none") return "";
    if (times === "relative") {
      const since = this.#lastTime === undefined ? 0 : time - this.#lastTime;
      this.#lastTime = time;
      return `${seconds(since).padStart(13)} `;
    }
    const now = (this.#options.epoch ?? 0n) + BigInt(Math.round(time));
    const whole = Number(now / 1_000_000_000n);
    const micro = String((now % 1_000_000_000n) / 1000n).padStart(6, "0");
    if (times === "epoch") return `${whole}.${micro} `;
    const clock = dateTime(whole).slice(11, 19);
    return times === "time" ? `${clock} ` : `${clock}.${micro} `;
  }
}

/** Nanoseconds as seconds with six digits after the point. */
function seconds(nanoseconds: number): string {
  return (Math.floor(Math.max(nanoseconds, 0) / 1000) / 1e6).toFixed(6);
}
