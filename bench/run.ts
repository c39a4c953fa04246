/**
 * `npm run bench`: what a hooked call and a hooked start cost, beside native and strace, measured in one run. Prints
 * medians of interleaved rounds of CPU time, the difference and the ratio to native. Needs gcc and strace.
 */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../..", import.meta.url));
const work = mkdtempSync(join(tmpdir(), "zpoline-bench-"));
const library = join(root, "dist/libzpoline.so");
const zpoline = [process.execPath, join(root, "bin/zpoline.js"), "trace", "-f", "-o", "/dev/null", "--"];
const strace = ["strace", "-f", "-o", "/dev/null", "--"];
const GETPPID = 110;

function compile(name: string): string {
  const out = join(work, name);
  execFileSync("gcc", ["-O2", "-o", out, join(root, "bench", `${name}.c`)]);
  return out;
}

function measure(command: readonly string[], env: NodeJS.ProcessEnv = {}): number {
  const [file, ...args] = command;
  return Number(execFileSync(file!, args, { env: { ...process.env, ...env }, encoding: "utf8" }));
}

const median = (values: readonly number[]): number => [...values].sort((a, b) => a - b)[values.length >> 1]!;

interface Contender {
  readonly name: string;
  readonly run: () => number;
}

/** Interleaves the contenders; the first is native. */
function compare(title: string, unit: string, rounds: number, contenders: readonly Contender[]): void {
  const values = contenders.map((): number[] => []);
  for (let round = 0; round < rounds; round++) {
    contenders.forEach(({ run }, i) => {
      values[i]!.push(run());
    });
  }
  const native = median(values[0]!);
  process.stdout.write(`\n${title}\n`);
  contenders.forEach(({ name }, i) => {
    const value = median(values[i]!);
    const beside =
      i === 0
        ? ""
        : `  ${(value - native >= 0 ? "+" : "") + (value - native).toFixed(2)}  (${(value / native).toFixed(2)}×)`;
    process.stdout.write(`  ${name.padEnd(44)}${value.toFixed(2).padStart(12)} ${unit}${beside}\n`);
  });
}

try {
  const micro = compile("micro");
  const cpu = compile("cpu");
  const preloaded = (hook: string) => () => measure([micro], { LD_PRELOAD: library, ZPOLINE_HOOK: hook });
  compare("getppid(), CPU time per call", "ns", 5, [
    { name: "native", run: () => measure([micro]) },
    { name: "hooked, number that nobody looks at", run: preloaded("none") },
    { name: "hooked, constant hook (no call)", run: preloaded(`constant:${GETPPID}`) },
    { name: "hooked, no-op hook and the real call", run: preloaded(`noop:${GETPPID}`) },
    { name: "recorded (zpoline trace -f)", run: () => measure([...zpoline, micro]) },
    { name: "strace -f (tracee's own CPU time)", run: () => measure([...strace, micro, "3", "2000"]) },
  ]);
  for (const [title, runs, command] of [
    ["/bin/true", 40, ["/bin/true"]],
    ["node -e 0", 5, [process.execPath, "-e", "0"]],
  ] as const) {
    compare(`${title}, CPU time of the program`, "ms", 3, [
      { name: "native", run: () => measure([cpu, String(runs), ...command]) },
      {
        name: "hooked, nothing recorded",
        run: () => measure(["env", `LD_PRELOAD=${library}`, cpu, String(runs), ...command]),
      },
      {
        name: "zpoline trace -f (without the reader)",
        run: () => measure([...zpoline, cpu, String(runs), ...command]),
      },
      { name: "strace -f (with strace itself)", run: () => measure([cpu, "3", ...strace, ...command]) },
    ]);
  }
} finally {
  rmSync(work, { recursive: true, force: true });
}
