/**
 * `npm run bench:compiler`: code of the guest compiler beside that of gcc -O2 for the same work, in one process, and
 * how long a compilation takes. Prints medians of CPU time and their ratio. Needs gcc.
 */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { runAsc } from "../src/compiler/asc.ts";
import { compileGuest, compileWasm } from "../src/compiler/compile.ts";
import type { ObjectFile } from "../src/compiler/object.ts";
import { writeSharedObject } from "../src/elf/write.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const here = join(root, "bench/compiler");
const work = mkdtempSync(join(tmpdir(), "zpoline-bench-"));
const FUNCTIONS = ["lengths", "scan", "maps", "hash"];
const COMPILATIONS = 21;

const median = (values: readonly number[]): number => [...values].sort((a, b) => a - b)[values.length >> 1]!;

function library(object: ObjectFile): string {
  const path = join(work, "guest.so");
  const exports = Object.fromEntries(FUNCTIONS.map((name) => [name, name]));
  writeFileSync(path, writeSharedObject([object], { soname: "guest.so", exports }));
  return path;
}

function gcc(name: string, source: string, ...options: string[]): string {
  const out = join(work, name);
  execFileSync("gcc", ["-O2", ...options, "-o", out, join(here, source), "-ldl"]);
  return out;
}

/** Milliseconds from WebAssembly to an object, when the compiler is warm. */
async function compileTime(entry: string): Promise<{ time: number; functions: number }> {
  const BASE = 0x50001230;
  const SECOND = 0x60002460;
  const first = await runAsc({ entry, root, memoryBase: BASE });
  const second = await runAsc({ entry, root, memoryBase: SECOND });
  const times: number[] = [];
  let functions = 0;
  for (let i = 0; i < COMPILATIONS; i++) {
    const start = process.cpuUsage();
    const { object } = compileWasm(first.wasm, {
      twin: { wasm: second.wasm, distance: BigInt(SECOND - BASE) },
      data: { base: BigInt(BASE), end: first.dataEnd },
    });
    const { user, system } = process.cpuUsage(start);
    times.push((user + system) / 1000);
    functions = object.code.length;
  }
  return { time: median(times), functions };
}

try {
  const { object } = await compileGuest({ entry: join(here, "guest.ts"), root });
  const output = execFileSync(
    gcc("driver", "driver.c"),
    [library(object), gcc("reference.so", "reference.c", "-shared", "-fPIC")],
    { encoding: "utf8" },
  );
  process.stdout.write(
    `${"CPU time of one call, ns".padEnd(28)}${"guest".padStart(14)}${"gcc -O2".padStart(14)}   ratio\n`,
  );
  for (const line of output.trim().split("\n")) {
    const [name, guest, reference] = line.split(" ") as [string, string, string];
    const ratio = (Number(guest) / Number(reference)).toFixed(2);
    process.stdout.write(`${name.padEnd(28)}${guest.padStart(14)}${reference.padStart(14)}${ratio.padStart(8)}\n`);
  }
  for (const entry of ["guest/rewrite/maps.ts", "guest/main.ts"]) {
    const { time, functions } = await compileTime(entry);
    process.stdout.write(`compile ${entry}, ${functions} functions, after asc: ${time.toFixed(1)} ms\n`);
  }
} finally {
  rmSync(work, { recursive: true, force: true });
}
