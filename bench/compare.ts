/** Contenders measured in turn, and their times: as a list beside the one that they are compared with, or as a grid. */
import { execFileSync } from "node:child_process";
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

export const root = fileURLToPath(new URL("../..", import.meta.url));
/** A directory for what the benchmark makes; whoever begins removes it. */
export const work = mkdtempSync(join(tmpdir(), "zpoline-bench-"));
export const library = join(root, "dist/libzpoline.so");

export type Environment = Readonly<Record<string, string>>;
export const UNHOOKED: Environment = { LD_PRELOAD: "" };
export const hooked = (more: Environment = {}): Environment => ({ LD_PRELOAD: library, ...more });
/** The kinds of patch that are measured, the default of the command line last. */
export const PATCHES = ["zero", "zero+trap", "jump", "trap", "jump+trap"] as const;
export const patched = (patch: string, more: Environment = {}): Environment =>
  hooked({ ZPOLINE_PATCH: patch, ...more });

export const median = (values: readonly number[]): number => [...values].sort((a, b) => a - b)[values.length >> 1]!;

export interface Contender {
  readonly name: string;
  readonly run: () => number;
}

/**
 * Interleaves the contenders for `rounds` rounds; the lower quartile of each. What else runs meanwhile, on the other thread of
 * the core above all, makes rounds slower by a quarter, and none faster.
 */
export function typical(rounds: number, contenders: readonly Contender[]): Map<string, number> {
  const values = new Map(contenders.map(({ name }) => [name, [] as number[]]));
  for (let round = 0; round < rounds; round++) for (const { name, run } of contenders) values.get(name)!.push(run());
  return new Map([...values].map(([name, all]) => [name, [...all].sort((a, b) => a - b)[all.length >> 2]!]));
}

/** Measures, and prints each beside the first. */
export function compare(title: string, unit: string, rounds: number, contenders: readonly Contender[]): void {
  const values = typical(rounds, contenders);
  const base = values.get(contenders[0]!.name)!;
  process.stdout.write(`\n${title}\n`);
  for (const [name, value] of values) {
    const beside = value === base ? "" : `${signed(value - base).padStart(12)}  (${(value / base).toFixed(3)}×)`;
    process.stdout.write(`  ${name.padEnd(44)}${value.toFixed(2).padStart(10)} ${unit}${beside}\n`);
  }
}

export interface Row {
  readonly name: string;
  /** A value for each column; undefined where there is none. */
  readonly values: readonly (number | undefined)[];
}

/** Prints rows of values, each beside the base of its column. */
export function grid(title: string, columns: readonly string[], bases: readonly number[], rows: readonly Row[]): void {
  process.stdout.write(`\n${title}\n${" ".repeat(34)}${columns.map((name) => name.padStart(22)).join("")}\n`);
  for (const { name, values } of rows) {
    const cells = values.map((value, i) =>
      value === undefined ? "" : `${value.toFixed(2)} (${signed(value - bases[i]!)})`,
    );
    process.stdout.write(`  ${name.padEnd(32)}${cells.map((cell) => cell.padStart(22)).join("")}\n`);
  }
}

export const signed = (value: number): string => (value >= 0 ? "+" : "") + value.toFixed(2);

/** Compiles bench/NAME.c; returns the path. */
export function compile(name: string, ...options: readonly string[]): string {
  const out = join(work, name);
  execFileSync("gcc", ["-O2", ...options, "-o", out, join(root, "bench", `${name}.c`)]);
  return out;
}

/** The number that the command prints; what it says on standard error is shown only when it fails. */
export function measure(command: readonly string[], env: NodeJS.ProcessEnv = {}): number {
  const [file, ...args] = command;
  return Number(execFileSync(file!, args, { env: { ...process.env, ...env }, encoding: "utf8", stdio: "pipe" }));
}
