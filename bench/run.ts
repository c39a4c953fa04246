/**
 * `npm run bench`: what a hooked call, a hooked start and hooked programs cost, beside native and strace, measured in one
 * run of less than a minute. Prints CPU time, of interleaved rounds the lower quartile. Needs gcc, strace, dd and redis-server.
 */
import { rmSync } from "node:fs";
import { join } from "node:path";
import { calls } from "./calls.ts";
import type { Environment } from "./compare.ts";
import { compare, compile, hooked, measure, patched, root, UNHOOKED, work } from "./compare.ts";
import { redis } from "./redis.ts";
import { starts, variables } from "./starts.ts";

const recorded = [process.execPath, join(root, "bin/zpoline.js"), "trace", "-f", "-o", "/dev/null", "--"];
const strace = ["strace", "-f", "-o", "/dev/null", "--"];

try {
  const withC = hooked({ LIBZPHOOK: compile("hook", "-shared", "-fPIC") });
  calls(withC, recorded, strace);
  starts(withC, recorded, strace);

  const cpu = join(work, "cpu");
  const dd = ["dd", "bs=1", "count=50000", "if=/dev/zero", "of=/dev/null", "status=none"];
  const copy = (environment: Environment) => () => measure([cpu, "3", ...variables(environment), ...dd]);
  const environments: readonly (readonly [string, Environment])[] = [
    ["native", UNHOOKED],
    ["zero", patched("zero")],
    ["jump", patched("jump")],
    ["jump+trap", patched("jump+trap")],
    ["C hook that makes the call", withC],
  ];
  compare(
    "dd bs=1 count=50000, CPU time",
    "ms",
    7,
    environments.map(([name, environment]) => ({ name, run: copy(environment) })),
  );
  await redis(environments);
} finally {
  rmSync(work, { recursive: true, force: true });
}
