/** Runs real programs natively, under `zpoline trace` and under strace. */
import { spawnSync } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll } from "vitest";
import type { PatchChoice } from "../../src/session/session.ts";
import { packageOf, type User } from "./users.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
export const ZPOLINE = join(root, "bin/zpoline.js");

/** A directory of this test file, removed at the end. All users may write to it. */
export const scratch = mkdtempSync(join(tmpdir(), "zpoline-test-"));
chmodSync(scratch, 0o777);
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

/** A new directory in it, for all users. */
export function place(...names: readonly string[]): string {
  const directory = join(scratch, ...names.map((name) => name.replace(/\W+/g, "-")));
  mkdirSync(directory, { recursive: true });
  chmodSync(directory, 0o777);
  return directory;
}

export interface Outcome {
  readonly stdout: string;
  readonly stderr: string;
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
}

export interface Options {
  readonly cwd?: string;
  readonly env?: NodeJS.ProcessEnv;
  readonly input?: string;
  /** Who runs it; by default who runs the tests. */
  readonly user?: User;
  /** ZPOLINE_PATCH of what is hooked; by default none. */
  readonly patch?: PatchChoice;
}

/** What the watched program is to see, but not what makes it another user's. */
const OURS = /^(LD_PRELOAD|LIBZPHOOK|ZPOLINE_\w+)$/;

/** The command and the environment that make it another user's. */
function asUser(user: User, command: readonly string[], env: NodeJS.ProcessEnv) {
  const variables = Object.entries(env);
  const ours = variables.filter(([name]) => OURS.test(name)).map(([name, value]) => `${name}=${value}`);
  return {
    command: [...user.become, "env", ...ours, ...command],
    env: Object.fromEntries(variables.filter(([name]) => !OURS.test(name))),
  };
}

export function run(command: readonly string[], options: Options = {}): Outcome {
  const { user, patch: _, env = { ...process.env, LC_ALL: "C", TZ: "UTC" }, ...others } = options;
  const other = user === undefined ? { command, env } : asUser(user, command, env);
  const [file, ...args] = other.command;
  const { stdout, stderr, status, signal, error } = spawnSync(file!, args, {
    encoding: "latin1",
    maxBuffer: 1 << 28,
    timeout: 50_000,
    cwd: scratch,
    ...others,
    env: other.env,
  });
  if (error) throw error;
  return { stdout, stderr, status, signal };
}

let files = 0;

export interface Traced extends Outcome {
  /** Lines of the trace, `PID  call(…) = …`. */
  readonly lines: readonly string[];
}

/** Under `zpoline trace -f`. */
export function zpoline(command: readonly string[], options: Options = {}, flags: readonly string[] = ["-f"]): Traced {
  const program = join(packageOf(options.user), "bin/zpoline.js");
  const patch = options.patch === undefined ? [] : ["--patch", options.patch];
  return traced([process.execPath, program, "trace", ...patch, ...flags], command, options);
}

/** Under `strace -f`, without the calls that the kernel broke off for a signal and made again by itself. */
export function strace(command: readonly string[], options: Options = {}, flags: readonly string[] = ["-f"]): Traced {
  const { lines, ...outcome } = traced(["strace", ...flags], command, options);
  return { ...outcome, lines: withoutRestarted(lines) };
}

/**
 * strace stops at every return to the kernel's signal code: a fork that SIGCHLD breaks off is in its trace twice
 * (ERESTARTNOINTR, kernel/fork.c), but is one call for the program, and for us, where the instruction is executed again.
 */
function withoutRestarted(lines: readonly string[]): string[] {
  const dropped = new Set<number>();
  const begun = new Map<string, number>();
  lines.forEach((line, i) => {
    const pid = /^\d+/.exec(line)?.[0] ?? "";
    if (line.endsWith("<unfinished ...>")) begun.set(pid, i);
    if (!line.endsWith("= ? ERESTARTNOINTR (To be restarted)")) return;
    dropped.add(i);
    if (/^\d+ +<\.\.\. \w+ resumed>/.test(line)) dropped.add(begun.get(pid) ?? i);
  });
  return lines.filter((_, i) => !dropped.has(i));
}

function traced(tracer: readonly string[], command: readonly string[], options: Options): Traced {
  const file = join(scratch, `trace.${files++}`);
  const outcome = run([...tracer, "-o", file, "--", ...command], options);
  const lines = existsSync(file) ? readFileSync(file, "latin1").split("\n").filter(Boolean) : [];
  return { ...outcome, lines };
}

/** Compiles test/fixtures/NAME.c; returns the path of the program. */
export function fixture(name: string, ...flags: readonly string[]): string {
  return fixtureBy("gcc", name, ...flags);
}

/** The same, with another compiler. */
export function fixtureBy(compiler: "gcc" | "musl-gcc", name: string, ...flags: readonly string[]): string {
  const out = join(scratch, "bin", `${compiler}-${basename(name, ".c")}${flags.join("").replaceAll("/", "_")}`);
  if (existsSync(out)) return out;
  mkdirSync(join(scratch, "bin"), { recursive: true });
  const { status, stderr } = run([
    compiler,
    "-O1",
    "-o",
    out,
    join(root, "test/fixtures", name),
    "-lpthread",
    ...flags,
  ]);
  if (status !== 0) throw new Error(stderr);
  return out;
}

/** The calls of each process, by order of pid: from `name(` on, in the order in which they were made, resumed lines joined. */
export function callsByProcess(lines: readonly string[]): string[][] {
  const calls = new Map<number, string[]>();
  const pending = new Map<number, string>();
  for (const line of lines) {
    const [, pid, text] = line.match(/^(\d+)\s+(.*)$/) ?? [];
    if (pid === undefined || text === undefined || /^(---|\+\+\+)/.test(text)) continue;
    const list = calls.get(Number(pid)) ?? [];
    calls.set(Number(pid), list);
    const resumed = text.match(/^<\.\.\. \w+ resumed>(.*)$/);
    if (resumed) list[list.length - 1] = `${pending.get(Number(pid)) ?? ""}${resumed[1]}`;
    else {
      const begun = text.replace(/ <unfinished \.\.\.>$/, "");
      pending.set(Number(pid), begun);
      list.push(begun);
    }
  }
  return [...calls].sort(([a], [b]) => a - b).map(([, list]) => list);
}

/** The name of the call in a line. */
export const nameOf = (call: string): string => call.slice(0, call.indexOf("("));
