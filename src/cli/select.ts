import { ZpolineError } from "../errors.ts";
import { NUMBERS } from "../syscalls/numbers.ts";
import { IPC } from "../syscalls/table/ipc.ts";
import { MEMORY } from "../syscalls/table/memory.ts";
import { NETWORK } from "../syscalls/table/network.ts";
import { SIGNAL } from "../syscalls/table/signal.ts";
import { CALLS } from "../syscalls/table.ts";

const WITH_SIGNAL_DESCRIPTOR = ["signalfd", "signalfd4"];

/** Classes of calls, as strace(1) has them. */
const CLASSES: Readonly<Record<string, () => Iterable<number>>> = {
  "%file": () => withShape("path"),
  "%desc": () => withShape("fd", "dirfd"),
  "%network": () => byName(Object.keys(NETWORK)),
  "%net": () => byName(Object.keys(NETWORK)),
  "%memory": () => byName(Object.keys(MEMORY)),
  "%signal": () => byName([...Object.keys(SIGNAL), ...WITH_SIGNAL_DESCRIPTOR]),
  "%ipc": () => byName(Object.keys(IPC)),
};

/**
 * Numbers of the calls that a strace(1) expression `[trace=][!]LIST` selects; undefined for all. An item of LIST is a
 * name, `/regex`, a class (`%file`), `all` or `none`; with `?` before it, an unknown name is no error. Throws
 * ZpolineError BAD_EXPRESSION.
 */
export function parseSelection(expression: string): ReadonlySet<number> | undefined {
  const equals = expression.indexOf("=");
  const qualifier = equals < 0 ? "trace" : expression.slice(0, equals);
  if (qualifier !== "trace" && qualifier !== "t") {
    throw bad(expression, `"${qualifier}" is not a qualifier that zpoline knows`);
  }
  const list = expression.slice(equals + 1);
  const negated = list.startsWith("!");
  const numbers = new Set<number>();
  for (const item of (negated ? list.slice(1) : list).split(",")) {
    for (const nr of parseItem(item, expression)) numbers.add(nr);
  }
  if (negated) return new Set(Object.values(NUMBERS).filter((nr) => !numbers.has(nr)));
  return list.split(",").includes("all") ? undefined : numbers;
}

function parseItem(item: string, expression: string): Iterable<number> {
  if (item === "all") return Object.values(NUMBERS);
  if (item === "none") return [];
  if (item.startsWith("/")) return byPattern(item.slice(1), expression);
  const optional = item.startsWith("?");
  const name = optional ? item.slice(1) : item;
  const known = CLASSES[name]?.() ?? byName([name]);
  if (!optional && [...known].length === 0) throw bad(expression, `there is no system call "${name}"`);
  return known;
}

function byName(names: readonly string[]): number[] {
  return names.filter((name) => Object.hasOwn(NUMBERS, name)).map((name) => NUMBERS[name as keyof typeof NUMBERS]);
}

function byPattern(pattern: string, expression: string): number[] {
  try {
    const regex = new RegExp(pattern);
    return byName(Object.keys(NUMBERS).filter((name) => regex.test(name)));
  } catch (error) {
    throw bad(expression, (error as Error).message);
  }
}

function withShape(...shapes: readonly string[]): number[] {
  const found = CALLS.filter((call) => call?.arguments.some(({ shape }) => shapes.includes(shape)));
  return found.map((call) => call?.nr ?? -1);
}

function bad(expression: string, cause: string): ZpolineError {
  return new ZpolineError("BAD_EXPRESSION", `cannot make sense of -e ${expression}`, {
    cause,
    fix: `-e trace=LIST, with names, /regex, all, none or ${Object.keys(CLASSES).join(" ")}`,
  });
}
