import * as fs from "node:fs";
import * as os from "node:os";
import { Command, Option } from "commander";
import { ZpolineError } from "../errors.ts";
import { dataLimitFor, StraceText } from "../present/strace.ts";
import type { Coverage } from "../session/coverage.ts";
import { inheritAll } from "../session/descriptors.ts";
import { DOORS, type Door } from "../session/doors.ts";
import { describeGaps } from "../session/gaps.ts";
import { requireProc } from "../session/prerequisites.ts";
import { DEFAULT_DATA_LIMIT, PATCH_CHOICES, type PatchChoice, startSession } from "../session/session.ts";
import { checkEncoding } from "./encoding.ts";
import { endLike } from "./exit.ts";
import { parseExpression } from "./expression.ts";
import { Output } from "./output.ts";
import { passSignalsTo } from "./signals.ts";
import { sayLine } from "./stderr.ts";

const STDERR = 2;
const MOST_SIZE = 4096;
const READABLE_BY_ALL = 0o666;

interface TraceFlags {
  readonly followForks?: true;
  readonly output?: string;
  readonly e?: string;
  readonly stringLimit: string;
  readonly patch: PatchChoice;
  readonly coverage?: string;
  readonly strict?: true;
  readonly ioUring: boolean;
  readonly via?: Door;
}

export function traceCommand(): Command {
  return new Command("trace")
    .description("Show the system calls of COMMAND, as strace does.")
    .usage("[options] [--] COMMAND [ARGUMENT]...")
    .passThroughOptions()
    .option("-f, --follow-forks", "follow children and threads, wait until the last has ended")
    .option("-o, --output <file>", "write the trace to a file instead of standard error")
    .option("-e <expression>", "trace=LIST: only these calls (names, /regex, %file, …); trace=!LIST: all others")
    .option("-s, --string-limit <bytes>", "show at most so many bytes of a string", String(DEFAULT_DATA_LIMIT))
    .addOption(
      new Option("--patch <kind>", "how calls are made to reach the hook")
        .choices(PATCH_CHOICES)
        .default("auto")
        .env("ZPOLINE_PATCH"),
    )
    .option("--coverage <file>", "write to a file whether the trace is complete, and what it misses (JSON)")
    .option("--strict", "end COMMAND and all of its processes at the first gap, with status 125")
    .option("--no-io-uring", "answer io_uring_setup with ENOSYS, so that system calls are made instead")
    .addOption(new Option("--via <door>", "how the hook gets into the program").choices(DOORS))
    .argument("<command>", "what to run: the first word that is no option")
    .argument("[args...]", "its arguments")
    .action(traceAction);
}

async function traceAction(command: string, args: readonly string[], flags: TraceFlags): Promise<void> {
  requireProc();
  const stdio = inheritAll();
  for (const name of checkEncoding())
    sayLine(`zpoline: the variable ${name} is not UTF-8 and reaches the program changed`);
  const select = flags.e === undefined ? undefined : parseExpression(flags.e);
  const size = parseSize(flags.stringLimit);
  const follow = flags.followForks === true;
  const strict = flags.strict === true || process.env["ZPOLINE_STRICT"] === "1";
  const output = openOutput(flags.output);
  const coverage = flags.coverage === undefined ? undefined : openFile(flags.coverage, "--coverage", "the coverage");
  const dataLimit = dataLimitFor(size);
  const presenter = new StraceText({
    write: (text) => output.write(text),
    stringLimit: size,
    dataLimit,
    pids: !follow ? "never" : flags.output === undefined ? "several" : "always",
  });
  const session = await startSession({
    command,
    args,
    stdio,
    follow,
    dataLimit,
    sink: presenter,
    idle: () => presenter.flush(),
    congested: () => output.congested,
    ...(select === undefined ? {} : { select }),
    strict,
    ioUring: flags.ioUring,
    patch: flags.patch,
    ...(flags.via === undefined ? {} : { via: flags.via }),
  });
  const release = passSignalsTo(session);
  const result = await session.result.finally(release);
  await output.end().finally(() => reportGaps(result.coverage));
  if (coverage !== undefined) await writeCoverage(coverage, { follow, ...result.coverage });
  if (strict && !result.coverage.complete) {
    throw new ZpolineError("STRICT", `${command} was ended at a gap, as --strict asks`, {
      fix: "docs/coverage.md tells what each gap means; leave out --strict to go on",
    });
  }
  endLike(result.interrupted === undefined ? result.status : { signal: os.constants.signals[result.interrupted] });
}

function reportGaps({ gaps }: Coverage): void {
  for (const line of describeGaps(gaps)) sayLine(`zpoline: trace is incomplete: ${line}`);
}

/** Last of all: a file that is empty, because zpoline did not get so far, says nothing. */
async function writeCoverage(output: Output, coverage: Coverage & { readonly follow: boolean }): Promise<void> {
  output.write(`${JSON.stringify(coverage)}\n`);
  await output.end();
}

function parseSize(text: string): number {
  const size = Number(text);
  if (/^\d+$/.test(text) && size <= MOST_SIZE) return size;
  throw new ZpolineError("BAD_SIZE", `-s ${text} is not a number of bytes`, { fix: `a number from 0 to ${MOST_SIZE}` });
}

function openOutput(file: string | undefined): Output {
  return file === undefined ? new Output(STDERR, "standard error") : openFile(file, "-o", "the trace");
}

/** Empties the file. Throws ZpolineError OUTPUT_OPEN. */
function openFile(file: string, option: string, what: string): Output {
  try {
    return new Output(fs.openSync(file, "w", READABLE_BY_ALL), file, what);
  } catch (cause) {
    throw new ZpolineError("OUTPUT_OPEN", `cannot open ${file} for ${what}`, {
      cause,
      fix: `name a file that you can write to with ${option}`,
    });
  }
}
