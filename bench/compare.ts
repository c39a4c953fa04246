/** Contenders measured in turn, and a table of their medians beside the one that they are compared with. */
import { execFileSync } from "node:child_process";
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

export const root = fileURLToPath(new URL("../..", import.meta.url));
/** A directory for what the benchmark makes; whoever begins removes it. */
export const work = mkdtempSync(join(tmpdir(), "zpoline-bench-"));
export const library = join(root, "dist/libzpoline.so");

export const median = (values: readonly number[]): number => [...values].sort((a, b) => a - b)[values.length >> 1]!;

export interface Contender {
  readonly name: string;
  readonly run: () => number;
  /** Compared with the contender of this name, not with the first; null: with none. */
  readonly against?: string | null;
}

/** Interleaves the contenders for `rounds` rounds, and prints the median of each. */
export function compare(title: string, unit: string, rounds: number, contenders: readonly Contender[]): void {
  const values = new Map(contenders.map(({ name }) => [name, [] as number[]]));
  for (let round = 0; round < rounds; round++) for (const { name, run } of contenders) values.get(name)!.push(run());
  const [first] = contenders;
  process.stdout.write(`\n${title}\n`);
  for (const { name, against = first!.name } of contenders) {
    const value = median(values.get(name)!);
    const beside = against === null || against === name ? "" : difference(value, median(values.get(against)!));
    process.stdout.write(`  ${name.padEnd(48)}${value.toFixed(2).padStart(12)} ${unit}${beside}\n`);
  }
}

function difference(value: number, other: number): string {
  return `  ${(value >= other ? "+" : "") + (value - other).toFixed(2)}  (${(value / other).toFixed(3)}×)`;
}

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
