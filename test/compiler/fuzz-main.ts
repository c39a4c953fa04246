/**
 * `npm run test:fuzz`: random modules, compiled code against V8. FUZZ_SEED runs one seed, FUZZ_COUNT sets how many.
 * Seeds begin at the time of day, so that each run tries new ones; those that fail are printed.
 */
import { compileFlat } from "./compile.ts";
import { explain, problemsOfSeed } from "./fuzz-failure.ts";

const { FUZZ_SEED, FUZZ_COUNT = "5000" } = process.env;
const SHOWN = 3;
const SHRINK_TRIES = 4000;

const count = FUZZ_SEED === undefined ? Number(FUZZ_COUNT) : 1;
const first = FUZZ_SEED === undefined ? Math.floor(Date.now() / 1000) : Number(FUZZ_SEED);
const failed: number[] = [];
for (let seed = first; seed < first + count; seed++) {
  if (problemsOfSeed(seed, compileFlat).length === 0) continue;
  failed.push(seed);
  if (failed.length <= SHOWN) console.log(explain(seed, compileFlat, SHRINK_TRIES).text);
}
console.log(
  `seeds ${first} to ${first + count - 1}: ${failed.length} failed${failed.map((seed) => ` ${seed}`).join("")}`,
);
if (failed.length > 0) process.exitCode = 1;
