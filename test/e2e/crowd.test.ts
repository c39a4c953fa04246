/** More threads and processes in calls at the same time than the ring has chunks. */
import { expect, test } from "vitest";
import { RING_MAX_CHUNKS } from "../../src/image/layout.ts";
import { PATCHES } from "./patches.ts";
import { fixture, run, zpoline } from "./run.ts";

const COUNT = RING_MAX_CHUNKS + 300;
const GAP = /^(zpoline: trace is incomplete: events were lost .*\n)?$/;
/** Where there are but jumps, some site has no room for one. */
const LEFT = /^zpoline: trace is incomplete: a system call instruction was left.*\n/gm;

const CASES = [
  ["threads", "read("],
  ["vfork", "vfork("],
] as const;

test.each(PATCHES.flatMap((patch) => CASES.map(([how, call]) => ({ patch, how, call }))))(
  "$how, $patch",
  ({ patch, how, call }) => {
    const command = [fixture("crowd.c"), how, String(COUNT)];
    const { stdout } = run(command);
    const traced = zpoline(command, { patch }, ["-f", "-e", "trace=read,vfork"]);
    expect([traced.stdout, traced.status]).toEqual([stdout, 0]);
    const stderr = patch === "jump" ? traced.stderr.replace(LEFT, "") : traced.stderr;
    expect(stderr).toMatch(GAP);
    const seen = traced.lines.filter((line) => line.includes(call)).length;
    if (stderr === "") expect(seen).toBeGreaterThanOrEqual(COUNT);
  },
);
