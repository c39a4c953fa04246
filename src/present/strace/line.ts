/** One call as a line of text, or as the parts of it that stand before and after the kernel's work. */
import type { CallEvent } from "../../events.ts";
import { NUMBERS } from "../../syscalls/numbers.ts";
import { CALLS, callName } from "../../syscalls/table.ts";
import { earlyArguments, printArguments } from "./arguments.ts";
import type { Limits } from "./context.ts";
import { printResult } from "./results.ts";

/** Column at which "= " and the result stand, where the call is not longer. */
export const RESULT_COLUMN = 40;

/** `openat(AT_FDCWD, "/etc/passwd", O_RDONLY) = 3`, after `prefix`; with `= ?` for a call that never returned. */
export function callLine(call: CallEvent, limits: Limits, prefix = ""): string {
  const text = `${prefix}${callName(call.nr)}(${printArguments({ call, limits }).join(", ")}`;
  return withResult(text, call, limits);
}

/** What is known when the call is made: `read(3, `. */
export function callHead(call: CallEvent, limits: Limits): string {
  const texts = printArguments({ call, limits });
  const early = earlyArguments(call, texts.length);
  const head = `${callName(call.nr)}(${texts.slice(0, early).join(", ")}`;
  return early > 0 && early < texts.length && !commaLater(call) ? `${head}, ` : head;
}

/** What follows callHead when the call has returned, after `before`, which stands on the line already. */
export function callTail(call: CallEvent, limits: Limits, before: string): string {
  const texts = printArguments({ call, limits });
  const early = earlyArguments(call, texts.length);
  const rest = texts.slice(early).join(", ");
  return withResult(`${before}${rest !== "" && early > 0 && commaLater(call) ? ", " : ""}${rest}`, call, limits);
}

/** What follows callHead when the call will never return, its thread being gone. */
export function abandonedTail(call: CallEvent, limits: Limits, before: string): string {
  const count = printArguments({ call, limits }).length;
  return withResult(earlyArguments(call, count) < count ? `${before} <unfinished ...>` : before, call, limits);
}

/** strace writes the comma before what clone(2) returns only when it has returned. */
function commaLater(call: CallEvent): boolean {
  return call.nr === NUMBERS.clone;
}

function withResult(text: string, call: CallEvent, limits: Limits): string {
  const result = call.end === undefined ? "?" : printResult({ call, limits }, CALLS[call.nr]);
  return `${`${text}) `.padEnd(RESULT_COLUMN)}= ${result}`;
}
