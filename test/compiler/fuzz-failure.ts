/** What a failing seed is shown as: what differs, and the smallest program found for which something still does. */
import { differences, type FlatCompiler } from "./fuzz.ts";
import { toText } from "./fuzz-binaryen.ts";
import { noting, type Program, randomProgram } from "./fuzz-program.ts";
import { replaying, shrink } from "./fuzz-shrink.ts";
import { seeded } from "./random.ts";

/** Differences of a program; what `compile` throws counts as one. */
export function problemsOf(program: Program, compile: FlatCompiler): string[] {
  try {
    return differences(program, compile);
  } catch (error) {
    return [`${(error as Error).stack}`];
  }
}

/** What is wrong with the program of a seed. */
export const problemsOfSeed = (seed: number, compile: FlatCompiler): string[] =>
  problemsOf(randomProgram(seed, seeded(seed)), compile);

export interface Failure {
  readonly text: string;
  readonly program: Program;
}

/** @param tries how many smaller programs to try at most */
export function explain(seed: number, compile: FlatCompiler, tries: number): Failure {
  const numbers: number[] = [];
  const original = problemsOf(randomProgram(seed, noting(seeded(seed), numbers)), compile);
  const programOf = (list: readonly number[]): Program => randomProgram(seed, replaying(list));
  const small = shrink(numbers, {
    fails: (list) => problemsOf(programOf(list), compile).length > 0,
    spans: (list) => programOf(list).spans,
    tries,
  });
  const program = programOf(small);
  const text = [
    `seed ${seed} (run it again: FUZZ_SEED=${seed} npm run test:fuzz): ${original.length} differences`,
    ...original.slice(0, 3),
    "made smaller:",
    ...problemsOf(program, compile).slice(0, 3),
    toText(program.binary),
  ].join("\n");
  return { text, program };
}
