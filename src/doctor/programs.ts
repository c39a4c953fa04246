/** Puts the programs of probe.ts where they can be executed, runs them, and takes them away again. */
import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { interpreter, readElf } from "../elf/read.ts";
import { withFile } from "../elf/source.ts";
import { launcherProgram, meterProgram, probeProgram, words } from "./probe.ts";

/** Milliseconds after which a program that does not end is killed. */
const PATIENCE = 10_000;

/** Where dynamic loaders are as a rule: glibc (System V ABI), musl. */
const USUAL_LOADERS = ["/lib64/ld-linux-x86-64.so.2", "/lib/ld-musl-x86_64.so.1"];

export interface Programs {
  /** The directory that they are in. */
  readonly directory: string;
  readonly probe: string;
  readonly launcher: string;
  /** undefined where there is no dynamic loader, and so nothing that would honour LD_PRELOAD. */
  readonly meter: string | undefined;
  remove(): void;
}

/** What became of a run: `words` are there when as many were written as were asked for. */
export interface Run {
  readonly words: readonly bigint[] | undefined;
  readonly signal: NodeJS.Signals | null;
  readonly stderr: string;
}

/**
 * Makes the programs in the first of `parents` that allows to execute files; undefined when none does (all of them mounted
 * noexec, or not to be written to).
 */
export function makePrograms(parents: readonly string[], loader = findLoader()): Programs | undefined {
  for (const parent of parents) {
    let directory: string | undefined;
    try {
      directory = fs.mkdtempSync(path.join(path.resolve(parent), "zpoline-doctor-"));
      const programs = putAll(directory, loader);
      if (canExecute(programs.probe)) return programs;
    } catch {
      // The next one, perhaps.
    }
    if (directory !== undefined) fs.rmSync(directory, { recursive: true, force: true });
  }
  return undefined;
}

function putAll(directory: string, loader: string | undefined): Programs {
  const put = (name: string, bytes: Uint8Array): string => {
    const file = path.join(directory, name);
    fs.writeFileSync(file, bytes, { mode: 0o700 });
    return file;
  };
  return {
    directory,
    probe: put("probe", probeProgram()),
    launcher: put("launcher", launcherProgram()),
    meter: loader === undefined ? undefined : put("meter", meterProgram(loader, librariesOf(loader))),
    remove: () => fs.rmSync(directory, { recursive: true, force: true }),
  };
}

/** A letter that is no question leads the probe to its end at once. */
function canExecute(probe: string): boolean {
  return spawnSync(probe, ["-"], { stdio: "ignore", timeout: PATIENCE }).error === undefined;
}

/** The dynamic loader that started this very process, or one where they are as a rule. */
export function findLoader(): string | undefined {
  try {
    const own = withFile(process.execPath, (source) => interpreter(readElf(source, process.execPath)));
    if (own !== undefined) return own;
  } catch {
    // Not readable: it is not that of this process, then.
  }
  return USUAL_LOADERS.find((file) => fs.existsSync(file));
}

/** musl's loader is the C library itself. */
export function librariesOf(loader: string): readonly string[] {
  return isMusl(loader) ? [] : ["libc.so.6"];
}

export function isMusl(loader: string): boolean {
  return path.basename(loader).startsWith("ld-musl-");
}

export function run(
  file: string,
  args: readonly string[],
  count: number,
  environment: NodeJS.ProcessEnv = process.env,
): Run {
  const { stdout, stderr, signal, status, error } = spawnSync(file, args, { env: environment, timeout: PATIENCE });
  return {
    words: status === 0 ? words(stdout, count) : undefined,
    signal,
    stderr: error?.message ?? stderr.toString("utf8"),
  };
}

/** Directories to try: the temporary one, the user's own for running processes, and that of the package. */
export function executableParents(): string[] {
  const runtime = process.env["XDG_RUNTIME_DIR"];
  const ours = path.dirname(new URL(import.meta.url).pathname);
  return [os.tmpdir(), ...(runtime === undefined || runtime === "" ? [] : [runtime]), os.homedir(), ours];
}
