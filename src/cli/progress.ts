import { writeSync } from "node:fs";
import { isatty } from "node:tty";

const STDERR = 2;
const WIDTH = 24;
/** Returns to the start of the line, and clears it. */
const CLEAR = "\r\x1b[K";

/** A bar on standard error for work on several things; nothing where that is no terminal. */
export class Progress {
  readonly #total: number;
  readonly #shown: boolean;

  constructor(total: number) {
    this.#total = total;
    this.#shown = total > 1 && isatty(STDERR);
  }

  /** `done` things are done, `name` is next. */
  show(done: number, name: string): void {
    if (!this.#shown) return;
    const filled = Math.round((WIDTH * done) / this.#total);
    const columns = process.stderr.columns || 80;
    const text = `[${"#".repeat(filled)}${".".repeat(WIDTH - filled)}] ${done}/${this.#total} ${name}`;
    writeSync(STDERR, CLEAR + text.slice(0, columns - 1));
  }

  /** Before anything else is written. */
  clear(): void {
    if (this.#shown) writeSync(STDERR, CLEAR);
  }
}
