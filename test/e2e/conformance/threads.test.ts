/** Threads: how they begin and end, and how they are cancelled. */
import { fixture } from "../run.ts";
import { type Case, sameAsNatively } from "./modes.ts";

/** With glibc, and with musl, whose threads end and are cancelled in other ways. */
const withBoth = (name: string, source: string, musl: Partial<Case> = {}): Case[] => [
  { name: `${name} (glibc)`, source },
  { name: `${name} (musl)`, source, compiler: "musl-gcc", ...musl },
];

sameAsNatively([
  ...withBoth("64 at once, tiny stacks, thread-local data, forks, clone by hand", "threads.c"),
  ...withBoth("detached", "detached.c"),
  { name: "cancelled around the moment of a call, as glibc 2.41 does it", source: "cancel-range.c" },
  ...withBoth("cancelled while blocked in a call", "cancel.c"),
  {
    name: "64 that load libraries at once; one loaded again and again",
    source: "libraries.c",
    args: () => [fixture("plugin.c", "-shared", "-fPIC")],
  },
  { name: "hardly any mapping left", source: "most-mappings.c" },
  { name: "munmap of the own stack", source: "ownstack.c" },
]);
