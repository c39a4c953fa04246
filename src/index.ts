/** The public API: trace a program, get its system calls as events. */
export { ZpolineError } from "./errors.ts";
export type { CallEvent, ChildEvent, EndEvent, GapEvent, Payload, StartEvent } from "./events.ts";
export type { Coverage } from "./session/coverage.ts";
export type { Gap, GapKind } from "./session/gaps.ts";
export type { SessionResult } from "./session/session.ts";
export { callName } from "./syscalls/table.ts";
export { type Trace, type TraceEvent, type TraceOptions, trace } from "./trace.ts";
export { version } from "./version.ts";
