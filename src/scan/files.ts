/** Which files to look at: those named, and with -r those in directories. */
import * as fs from "node:fs";
import * as path from "node:path";
import { ET_DYN, ET_EXEC } from "../elf/constants.ts";
import { type ElfFile, isElf, readElf } from "../elf/read.ts";
import { withFile } from "../elf/source.ts";
import { ZpolineError } from "../errors.ts";

export interface Candidate {
  readonly path: string;
  /** Found in a directory: nothing is said of files there that are no programs or libraries. */
  readonly found: boolean;
}

const MAGIC_SIZE = 4;

/** The files below `name`, by name; symbolic links are followed only where they are named. Throws ZpolineError. */
export function filesOf(name: string, recursive: boolean): Candidate[] {
  if (!attempt(name, () => fs.statSync(name)).isDirectory()) return [{ path: name, found: false }];
  if (recursive) return filesIn(name);
  throw new ZpolineError("SCAN_DIRECTORY", `${name} is a directory`, { fix: "zpoline scan -r looks into directories" });
}

function filesIn(directory: string): Candidate[] {
  const entries = attempt(directory, () => fs.readdirSync(directory, { withFileTypes: true }));
  return entries
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .flatMap((entry) => {
      const name = path.join(directory, entry.name);
      if (entry.isDirectory()) return filesIn(name);
      return entry.isFile() ? [{ path: name, found: true }] : [];
    });
}

/**
 * Opens a file for the time of `use`; undefined for one that was found and is no program or library. Throws ZpolineError
 * SCAN_READ, those of readElf and those of `use`.
 */
export function withElf<T>({ path: name, found }: Candidate, use: (file: ElfFile) => T): T | undefined {
  // A pipe would block on open, and a device may do anything.
  if (!attempt(name, () => fs.statSync(name)).isFile()) throw unreadable(name, "it is not a regular file");
  return attempt(name, () =>
    withFile(name, (source) => {
      if (found && !isElf(source.read(0, MAGIC_SIZE))) return undefined;
      const file = readElf(source, name);
      return found && file.type !== ET_EXEC && file.type !== ET_DYN ? undefined : use(file);
    }),
  );
}

function attempt<T>(name: string, run: () => T): T {
  try {
    return run();
  } catch (error) {
    const isSystem = error instanceof Error && "syscall" in error;
    throw isSystem ? unreadable(name, error) : error;
  }
}

function unreadable(name: string, cause: unknown): ZpolineError {
  return new ZpolineError("SCAN_READ", `cannot read ${name}`, { cause, fix: "name files that you can read" });
}
