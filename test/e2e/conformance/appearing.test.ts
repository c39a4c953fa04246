/** Code that comes to be executable by calls that do not say so, and what the vDSO asks the kernel for. */
import { fixture } from "../run.ts";
import { asManyCallsAsStraceSees, type Counted } from "./calls.ts";
import { sameAsNatively } from "./modes.ts";

const JIT = /^zpoline: trace is incomplete: code was made at run time/m;

const CASES: readonly (Pick<Counted, "name" | "calls"> & Partial<Counted>)[] = [
  { name: "shared memory", calls: ["getppid"], gap: JIT },
  { name: "implied", calls: ["getppid"], gap: JIT },
  { name: "growing", calls: ["getppid"] },
  { name: "dropped", calls: ["getppid"] },
  { name: "vdso", calls: ["clock_gettime", "clock_getres"] },
];

asManyCallsAsStraceSees(CASES.map((one) => ({ command: () => [fixture("appears.c"), one.name], ...one })));

/** PR_SET_MDWE: then page 0, which has to be written first, cannot be had. */
sameAsNatively([
  {
    name: "memory that was written may not be executed",
    source: "deny-write-execute.c",
    args: () => ["/bin/echo", "text"],
    except: [{ patch: "zero", because: "the sled is written before it is executed" }],
  },
]);
