/**
 * One row of the table describes one system call in a line of text:
 *
 *     pread64: "fd:fd buf:>bytes count:ulong offset:long = fd"
 *
 * that is, its arguments as `name:shape` and, after "=", the shape of its result (a decimal number when not given). A
 * shape that points to memory says which way the data goes: `<` into the kernel (copied at enter), `>` out of it (at
 * exit), `<>` both. In parentheses stands what the shape needs to know: another argument (the length of a buffer) or,
 * for flags and enumerations, the name of their table in src/syscalls/flags. After it, `[count]` makes an array whose
 * length is an argument, `[]` one whose length is the result, `*2` one of fixed length. An argument named `_` is not
 * shown.
 */
export type Rows = Readonly<Record<string, string>>;

export const IN = 1;
export const OUT = 2;

export interface Argument {
  readonly name: string;
  readonly shape: string;
  /** IN, OUT, both, or 0 when the argument is a value and not a pointer to data. */
  readonly direction: number;
  /** What stood in parentheses, as the name of a table; "" when nothing or an argument stood there. */
  readonly table: string;
  /** Index of the argument that stood in parentheses, or in brackets for an array; -1 when none. */
  readonly related: number;
  /** How many elements: one, as many as the related argument says, as many as the result says, or a fixed number. */
  readonly count: "one" | "argument" | "result" | number;
}

export interface Call {
  readonly nr: number;
  readonly name: string;
  readonly arguments: readonly Argument[];
  /** Shape of the result; "" for a decimal number. */
  readonly result: string;
}

/** Shapes whose parameter is the name of a table. */
const TABLED = new Set(["flags", "flags64", "enum", "ipcflags", "ipccmd"]);
/** Shapes that always point to memory that goes into the kernel. */
const ALWAYS_IN = new Set(["path", "string", "strings", "count"]);

/** Parses a row. Throws a SyntaxError that names the call when the row is not of the form above. */
export function parseRow(nr: number, name: string, row: string): Call {
  const [list = "", result = ""] = row.split("=").map((part) => part.trim());
  const texts = list === "" ? [] : list.split(/\s+/);
  const names = texts.map((text) => text.slice(0, text.indexOf(":")));
  return { nr, name, result, arguments: texts.map((text) => parseArgument(name, text, names)) };
}

function parseArgument(call: string, text: string, names: readonly string[]): Argument {
  const match = /^(\w+):(<?>?)(\w+)(?:\((\w+)\))?(?:\[(\w*)\]|\*(\d+))?$/.exec(text);
  if (match === null) throw new SyntaxError(`${call}: not an argument: ${text}`);
  const [, name = "", arrows = "", shape = "", parameter, counter, fixed] = match;
  const table = TABLED.has(shape) ? (parameter ?? "") : "";
  const relatedName = (table === "" ? parameter : undefined) ?? (counter === "" ? undefined : counter);
  const related = relatedName === undefined ? -1 : names.indexOf(relatedName);
  if (relatedName !== undefined && related < 0) throw new SyntaxError(`${call}: no argument ${relatedName}`);
  const arrow = (arrows.includes("<") ? IN : 0) | (arrows.includes(">") ? OUT : 0);
  const direction = arrow === 0 && ALWAYS_IN.has(shape) ? IN : arrow;
  const count =
    fixed !== undefined ? Number(fixed) : counter === undefined ? "one" : counter === "" ? "result" : "argument";
  return { name, shape, direction, table, related, count };
}
