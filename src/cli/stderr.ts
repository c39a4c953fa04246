import * as fs from "node:fs";

const STDERR = 2;

/** Writes a line of zpoline's own. Where standard error is gone, there is nobody left to tell. */
export function sayLine(line: string): void {
  try {
    fs.writeSync(STDERR, `${line}\n`);
  } catch {
    // Closed, or a pipe that nobody reads.
  }
}
