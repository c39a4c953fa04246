import { describe, expect, test } from "vitest";
import { advise } from "../../src/doctor/advice.ts";
import { type Bench, judge, median, quartile } from "../../src/doctor/bench.ts";
import { jsonReport, textReport, worksOf } from "../../src/doctor/report.ts";
import { best, ordinary } from "./diagnoses.ts";

const bench: Bench = {
  native: { call: 120.4, start: 0.5 },
  kinds: [
    { kind: "jump", works: true, why: null, cost: { call: 123.9, start: 0.75 } },
    { kind: "zero", works: false, why: "NO_VA0", cost: null },
  ],
};
const diagnose = (facts = best, measured: Bench | null = bench) => {
  return { version: "1.2.3", facts, bench: measured, advice: advise(facts, worksOf(measured)) };
};

describe("the text", () => {
  test("begins with the machine, and has a line for each kind", () => {
    const lines = textReport(diagnose()).split("\n");
    expect(lines[0]).toBe("zpoline 1.2.3, Linux 6.18.1 x86_64, A Processor");
    expect(lines).toContain("  native              120 ns               0.50 ms");
    expect(lines).toContain("  jump              + 3.5 ns             + 0.25 ms");
    expect(lines).toContain("  zero          does not work: NO_VA0");
  });

  test("says why address 0 cannot be had", () => {
    expect(textReport(diagnose(ordinary))).toMatch(
      /memory at address 0 +no: EPERM \(vm.mmap_min_addr is 65536, no CAP_SYS_RAWIO\)\n/,
    );
  });

  test("has no line of more than 100 characters that is no command, and no control characters", () => {
    const text = textReport(diagnose({ ...ordinary, cache: { path: "/home/user/.cache/zpoline", state: "none" } }));
    const commands = advise(
      { ...ordinary, cache: { path: "/home/user/.cache/zpoline", state: "none" } },
      {},
    ).improvements.map(({ fix }) => `  ${fix}`);
    const long = text.split("\n").filter((line) => line.length > 100 && !commands.includes(line));
    expect(long).toEqual([]);
    expect(text).not.toMatch(/[^\n -~]/);
  });

  test("is honest where nothing could be measured", () => {
    expect(textReport(diagnose(best, null))).toContain("nothing could be measured");
  });
});

test("the JSON is what the text was made from", () => {
  expect(JSON.parse(jsonReport(diagnose()))).toEqual(diagnose());
});

describe("a trial of a kind", () => {
  const run = { words: undefined, signal: null, stderr: "" };
  const rows = [
    ["answered by the hook", { ...run, words: [100n, 0n] }, { works: true, why: null }],
    ["answered by the kernel", { ...run, words: [100n, 4711n] }, { works: false, why: "the call was not hooked" }],
    [
      "refused",
      { ...run, stderr: "zpoline: this process may not map memory at address 0 (NO_VA0)\n  cause: …\n" },
      { works: false, why: "NO_VA0" },
    ],
    [
      "not loaded",
      {
        ...run,
        words: [100n, 4711n],
        stderr:
          "ERROR: ld.so: object '/x/libzpoline.so' from LD_PRELOAD cannot be preloaded (failed to map segment from shared object): ignored.\n",
      },
      { works: false, why: "failed to map segment from shared object" },
    ],
    ["killed", { ...run, signal: "SIGSYS" as const }, { works: false, why: "SIGSYS" }],
  ] as const;

  test.each(rows)("%s", (_, outcome, verdict) => {
    expect(judge(outcome)).toEqual(verdict);
  });
});

test("a median is the one in the middle", () => {
  expect([[3], [3, 1, 2], [9, 1, 5, 7, 3]].map(median)).toEqual([3, 2, 5]);
  expect([[3], [3, 1, 2], [9, 1, 5, 7, 3]].map(quartile)).toEqual([3, 1, 3]);
});
