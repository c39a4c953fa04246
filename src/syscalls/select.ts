/** Which system calls a trace is of: the LIST of `-e trace=LIST`, as strace(1) has it. */
import { ZpolineError } from "../errors.ts";
import { RING_ROWS } from "../image/layout.ts";
import { BARE_CLASSES, CLASS_LIST, classCalls } from "./classes.ts";
import { NUMBERS } from "./numbers.ts";
import { CALL_NAMES, type CallName } from "./table.ts";

/**
 * Numbers of the calls that `list` names, of the numbers 0…511: names and numbers, `%class`, `/regex`, `all`, `none`,
 * separated by commas; `!` before the list means all others, `?` before a name that it may be unknown.
 * Throws ZpolineError SELECT_UNKNOWN, SELECT_REGEX or SELECT_EMPTY.
 */
export function selectCalls(list: string): ReadonlySet<number> {
  const negated = list.startsWith("!");
  const items = (negated ? list.slice(1) : list).split(",");
  const named = new Set<number>();
  for (const item of items) for (const nr of selectItem(item.trim(), list)) named.add(nr);
  return negated ? new Set(allNumbers().filter((nr) => !named.has(nr))) : named;
}

function allNumbers(): number[] {
  return Array.from({ length: RING_ROWS }, (_, nr) => nr);
}

function selectItem(item: string, list: string): readonly number[] {
  if (item === "") {
    throw new ZpolineError("SELECT_EMPTY", `a name is missing in "${list}"`, {
      fix: "separate names by single commas, or use none to trace no call",
    });
  }
  if (item === "all") return allNumbers();
  if (item === "none") return [];
  if (item.startsWith("/")) return selectPattern(item.slice(1));
  if (item.startsWith("%")) return selectClass(item.slice(1), item);
  if (/^\d+$/.test(item) && Number(item) < RING_ROWS) return [Number(item)];
  if (isName(item)) return [NUMBERS[item]];
  if (BARE_CLASSES.has(item)) return selectClass(item, item);
  if (item.startsWith("?")) return isName(item.slice(1)) ? [NUMBERS[item.slice(1) as CallName]] : [];
  throw unknownCall(item);
}

function isName(text: string): text is CallName {
  return Object.hasOwn(NUMBERS, text);
}

function selectClass(name: string, item: string): readonly number[] {
  const calls = classCalls(name);
  if (calls === undefined) {
    throw new ZpolineError("SELECT_UNKNOWN", `there is no class of system calls "${item}"`, {
      fix: `use one of ${CLASS_LIST.map((known) => `%${known}`).join(" ")}`,
    });
  }
  return calls.map((call) => NUMBERS[call as CallName]);
}

function selectPattern(pattern: string): readonly number[] {
  let expression: RegExp;
  try {
    expression = new RegExp(pattern);
  } catch (cause) {
    throw new ZpolineError("SELECT_REGEX", `"${pattern}" is not a regular expression`, { cause });
  }
  const matches = CALL_NAMES.filter((name) => expression.test(name));
  if (matches.length === 0) {
    throw new ZpolineError("SELECT_UNKNOWN", `no system call matches /${pattern}`, {
      fix: "see syscalls(2) for the names",
    });
  }
  return matches.map((name) => NUMBERS[name]);
}

function unknownCall(item: string): ZpolineError {
  const near = nearest(item);
  const question = near === undefined ? "see syscalls(2) for the names" : `did you mean ${near}?`;
  return new ZpolineError("SELECT_UNKNOWN", `there is no system call "${item}"`, {
    fix: `${question} (write ?${item} to ignore a name that is unknown)`,
  });
}

const NEAR = 2;

function nearest(item: string): CallName | undefined {
  let best: CallName | undefined;
  let least = NEAR + 1;
  for (const name of CALL_NAMES) {
    const distance = editDistance(item, name);
    if (distance < least) [best, least] = [name, distance];
  }
  return best;
}

/** Levenshtein distance. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const replaced = row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(replaced, row[j]! + 1, next[j - 1]! + 1));
    }
    row = next;
  }
  return row[b.length]!;
}
