import { Command } from "commander";
import { advise, anythingWorks } from "../doctor/advice.ts";
import { runBench } from "../doctor/bench.ts";
import { readFacts } from "../doctor/facts.ts";
import { executableParents, makePrograms } from "../doctor/programs.ts";
import { type Diagnosis, jsonReport, textReport, worksOf } from "../doctor/report.ts";
import { version } from "../version.ts";
import { EXIT_FAILURE } from "./exit.ts";
import { Output } from "./output.ts";

const STDOUT = 1;

export function doctorCommand(): Command {
  return new Command("doctor")
    .description(
      "Show what this machine allows, what zpoline makes of it and what that costs, and what would be better.",
    )
    .option("--json", "one JSON object (docs/doctor.md)")
    .action(doctorAction);
}

async function doctorAction(flags: { readonly json?: true }): Promise<void> {
  const diagnosis = examine();
  const output = new Output(STDOUT, "standard output", "the report");
  output.write(flags.json === true ? jsonReport(diagnosis) : textReport(diagnosis));
  await output.end();
  if (!anythingWorks(worksOf(diagnosis.bench))) process.exitCode = EXIT_FAILURE;
}

function examine(): Diagnosis {
  const programs = makePrograms(executableParents());
  try {
    const facts = readFacts(programs);
    const bench = (programs !== undefined && facts.library.error === null ? runBench(programs) : undefined) ?? null;
    return { version, facts, bench, advice: advise(facts, worksOf(bench)) };
  } finally {
    programs?.remove();
  }
}
