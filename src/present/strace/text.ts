/** Bytes as strace prints them: in quotes, C escapes, octal for the rest. */

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const FIRST_PRINTABLE = 0x20;
const LAST_PRINTABLE = 0x7e;
const LETTERS: Readonly<Record<number, string>> = { 9: "\\t", 10: "\\n", 11: "\\v", 12: "\\f", 13: "\\r" };

/** Escapes of each byte where no octal digit follows, and where one does. */
const SHORT: string[] = [];
const LONG: string[] = [];
for (let byte = 0; byte < 256; byte++) {
  const printable = byte >= FIRST_PRINTABLE && byte <= LAST_PRINTABLE;
  const plain = printable && byte !== QUOTE && byte !== BACKSLASH;
  const kept = plain
    ? String.fromCharCode(byte)
    : (LETTERS[byte] ?? (printable ? `\\${String.fromCharCode(byte)}` : ""));
  SHORT.push(kept || `\\${byte.toString(8)}`);
  LONG.push(kept || `\\${byte.toString(8).padStart(3, "0")}`);
}
const PLAIN = SHORT.map((text) => text.length === 1);

/**
 * memory[at … at + size) in quotes, at most `limit` bytes of it, with "..." after it when there is more; `full` is how
 * many bytes there really are.
 */
export function quoted(memory: Buffer, at: number, size: number, limit: number, full = size): string {
  const shown = Math.min(size, limit);
  const text = `"${escaped(memory, at, at + shown)}"`;
  return full > shown ? `${text}...` : text;
}

/** All bytes in hexadecimal escapes, as strace prints random bytes and file handles. */
export function quotedHex(memory: Buffer, at: number, size: number, limit: number, full = size): string {
  const shown = Math.min(size, limit);
  let text = "";
  for (let p = at; p < at + shown; p++) text += `\\x${memory[p]!.toString(16).padStart(2, "0")}`;
  return full > shown ? `"${text}"...` : `"${text}"`;
}

/** The string up to its NUL, or up to `size` bytes. */
export function quotedString(memory: Buffer, at: number, size: number, limit = size): string {
  const nul = memory.indexOf(0, at);
  const length = nul >= 0 && nul < at + size ? nul - at : size;
  return quoted(memory, at, length, limit);
}

function escaped(memory: Buffer, from: number, to: number): string {
  let plain = from;
  while (plain < to && PLAIN[memory[plain]!]) plain++;
  let text = memory.toString("latin1", from, plain);
  for (let p = plain; p < to; p++) {
    const next = p + 1 < to ? memory[p + 1]! : 0;
    text += next >= 0x30 && next <= 0x37 ? LONG[memory[p]!] : SHORT[memory[p]!];
  }
  return text;
}
