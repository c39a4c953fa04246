/** What it costs to start a program, by each kind of patch, with and without a site cache. */
import { mkdtempSync } from "node:fs";
import { join } from "node:path";
import type { Contender, Environment } from "./compare.ts";
import { compile, grid, measure, median, PATCHES, patched, type Row, typical, UNHOOKED, work } from "./compare.ts";

const ROUNDS = 4;
const COLUMNS = ["cache read", "cache made", "no cache"];
/** The kinds whose starts without a cache are measured, too: they search what they rewrite. */
const SEARCHED = ["zero", "jump+trap"];

const programs = (): readonly (readonly [string, number, readonly string[]])[] => [
  ["/bin/true", 21, ["/bin/true"]],
  ["node -e 0", 3, [process.execPath, "-e", "0"]],
];

/** Arguments of `cpu` by which only what it starts is hooked. */
export const variables = (environment: Environment): string[] => Object.entries(environment).map((e) => e.join("="));

export function starts(withC: Environment, recorded: readonly string[], strace: readonly string[]): void {
  const cpu = compile("cpu");
  const warm = { ZPOLINE_CACHE: join(work, "cache") };
  for (const [title, runs, command] of programs()) {
    const start = (environment: Environment, count = runs): number =>
      measure([cpu, String(count), ...variables(environment), ...command]);
    const cold = (patch: string): number =>
      start(patched(patch, { ZPOLINE_CACHE: mkdtempSync(join(work, "cold-")) }), 1);
    const contenders: Contender[] = [
      { name: "native", run: () => start(UNHOOKED) },
      ...PATCHES.map((patch) => ({ name: `${patch} 0`, run: () => start(patched(patch, warm)) })),
      ...SEARCHED.flatMap((patch) => [
        { name: `${patch} 1`, run: () => median(Array.from({ length: runs }, () => cold(patch))) },
        { name: `${patch} 2`, run: () => start(patched(patch, { ZPOLINE_CACHE: "off" })) },
      ]),
      { name: "C hook 0", run: () => start({ ...withC, ...warm }) },
      { name: "recorded 0", run: () => measure([...recorded, cpu, String(runs), ...command], warm) },
      { name: "strace 0", run: () => measure([cpu, "3", ...strace, ...command]) },
    ];
    const value = typical(ROUNDS, contenders);
    const native = value.get("native")!;
    const row = (name: string, key = name): Row => ({ name, values: COLUMNS.map((_, i) => value.get(`${key} ${i}`)) });
    grid(
      `${title}, CPU time from start to end in ms: native ${native.toFixed(2)}`,
      COLUMNS,
      [native, native, native],
      [
        ...PATCHES.map((patch) => row(patch)),
        row("C hook (zero)", "C hook"),
        row("zpoline trace -f (not its reader)", "recorded"),
        row("strace -f (with strace itself)", "strace"),
      ],
    );
  }
}
