import type { EventSink, StartEvent } from "../events.ts";
import { RING_ROWS } from "../image/layout.ts";
import { I386, sameCall } from "../syscalls/i386.ts";

/** Speaks for all numbers without a row. */
const NO_CALL = RING_ROWS - 1;

export interface Filter {
  /** Only this thread, as a tracer sees it that follows nobody. */
  readonly thread?: number;
  /** Only calls with these numbers; of those by `int $0x80`, only those with the same names. */
  readonly select?: ReadonlySet<number>;
  /** Is told of each start that is let through. */
  readonly onStart?: (event: StartEvent) => void;
}

/** A sink that lets through to `sink` what the filter asks for. */
export function filterSink(sink: EventSink, { thread, select, onStart }: Filter): EventSink {
  const wanted = (tid: number): boolean => thread === undefined || tid === thread;
  const selected = (nr: number): boolean =>
    select === undefined || select.has(nr < I386 ? nr : (sameCall(nr) ?? NO_CALL));
  return {
    enter(call) {
      if (wanted(call.tid) && selected(call.nr)) sink.enter(call);
    },
    exit(call) {
      if (wanted(call.tid) && selected(call.nr)) sink.exit(call);
    },
    start(event) {
      if (!wanted(event.pid)) return;
      onStart?.(event);
      sink.start(event);
    },
    child(event) {
      if (wanted(event.tid)) sink.child(event);
    },
    gap(event) {
      if (wanted(event.tid)) sink.gap(event);
    },
    end(event) {
      if (wanted(event.tid)) sink.end(event);
    },
  };
}
