import { rmSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { problemsOfSeed } from "./fuzz-failure.ts";
import { SHORT_RUN } from "./fuzz-seeds.ts";
import { buildMutants, type Mutants } from "./mutants.ts";
import { MUTATIONS } from "./mutations.ts";

describe("the short run of random programs", () => {
  let mutants: Mutants;
  beforeAll(() => {
    mutants = buildMutants(MUTATIONS);
  });
  afterAll(() => rmSync(mutants.directory, { recursive: true }));

  it.each(MUTATIONS)("notices when $name", async (mutation) => {
    const compile = await mutants.load(mutation);
    const seeds = Array.from({ length: SHORT_RUN }, (_, seed) => seed);
    const seed = seeds.find((candidate) => problemsOfSeed(candidate, compile).length > 0);
    if (process.env["VERBOSE"]) console.log(seed, mutation.name);
    expect(seed).toBeDefined();
  });
});
