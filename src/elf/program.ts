/** What a program file is, before it is started: found by reading it as the kernel's execve would. */
import { accessSync, constants, type Stats, statSync } from "node:fs";
import { ZpolineError } from "../errors.ts";
import { ET_DYN, ET_EXEC } from "./constants.ts";
import { buildId, interpreter, readElf } from "./read.ts";
import type { ByteSource } from "./source.ts";
import { withFile } from "./source.ts";

/** A `#!` line: what it makes of `path ARGS` is `interpreter [argument] path ARGS`. */
export interface ScriptLine {
  readonly path: string;
  readonly interpreter: string;
  readonly argument: string | undefined;
}

export interface ProgramDescription {
  /** The ELF file that runs: the program itself, or the last script's interpreter. */
  readonly path: string;
  /** The scripts on the way to it, outermost first. */
  readonly scripts: readonly ScriptLine[];
  /** A static program has no dynamic loader, hence nothing that would honour LD_PRELOAD. */
  readonly linkage: "dynamic" | "static";
  /** Path of the dynamic loader of a dynamic program. */
  readonly loader: string | undefined;
  readonly positionIndependent: boolean;
  /**
   * The set-user-ID or set-group-ID bit changes the user or the group: then the dynamic loader ignores LD_PRELOAD. File
   * capabilities, which do the same, are not seen.
   */
  readonly gainsRights: boolean;
  readonly buildId: string | undefined;
}

/** The kernel reads this much of a script (BINPRM_BUF_SIZE) and follows this many (fs/exec.c). */
const SCRIPT_LINE_MAX = 256;
const SCRIPT_DEPTH_MAX = 5;
const S_ISUID = 0o4000;
const S_ISGID = 0o2000;
const S_IXGRP = 0o010;

/**
 * Describes the program at a path (relative to the current directory; PATH is not searched).
 * @throws ZpolineError PROGRAM_NOT_FOUND, PROGRAM_NOT_EXECUTABLE, PROGRAM_UNREADABLE, PROGRAM_FORMAT (neither ELF program
 * nor script), SCRIPT_LINE, SCRIPT_DEPTH, or an ELF_* error of the reader.
 */
export function describeProgram(path: string): ProgramDescription {
  const scripts: ScriptLine[] = [];
  let file = path;
  while (true) {
    const status = checkExecutable(file, scripts.at(-1));
    const found = inspect(file);
    if (!("interpreter" in found)) {
      return { path: file, scripts, gainsRights: gainsRights(status), ...found };
    }
    scripts.push(found);
    if (scripts.length > SCRIPT_DEPTH_MAX)
      throw new ZpolineError("SCRIPT_DEPTH", `${path} is a script of a script, too deep for the kernel`);
    file = found.interpreter;
  }
}

type ElfDescription = Pick<ProgramDescription, "linkage" | "loader" | "positionIndependent" | "buildId">;

function inspect(path: string): ScriptLine | ElfDescription {
  return attempt(
    () => withFile(path, (source) => parseScriptLine(source, path) ?? describeElf(source, path)),
    (error) =>
      new ZpolineError("PROGRAM_UNREADABLE", `cannot read ${path}`, {
        cause: error,
        fix: "zpoline must be able to read the program that it hooks",
      }),
  );
}

function gainsRights({ mode, uid, gid }: Stats): boolean {
  const setsGroup = (mode & (S_ISGID | S_IXGRP)) === (S_ISGID | S_IXGRP);
  return ((mode & S_ISUID) !== 0 && uid !== process.geteuid?.()) || (setsGroup && gid !== process.getegid?.());
}

/** The status of a file that may be executed. `user`: the script that names it as its interpreter. */
function checkExecutable(path: string, user: ScriptLine | undefined): Stats {
  const why = (error: unknown) => ({ cause: user === undefined ? error : `it is the interpreter of ${user.path}` });
  const status = attempt(
    () => statSync(path),
    (error) => new ZpolineError("PROGRAM_NOT_FOUND", `cannot find ${path}`, why(error)),
  );
  if (!status.isFile()) throw new ZpolineError("PROGRAM_NOT_EXECUTABLE", `${path} is not a file`, why(undefined));
  attempt(
    () => accessSync(path, constants.X_OK),
    (error) =>
      new ZpolineError("PROGRAM_NOT_EXECUTABLE", `${path} is not executable`, {
        ...why(error),
        fix: `chmod +x ${path}`,
      }),
  );
  return status;
}

function attempt<T>(run: () => T, explain: (error: unknown) => ZpolineError): T {
  try {
    return run();
  } catch (error) {
    throw error instanceof ZpolineError ? error : explain(error);
  }
}

function describeElf(source: ByteSource, path: string): ElfDescription {
  const elf = readProgram(source, path);
  const loader = interpreter(elf);
  return {
    linkage: loader === undefined ? "static" : "dynamic",
    loader,
    positionIndependent: elf.type === ET_DYN,
    buildId: buildId(elf),
  };
}

function readProgram(source: ByteSource, path: string) {
  const start = source.read(0, 4);
  if (start.length < 4 || start[0] !== 0x7f)
    throw new ZpolineError("PROGRAM_FORMAT", `${path} is neither an ELF program nor a script`, {
      cause: "it starts neither with the ELF magic number nor with #!",
      fix: `if it is a shell script, run: sh ${path}`,
    });
  const elf = readElf(source, path);
  if (elf.type !== ET_EXEC && elf.type !== ET_DYN)
    throw new ZpolineError("PROGRAM_FORMAT", `${path} is an ELF file, but not a program`, {
      cause: `its type (e_type) is ${elf.type}: an object file or a core dump`,
    });
  return elf;
}

/** Parses a `#!` line as the kernel does (fs/binfmt_script.c). */
export function parseScriptLine(source: ByteSource, path: string): ScriptLine | undefined {
  const start = source.read(0, Math.min(SCRIPT_LINE_MAX, source.size));
  if (start[0] !== 0x23 || start[1] !== 0x21) return undefined;
  const text = new TextDecoder().decode(start.subarray(2));
  const [line = ""] = text.split("\n", 1);
  const isCut = line.length === text.length && source.size > SCRIPT_LINE_MAX;
  const [, name, rest = ""] = /^[ \t]*([^ \t\0]*)([^\0]*)/.exec(line)!;
  if (!name) throw new ZpolineError("SCRIPT_LINE", `${path} has a #! line without an interpreter`);
  if (isCut && rest === "")
    throw new ZpolineError("SCRIPT_LINE", `${path} has a #! line that is too long`, {
      cause: `the kernel reads ${SCRIPT_LINE_MAX} bytes of it`,
    });
  const argument = rest.replace(/^[ \t]+|[ \t]+$/g, "");
  return { path, interpreter: name, argument: argument === "" ? undefined : argument };
}
