import * as fs from "node:fs";
import * as path from "node:path";
import { ZpolineError } from "../errors.ts";

/** PATH where there is none (execvp(3), confstr _CS_PATH). */
const DEFAULT_PATH = "/bin:/usr/bin";

/**
 * The file that execvp(3) would run for `name`: `name` itself where it has a slash (whether it can be run is not looked
 * at), else the first executable file of that name in the directories of `searchPath`. Throws ZpolineError
 * PROGRAM_NOT_FOUND, or PROGRAM_NOT_EXECUTABLE when there are only files that may not be run.
 */
export function findCommand(name: string, searchPath: string | undefined, cwd: string): string {
  if (name.includes("/")) return path.resolve(cwd, name);
  const directories = name === "" ? [] : (searchPath ?? DEFAULT_PATH).split(":");
  const there = directories.map((directory) => path.resolve(cwd, directory, name)).filter(isFile);
  const file = there.find(isExecutable);
  if (file !== undefined) return file;
  if (there.length > 0) {
    throw new ZpolineError("PROGRAM_NOT_EXECUTABLE", `${there[0]} is not executable`, { fix: `chmod +x ${there[0]}` });
  }
  throw new ZpolineError("PROGRAM_NOT_FOUND", `cannot find ${name === "" ? "a command with an empty name" : name}`, {
    cause: "no directory of PATH has it",
    fix: "install it, or give its path",
  });
}

function isFile(file: string): boolean {
  try {
    return fs.statSync(file).isFile();
  } catch {
    return false;
  }
}

function isExecutable(file: string): boolean {
  try {
    fs.accessSync(file, fs.constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
