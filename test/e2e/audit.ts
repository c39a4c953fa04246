/** The audit log of a hooked program. */
import { readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { libraryPath } from "../../src/session/library.ts";
import { type Outcome, run, scratch } from "./run.ts";

export interface AuditLine {
  readonly type: "start" | "site" | "object" | "gap";
  readonly pid: number;
  readonly [field: string]: unknown;
}

export interface Audited extends Outcome {
  readonly lines: readonly AuditLine[];
}

export function readAudit(path: string): AuditLine[] {
  return readFileSync(path, "utf8")
    .split("\n")
    .slice(0, -1)
    .map((line) => JSON.parse(line) as AuditLine);
}

/** Runs a command with the library preloaded, and nothing but `env` and PATH in its environment. */
export function audited(command: readonly string[], env: NodeJS.ProcessEnv = {}): Audited {
  const log = join(scratch, "audit.log");
  rmSync(log, { force: true });
  const variables = { PATH: process.env["PATH"], LD_PRELOAD: libraryPath(), ZPOLINE_AUDIT: log, ...env };
  const outcome = run(command, { env: variables });
  return { ...outcome, lines: readAudit(log) };
}

/** The line about the object whose path ends with `name`. */
export function objectLine(lines: readonly AuditLine[], name: string): AuditLine {
  const line = lines.find(({ type, file }) => type === "object" && String(file).endsWith(name));
  if (line === undefined) throw new Error(`${name} is not in the log`);
  return line;
}
