import type { EventSink, StartEvent } from "../events.ts";

export interface Filter {
  /** Only this thread, as a tracer sees it that follows nobody. */
  readonly thread?: number;
  /** Only calls with these numbers. */
  readonly select?: ReadonlySet<number>;
  /** Is told of each start that is let through. */
  readonly onStart?: (event: StartEvent) => void;
}

/** A sink that lets through to `sink` what the filter asks for. */
export function filterSink(sink: EventSink, { thread, select, onStart }: Filter): EventSink {
  const wanted = (tid: number): boolean => thread === undefined || tid === thread;
  const selected = (nr: number): boolean => select === undefined || select.has(nr);
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
