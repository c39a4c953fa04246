import { expect, it } from "vitest";
import { compileFlat } from "./compile.ts";
import { differences } from "./fuzz.ts";
import { readRegression, regressions } from "./regressions.ts";

it.each(regressions())("compiles %s as V8 does", (name) => {
  const program = readRegression(name);
  expect(program.calls).not.toEqual([]);
  expect(differences(program, compileFlat)).toEqual([]);
});
