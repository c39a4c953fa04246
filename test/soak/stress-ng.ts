/**
 * `npm run soak:stress`: every stressor of stress-ng(1) that ends well natively ends well hooked. Prints a line for each,
 * and the end of what it said where it differs. Needs stress-ng and gcc. Options, after `--`:
 *
 *     --seconds N    how long each runs (2)
 *     --only A,B     these stressors
 *     --mode MODE    preload (LD_PRELOAD alone), hook (with a C hook that passes every call on), trace (zpoline trace -f)
 */
import { spawn, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { stressors } from "./stressors.ts";

const root = process.env["npm_config_local_prefix"] ?? process.cwd();
const work = mkdtempSync(join(tmpdir(), "zpoline-soak-"));
const library = join(root, "dist/libzpoline.so");
const hook = join(work, "pass.so");

/** What stands before `stress-ng` in each mode. */
const MODES: Readonly<Record<string, readonly string[]>> = {
  preload: ["env", `LD_PRELOAD=${library}`],
  hook: ["env", `LD_PRELOAD=${library}`, `LIBZPHOOK=${hook}`],
  trace: [process.execPath, join(root, "bin/zpoline.js"), "trace", "-f", "-o", "/dev/null", "--"],
};

interface Outcome {
  /** Exit status, name of a signal, or "no end". */
  readonly end: string;
  readonly output: string;
}

/** Some end late: they finish what they have begun. */
const PATIENCE = 40_000;

function run(prefix: readonly string[], name: string, seconds: number): Promise<Outcome> {
  const directory = join(work, name);
  mkdirSync(directory, { recursive: true });
  const [file = "", ...args] = [
    ...prefix,
    "stress-ng",
    `--${name}`,
    "1",
    "-t",
    String(seconds),
    "--temp-path",
    directory,
  ];
  return new Promise((resolve) => {
    const child = spawn(file, args, { cwd: directory, detached: true, stdio: ["ignore", "pipe", "pipe"] });
    const chunks: Buffer[] = [];
    let late = false;
    const stop = (): void => {
      try {
        process.kill(-(child.pid ?? 0), "SIGKILL");
      } catch {} // nobody is left
    };
    const timer = setTimeout(
      () => {
        late = true;
        stop();
      },
      seconds * 1000 + PATIENCE,
    );
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk: Buffer) => chunks.push(chunk));
    child.on("exit", (status, signal) => {
      clearTimeout(timer);
      stop();
      const end = late ? "no end" : (signal ?? String(status));
      resolve({ end, output: Buffer.concat(chunks).toString("latin1") });
    });
  });
}

const { values } = parseArgs({
  options: {
    seconds: { type: "string", default: "2" },
    only: { type: "string" },
    mode: { type: "string", default: "preload" },
  },
});
const prefix = MODES[values.mode];
const names = values.only?.split(",") ?? stressors();
if (prefix === undefined || names.length === 0) {
  process.stderr.write(prefix === undefined ? `no such mode: ${values.mode}\n` : "stress-ng is not installed\n");
  process.exit(2);
}
const pass = join(root, "test/fixtures/hooks/pass.c");
if (values.mode === "hook" && spawnSync("gcc", ["-O2", "-shared", "-fPIC", "-o", hook, pass]).status !== 0) {
  process.stderr.write("gcc is not installed\n");
  process.exit(2);
}

let same = 0;
const different: string[] = [];
const failing: string[] = [];
console.log(`${"stressor".padEnd(20)} ${"native".padStart(8)} ${values.mode.padStart(8)}`);
for (const name of names) {
  const hooked = await run(prefix, name, Number(values.seconds));
  // What ends well hooked is taken to do so natively.
  const native = hooked.end === "0" ? hooked : await run([], name, Number(values.seconds));
  console.log(`${name.padEnd(20)} ${native.end.padStart(8)} ${hooked.end.padStart(8)}`);
  if (hooked.end === "0") same++;
  else if (native.end !== "0") failing.push(name);
  else {
    different.push(name);
    console.log(hooked.output.trimEnd().split("\n").slice(-12).join("\n"));
  }
}
rmSync(work, { recursive: true, force: true });
console.log(
  `${same} end well, ${failing.length} end badly natively, ${different.length} only hooked: ${different.join(" ")}`,
);
if (different.length > 0) process.exitCode = 1;
