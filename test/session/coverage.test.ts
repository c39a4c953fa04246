import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import * as L from "../../src/image/layout.ts";
import { coverageOf, patchNames } from "../../src/session/coverage.ts";
import { TEXT_OF } from "../../src/session/gaps.ts";
import { PATCH_CHOICES } from "../../src/session/session.ts";

test("without gaps it is complete", () => {
  const patches = { "jump+trap": 2, zero: 1 };
  expect(coverageOf([], new Map(Object.entries(patches)))).toEqual({ complete: true, gaps: [], patches });
  const gap = { kind: "jit", pid: 7, detail: "anonymous executable memory", count: 1 } as const;
  expect(coverageOf([gap], new Map())).toEqual({ complete: false, gaps: [gap], patches: {} });
});

test("combinations of patches have the names that --patch takes", () => {
  const { PATCHES_ZERO: zero, PATCHES_JUMP: jump, PATCHES_TRAP: trap } = L;
  const names = [zero, jump, trap, zero | trap, jump | trap].map(patchNames);
  expect(names).toEqual(["zero", "jump", "trap", "zero+trap", "jump+trap"]);
  expect(names).toEqual(expect.arrayContaining(PATCH_CHOICES.filter((choice) => choice !== "auto")));
});

test("docs/coverage.md has every kind of gap, once", () => {
  const text = readFileSync(new URL("../../docs/coverage.md", import.meta.url), "utf8");
  const rows = text.slice(text.indexOf("## The kinds of gaps")).matchAll(/^\| `([\w-]+)` /gm);
  expect([...rows].map(([, kind]) => kind).sort()).toEqual(Object.keys(TEXT_OF).sort());
});
