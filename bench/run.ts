/**
 * `npm run bench`: what a hooked call, a hooked start and hooked programs cost, beside native and strace, measured in one
 * run. Prints medians of interleaved rounds of CPU time, the difference and the ratio to native. Needs gcc, strace, dd and
 * redis-server.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { compare, compile, library, measure, median, root, work } from "./compare.ts";
import { redis } from "./redis.ts";

const zpoline = [process.execPath, join(root, "bin/zpoline.js"), "trace", "-f", "-o", "/dev/null", "--"];
const strace = ["strace", "-f", "-o", "/dev/null", "--"];
const GETPPID = 110;

type Environment = Readonly<Record<string, string>>;
const UNHOOKED: Environment = { LD_PRELOAD: "" };
const hooked = (more: Environment = {}): Environment => ({ LD_PRELOAD: library, ...more });
/** The same as arguments of `cpu`: only what it starts is hooked. */
const variables = (environment: Environment): string[] => Object.entries(environment).map((e) => e.join("="));

try {
  const micro = compile("micro");
  const cpu = compile("cpu");
  const passing = compile("hook", "-shared", "-fPIC");
  const withC = (more: Environment = {}): Environment => hooked({ LIBZPHOOK: passing, ...more });

  const BURSTS = ["15", "5000"];
  const call = (environment: Environment) => () => measure([micro, ...BURSTS], environment);
  compare("getppid(), CPU time per call", "ns", 9, [
    { name: "native", run: call(UNHOOKED) },
    { name: "hooked, number that nobody looks at", run: call(hooked({ ZPOLINE_HOOK: "none" })) },
    { name: "hooked, no-op hook and the real call", run: call(hooked({ ZPOLINE_HOOK: `noop:${GETPPID}` })) },
    { name: "C hook that makes the call", run: call(withC()) },
    { name: "C hook, vector state left as it is", run: call(withC({ ZPOLINE_VECTOR: "leave" })) },
    { name: "recorded (zpoline trace -f)", run: () => measure([...zpoline, micro, ...BURSTS]) },
    { name: "strace -f (tracee's own CPU time)", run: () => measure([...strace, micro, "3", "1000"]) },
    { name: "the loop without a system call", run: () => measure([micro, ...BURSTS, "loop"]), against: null },
    {
      name: "hooked, constant hook, no call",
      run: call(hooked({ ZPOLINE_HOOK: `constant:${GETPPID}` })),
      against: "the loop without a system call",
    },
  ]);

  const warm = join(work, "cache");
  const START_UPS: readonly (readonly [string, number, readonly string[]])[] = [
    ["/bin/true", 21, ["/bin/true"]],
    ["node -e 0", 5, [process.execPath, "-e", "0"]],
  ];
  for (const [title, runs, command] of START_UPS) {
    const start = (environment: Environment, count = runs): number =>
      measure([cpu, String(count), ...variables(environment), ...command]);
    const cold = (): number => start(hooked({ ZPOLINE_CACHE: mkdtempSync(join(work, "cold-")) }), 1);
    compare(`${title}, CPU time of the program`, "ms", 3, [
      { name: "native", run: () => start(UNHOOKED) },
      { name: "hooked, without a cache", run: () => start(hooked({ ZPOLINE_CACHE: "off" })) },
      { name: "hooked, cache made", run: () => median(Array.from({ length: runs }, cold)) },
      { name: "hooked, cache read", run: () => start(hooked({ ZPOLINE_CACHE: warm })) },
      { name: "C hook, cache read", run: () => start(withC({ ZPOLINE_CACHE: warm })) },
      {
        name: "zpoline trace -f (without the reader)",
        run: () => measure([...zpoline, cpu, String(runs), ...command]),
      },
      { name: "strace -f (with strace itself)", run: () => measure([cpu, "3", ...strace, ...command]) },
    ]);
  }

  const dd = ["dd", "bs=1", "count=100000", "if=/dev/zero", "of=/dev/null", "status=none"];
  const copy = (environment: Environment) => () => measure([cpu, "3", ...variables(environment), ...dd]);
  compare("dd bs=1 count=100000, CPU time", "ms", 9, [
    { name: "native", run: copy(UNHOOKED) },
    { name: "hooked, nothing recorded", run: copy(hooked()) },
    { name: "C hook that makes the call", run: copy(withC()) },
  ]);

  await redis([
    ["native", UNHOOKED],
    ["hooked, nothing recorded", hooked()],
    ["C hook that makes the call", withC()],
  ]);
} finally {
  rmSync(work, { recursive: true, force: true });
}
