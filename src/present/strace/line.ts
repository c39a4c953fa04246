/** One call as a line of text, or as the two parts of it that stand before and after the kernel's work. */
import type { CallEvent } from "../../events.ts";
import { CALLS, callName } from "../../syscalls/table.ts";
import { earlyArguments, printArguments } from "./arguments.ts";
import type { Limits } from "./context.ts";
import { printResult } from "./results.ts";

/** Column at which " = " of the result stands, if the call is not longer. */
export const RESULT_COLUMN = 40;

/** `openat(AT_FDCWD, "/etc/passwd", O_RDONLY) = 3`; with `= ?` for a call that never returned. */
export function callLine(call: CallEvent, limits: Limits, prefix = ""): string {
  const head = `${prefix}${callName(call.nr)}(${printArguments({ call, limits }).join(", ")}`;
  return close(head, call, limits);
}

/** What is known when the call is made: `read(3, `. */
export function callHead(call: CallEvent, limits: Limits): string {
  const texts = printArguments({ call, limits });
  const early = earlyArguments(call.nr, texts.length);
  const head = `${callName(call.nr)}(${texts.slice(0, early).join(", ")}`;
  return early > 0 && early < texts.length ? `${head}, ` : head;
}

/** What follows callHead when the call has returned, `before` being what stands on the line already. */
export function callTail(call: CallEvent, limits: Limits, before: string): string {
  const texts = printArguments({ call, limits });
  const early = earlyArguments(call.nr, texts.length);
  return close(`${before}${texts.slice(early).join(", ")}`, call, limits);
}

function close(text: string, call: CallEvent, limits: Limits): string {
  const result = call.end === undefined ? "?" : printResult({ call, limits }, CALLS[call.nr]);
  return `${`${text}) `.padEnd(RESULT_COLUMN)}= ${result}`;
}
