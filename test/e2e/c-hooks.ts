/** Compiles hooks in C and runs programs under them, with the library alone: no tracer. */
import { existsSync, mkdirSync } from "node:fs";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { libraryPath } from "../../src/session/library.ts";
import { type Options, type Outcome, run, scratch } from "./run.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));

function built(out: string, command: readonly string[]): string {
  mkdirSync(join(scratch, "hooks"), { recursive: true });
  if (existsSync(out)) return out;
  const { status, stderr } = run(command);
  if (status !== 0) throw new Error(stderr);
  return out;
}

/** Compiles test/fixtures/hooks/NAME.c; returns the path of the library. */
export function hook(name: string, compiler: "gcc" | "musl-gcc" = "gcc", ...flags: readonly string[]): string {
  const out = join(scratch, "hooks", `${basename(name)}-${compiler}${flags.join("")}.so`);
  const source = join(root, "test/fixtures/hooks", `${name}.c`);
  return built(out, [compiler, "-O2", "-shared", "-fPIC", "-I", join(root, "include"), ...flags, "-o", out, source]);
}

/** Makes examples/c/NAME.so as its Makefile says; returns the path of the library. */
export function example(name: "tracer" | "count" | "deny" | "memfs"): string {
  const out = join(scratch, "hooks", `${name}.so`);
  return built(out, ["make", "-s", "-C", join(root, "examples/c"), `OUT=${join(scratch, "hooks")}`, out]);
}

/** The environment of a program with a hook. */
export const hookedEnv = (library: string, more: NodeJS.ProcessEnv = {}): NodeJS.ProcessEnv => ({
  ...process.env,
  LC_ALL: "C",
  TZ: "UTC",
  LIBZPHOOK: library,
  LD_PRELOAD: libraryPath(),
  ...more,
});

export function hooked(library: string, command: readonly string[], options: Options = {}): Outcome {
  const patch = options.patch === undefined ? {} : { ZPOLINE_PATCH: options.patch };
  return run(command, { ...options, env: hookedEnv(library, { ...patch, ...options.env }) });
}
