import type { CallEvent, ChildEvent, EndEvent, EventSink, GapEvent, StartEvent } from "./events.ts";
import { type Session, type SessionOptions, type SessionResult, startSession } from "./session/session.ts";

export type TraceEvent = CallEvent | StartEvent | ChildEvent | GapEvent | EndEvent;

export type TraceOptions = Omit<SessionOptions, "command" | "args" | "sink" | "congested" | "idle" | "library">;

/** Events that nobody has taken yet; with more, the program comes to wait. */
const MOST_QUEUED = 100_000;

/** Open calls of one thread; with more, the oldest was jumped out of by a signal handler and will not return. */
const MOST_OPEN = 64;

/**
 * Starts a program and gives its events in the order of time; a call comes when it has returned, or when its thread has
 * ended in it. Events that are not taken make the program wait, so take them all.
 *
 * Rejects with ZpolineError when the program cannot be started (docs/errors.md).
 */
export async function trace(command: string, args: readonly string[] = [], options: TraceOptions = {}): Promise<Trace> {
  const queue = new EventQueue();
  const session = await startSession({ ...options, command, args, sink: queue, congested: () => queue.isLong() });
  return new Trace(session, queue);
}

/** A program under trace. Its events can be iterated once. */
export class Trace implements AsyncIterable<TraceEvent> {
  /** Process id of the program. */
  readonly pid: number;
  /** CLOCK_REALTIME in nanoseconds to which the times of events are relative. */
  readonly epoch: bigint;
  /** How the program ended, and what the trace does not show. */
  readonly result: Promise<SessionResult>;
  readonly #queue: EventQueue;

  constructor(session: Session, queue: EventQueue) {
    this.pid = session.pid;
    this.epoch = session.epoch;
    this.result = session.result;
    this.#queue = queue;
    const close = (): void => queue.close();
    session.result.then(close, close);
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<TraceEvent, void, undefined> {
    while (true) {
      const events = await this.#queue.take();
      if (events.length === 0) break;
      yield* events;
    }
    await this.result; // throws what went wrong on the way
  }
}

class EventQueue implements EventSink {
  #events: TraceEvent[] = [];
  readonly #open = new Map<number, Set<CallEvent>>();
  #closed = false;
  #wake: () => void = () => {};

  isLong(): boolean {
    return this.#events.length > MOST_QUEUED;
  }

  /** All that is there; waits for something, and is empty only when nothing more will come. */
  async take(): Promise<readonly TraceEvent[]> {
    while (this.#events.length === 0 && !this.#closed) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    const events = this.#events;
    this.#events = [];
    return events;
  }

  close(): void {
    this.#closed = true;
    this.#wake();
  }

  enter(call: CallEvent): void {
    const open = this.#open.get(call.tid) ?? new Set();
    this.#open.set(call.tid, open.add(call));
    if (open.size <= MOST_OPEN) return;
    const [oldest = call] = open;
    open.delete(oldest);
    this.#push(oldest);
  }

  exit(call: CallEvent): void {
    this.#open.get(call.tid)?.delete(call);
    this.#push(call);
  }

  start(event: StartEvent): void {
    this.#push(event);
  }

  child(event: ChildEvent): void {
    this.#push(event);
  }

  gap(event: GapEvent): void {
    this.#push(event);
  }

  end(event: EndEvent): void {
    for (const call of this.#open.get(event.tid) ?? []) this.#push(call);
    this.#open.delete(event.tid);
    this.#push(event);
  }

  #push(event: TraceEvent): void {
    this.#events.push(event);
    this.#wake();
  }
}
