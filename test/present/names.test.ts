import { describe, expect, it } from "vitest";
import { callLine } from "../../src/present/strace.ts";
import { namesOf } from "../../src/syscalls/flags/index.ts";
import type { Argument, Call } from "../../src/syscalls/row.ts";
import { CALLS } from "../../src/syscalls/table.ts";
import { DATA_LIMIT, makeEvent } from "./guest.ts";
import { askStrace, type Case, haveStrace, Memory } from "./oracle.ts";

const LIMITS = { string: 32, data: DATA_LIMIT };
const LAST_KNOWN = 450;
const EINVAL = 22;
/** Calls whose arguments strace takes apart further than we do, so that the rest of the line differs. */
const FURTHER = new Set([
  "socket",
  "socketpair",
  "getsockopt",
  "setsockopt",
  "quotactl",
  "quotactl_fd",
  "kexec_load",

  "keyctl",
  "bpf",
  "fsconfig",
  "ptrace",
  "kcmp",
  "arch_prctl",
  "prctl",
  "semget",
  "msgget",
  "shmget",
]);

/** Values worth asking for: all that have a name, each single bit, none and all. */
function valuesOf(argument: Argument): bigint[] {
  const bits = Array.from({ length: 32 }, (_, i) => 1n << BigInt(i));
  const named = argument.table === "" ? [] : namesOf(argument.table).entries.map(([, value]) => BigInt(value >>> 0));
  return [...new Set([...named, ...bits, 0n, 0xffffffffn, 7n, 0x1234n])];
}

/** One case for each value of one argument, all others being 0. */
function casesOf(call: Call, index: number): Case[] {
  return valuesOf(call.arguments[index]!).map((value) => {
    const args = call.arguments.map((_, i) => (i === index ? value : 0n));
    return { name: call.name, nr: call.nr, args, result: "EINVAL" };
  });
}

const SCALAR = new Set(
  (
    "flags enum openflags mode filemode dirfd fd id signal at_statx mmap_flags memfd_flags socktype swap_flags " +
    "fanotify_init mempolicy ipckey ipccmd key ioprio personality protocol dev int uint hex32 long ulong hex"
  ).split(" "),
);

describe.skipIf(!haveStrace())("names of flags and values are those of the strace on this machine", () => {
  const calls = CALLS.filter((call) => call !== undefined && call.nr <= LAST_KNOWN) as Call[];

  it.each(calls.filter(({ name }) => !FURTHER.has(name) && !/^(exit_group|uretprobe|uprobe)$/.test(name)))(
    "$name",
    (call) => {
      const cases = call.arguments.flatMap(({ shape, direction }, i) => {
        return direction === 0 && SCALAR.has(shape) ? casesOf(call, i) : [];
      });
      const memory = new Memory();
      const ours = cases.map(({ nr, args }) => callLine(makeEvent(nr, args, -EINVAL, memory), LIMITS));
      expect(ours).toEqual(cases.length === 0 ? [] : askStrace(cases, memory));
    },
  );
});
