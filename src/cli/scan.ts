import { Command, Option } from "commander";
import { ZpolineError } from "../errors.ts";
import { type Candidate, filesOf, withElf } from "../scan/files.ts";
import { loadScanModule } from "../scan/module.ts";
import { jsonError, jsonReport, textReport } from "../scan/report.ts";
import { scanElf, type Usual } from "../scan/scan.ts";
import { EXIT_FAILURE } from "./exit.ts";
import { Output } from "./output.ts";
import { Progress } from "./progress.ts";
import { sayLine } from "./stderr.ts";

const STDOUT = 1;

interface ScanFlags {
  readonly recursive?: true;
  readonly json?: true;
  readonly patch: Usual;
}

export function scanCommand(): Command {
  return new Command("scan")
    .description("Show the system call instructions of ELF files, and how each would be hooked.")
    .usage("[options] ELF...")
    .option("-r, --recursive", "look into directories, at every program and library there")
    .option("--json", "one JSON object a line for each file (docs/scan.md)")
    .addOption(new Option("--patch <kind>", "which patch is the usual one").choices(["zero", "jump"]).default("zero"))
    .argument("<elf...>", "programs and libraries")
    .action(scanAction);
}

async function scanAction(names: readonly string[], flags: ScanFlags): Promise<void> {
  const guest = await loadScanModule();
  const output = new Output(STDOUT, "standard output", "the report");
  const fail = (name: string, error: unknown) => {
    if (!(error instanceof ZpolineError)) throw error;
    process.exitCode = EXIT_FAILURE;
    sayLine(error.format());
    if (flags.json === true) output.write(jsonError(name, error));
  };
  const files: Candidate[] = [];
  for (const name of names) {
    try {
      files.push(...filesOf(name, flags.recursive === true));
    } catch (error) {
      fail(name, error);
    }
  }
  const progress = new Progress(files.length);
  const report = flags.json === true ? jsonReport : textReport;
  for (const [done, file] of files.entries()) {
    progress.show(done, file.path);
    try {
      const scan = withElf(file, (elf) => scanElf(guest, elf, flags.patch));
      progress.clear();
      if (scan !== undefined) output.write(report(file.path, scan));
    } catch (error) {
      progress.clear();
      fail(file.path, error);
    }
    await output.end();
  }
  await output.end();
}
