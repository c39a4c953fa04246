/** The two ways in which the hook gets into a program. */
import { type ChildProcess, type StdioOptions, spawn } from "node:child_process";
import { doorPath, preloadList, preloadPath } from "./library.ts";

/** preload: ld.so loads a library. loader: zpoline-exec loads the program, so that its first instruction is hooked. */
export const DOORS = ["preload", "loader"] as const;
export type Door = (typeof DOORS)[number];

export interface Hooked {
  readonly via: Door;
  /** What execvp(3) would take, and the file that it would run. */
  readonly command: string;
  readonly file: string;
  readonly args: readonly string[];
  /** Variables that only the hook sees (guest/process/environment.ts). */
  readonly settings: Readonly<Record<string, string>>;
  readonly env: NodeJS.ProcessEnv;
  readonly cwd: string | undefined;
  readonly stdio: StdioOptions;
  /** Of the session: for what the library needs beside it. */
  readonly directory: string;
  /** Instead of the library that the build made. */
  readonly library: string | undefined;
}

/** Starts the program. Throws ZpolineError NOT_BUILT or UNUSABLE_PATH. */
export function spawnHooked({ via, command, file, args, settings, env, cwd, stdio, ...rest }: Hooked): ChildProcess {
  const common = { ...(cwd === undefined ? {} : { cwd }), stdio };
  if (via === "loader") {
    const told = Object.entries(settings).map(([name, value]) => `${name}=${value}`);
    return spawn(doorPath(), [...told, "--", command, ...args], { ...common, env });
  }
  const LD_PRELOAD = preloadList(preloadPath(rest.directory, rest.library), env["LD_PRELOAD"]);
  return spawn(file, args, { ...common, argv0: command, env: { ...env, ...settings, LD_PRELOAD } });
}
