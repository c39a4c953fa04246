/** What a hooked call costs, by each kind of patch, beside native, and beside the targets that are set for it. */

import type { Contender, Environment } from "./compare.ts";
import { compile, grid, measure, PATCHES, patched, type Row, typical, UNHOOKED } from "./compare.ts";

const ROUNDS = 9;
const GETPPID = 110;
/** Bursts, and calls of each. */
const SHORT = ["15", "4000"];
/** Where a call takes a microsecond and more. */
const LONG = ["9", "800"];

const COLUMNS = ["nobody looks", "a hook that calls", "a hook that answers"];
const HOOKS: readonly Environment[] = [
  {},
  { ZPOLINE_HOOK: `noop:${GETPPID}` },
  { ZPOLINE_HOOK: `constant:${GETPPID}` },
];

/** `withC`: the environment for a hook in C that makes every call as it is. `recorded`, `strace`: commands. */
export function calls(withC: Environment, recorded: readonly string[], strace: readonly string[]): void {
  const micro = compile("micro");
  const dispatch = compile("dispatch");
  const call =
    (environment: Environment, size = SHORT) =>
    () =>
      measure([micro, ...size], environment);
  const contenders: Contender[] = [
    { name: "native", run: call(UNHOOKED) },
    { name: "loop", run: () => measure([micro, ...SHORT, "loop"]) },
    ...PATCHES.flatMap((patch) =>
      HOOKS.map((hook, i) => ({
        name: `${patch} ${i}`,
        run: call(patched(patch, hook), patch === "trap" ? LONG : SHORT),
      })),
    ),
    { name: "dispatch 1", run: () => measure([dispatch, ...LONG]) },
    { name: "dispatch 2", run: () => measure([dispatch, ...LONG, "constant"]) },
    { name: "C hook 1", run: call(withC) },
    { name: "C hook without vector state 1", run: call({ ...withC, ZPOLINE_VECTOR: "leave" }) },
    { name: "recorded 1", run: () => measure([...recorded, micro, ...SHORT]) },
    { name: "strace 1", run: () => measure([...strace, micro, "3", "300"]) },
  ];
  const value = typical(ROUNDS, contenders);
  const native = value.get("native")!;
  const loop = value.get("loop")!;
  const row = (name: string, key = name): Row => ({ name, values: COLUMNS.map((_, i) => value.get(`${key} ${i}`)) });
  const title = `getppid(), CPU time per call in ns: native ${native.toFixed(2)}, the loop without a call ${loop.toFixed(2)}`;
  grid(
    title,
    COLUMNS,
    [native, native, loop],
    [
      ...PATCHES.map((patch) => row(patch)),
      row("dispatch to a handler in C", "dispatch"),
      row("C hook (zero)", "C hook"),
      row("C hook, vector state left alone", "C hook without vector state"),
      row("zpoline trace -f", "recorded"),
      row("strace -f (tracee's own time)", "strace"),
    ],
  );
  const targets: readonly (readonly [string, number, string, number])[] = [
    ["jump, a hook that answers, over the loop", value.get("jump 2")! - loop, "ns", 4],
    ["jump, a hook that calls, over native", value.get("jump 1")! - native, "ns", 8],
    ["trap, a hook that calls, to a handler in C", value.get("trap 1")! / value.get("dispatch 1")!, "×", 1.1],
    ["trap, a hook that answers, to a handler in C", value.get("trap 2")! / value.get("dispatch 2")!, "×", 1.1],
    ["what the net adds to a rewritten call", value.get("jump+trap 1")! - value.get("jump 1")!, "ns", 30],
  ];
  process.stdout.write("\ntargets\n");
  for (const [name, reached, unit, limit] of targets) {
    const verdict = reached <= limit ? "" : "   MISSED";
    process.stdout.write(
      `  ${name.padEnd(52)}${reached.toFixed(2).padStart(10)} ${unit} (at most ${limit})${verdict}\n`,
    );
  }
}
