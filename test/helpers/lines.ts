import type { CallEvent, EventSink } from "../../src/events.ts";
import { callName } from "../../src/syscalls/table.ts";

/** A sink that writes down what it is told, one short line each: `TID what`. */
export class Lines implements EventSink {
  readonly lines: string[] = [];
  readonly calls: CallEvent[] = [];
  readonly times: number[] = [];

  enter(call: CallEvent): void {
    this.#add(call.start, `${call.tid} ${callName(call.nr)}(`);
  }

  exit(call: CallEvent): void {
    this.calls.push(call);
    this.#add(call.end, `${call.tid} ${callName(call.nr)}) = ${call.result}`);
  }

  start(event: Parameters<EventSink["start"]>[0]): void {
    this.#add(event.time, `${event.pid} start ${event.exe}`);
  }

  child(event: Parameters<EventSink["child"]>[0]): void {
    this.#add(event.time, `${event.tid} child of ${event.parentTid}`);
  }

  gap(event: Parameters<EventSink["gap"]>[0]): void {
    this.#add(event.time, `${event.tid} gap ${event.kind} ${event.value} ${event.detail}`);
  }

  end(event: Parameters<EventSink["end"]>[0]): void {
    const how = event.code !== undefined ? ` ${event.code}` : event.signal !== undefined ? ` by ${event.signal}` : "";
    this.#add(event.time, `${event.tid} end${how}`);
  }

  #add(time: number | undefined, line: string): void {
    if (time !== undefined) this.times.push(time);
    this.lines.push(line);
  }
}
