/** More threads and processes in calls at the same time than the ring has chunks. */
import { expect, test } from "vitest";
import { RING_MAX_CHUNKS } from "../../src/image/layout.ts";
import { fixture, run, zpoline } from "./run.ts";

const COUNT = RING_MAX_CHUNKS + 300;
const GAP = /^(zpoline: trace is incomplete: events were lost .*\n)?$/;

test.each([
  ["threads", "read("],
  ["vfork", "vfork("],
])("%s", (how, call) => {
  const command = [fixture("crowd.c"), how, String(COUNT)];
  const { stdout } = run(command);
  const traced = zpoline(command, {}, ["-f", "-e", "trace=read,vfork"]);
  expect([traced.stdout, traced.status]).toEqual([stdout, 0]);
  expect(traced.stderr).toMatch(GAP);
  const seen = traced.lines.filter((line) => line.includes(call)).length;
  if (traced.stderr === "") expect(seen).toBeGreaterThanOrEqual(COUNT);
});
