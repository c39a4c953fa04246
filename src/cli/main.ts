import { Command, CommanderError } from "commander";
import { ZpolineError } from "../errors.ts";
import { version } from "../version.ts";
import { doctorCommand } from "./doctor.ts";
import { EXIT_FAILURE, exitStatusOf } from "./exit.ts";
import { libCommand } from "./lib.ts";
import { scanCommand } from "./scan.ts";
import { sayLine } from "./stderr.ts";
import { traceCommand } from "./trace.ts";

/** Runs the command line; sets the exit status, or ends the process as the traced program ended. */
export async function main(argv: readonly string[]): Promise<void> {
  const program = new Command("zpoline")
    .description("Runs a program with a hook in front of every system call that it makes.")
    .version(version)
    .enablePositionalOptions()
    .configureOutput({ outputError: () => {} })
    .exitOverride();
  for (const command of [traceCommand(), scanCommand(), doctorCommand(), libCommand()]) {
    program.addCommand(command.copyInheritedSettings(program));
  }
  try {
    await program.parseAsync([...argv], { from: "user" });
  } catch (error) {
    process.exitCode = report(error);
  }
}

/** Says on stderr what went wrong; returns the exit status for it. */
function report(error: unknown): number {
  if (error instanceof CommanderError) return reportUsage(error);
  if (error instanceof ZpolineError) {
    sayLine(error.format());
    return exitStatusOf(error);
  }
  sayLine(`zpoline: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`);
  return EXIT_FAILURE;
}

/** Help and version that were asked for come as errors as well; help that was not asked for has been printed. */
function reportUsage({ code, exitCode, message }: CommanderError): number {
  if (exitCode === 0) return 0;
  if (code === "commander.help") return EXIT_FAILURE;
  return report(
    new ZpolineError("BAD_USAGE", message.replace(/^error: /, ""), { fix: "zpoline --help, zpoline COMMAND --help" }),
  );
}
