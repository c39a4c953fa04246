/**
 * Every entry to the kernel of a tree of processes, as the kernel's own tracepoint sees it (raw_syscalls:sys_enter, with the
 * instruction pointer of user mode): a watcher that knows nothing of zpoline. A call that Syscall User Dispatch turns into
 * SIGSYS is none. perf records, and says which code lies where; root only.
 */
import { join } from "node:path";
import { type Options, type Outcome, run, scratch } from "./run.ts";

const RECORD = ["perf", "record", "-q", "-m", "16M", "-e", "raw_syscalls:sys_enter", "-c", "1", "--user-regs=ip", "-o"];
const SCRIPT = ["perf", "script", "--show-mmap-events", "--show-task-events", "--show-lost-events"];
const FIELDS = ["-F", "comm,pid,tid,time,event,trace,uregs"];

interface Mapping {
  readonly start: bigint;
  readonly end: bigint;
  readonly name: string;
}

/** A program image: what a process is from one exec to the next, or to its end. A copy made by fork is one more. */
export interface ProgramImage {
  readonly pid: number;
  readonly name: string;
  /** The command that was recorded, or a copy of it that has not called exec yet. */
  readonly first: boolean;
  readonly code: Mapping[];
  /** Whether a call has come from our library. */
  hooked: boolean;
  /** Calls from our library. */
  inside: number;
  /** Those from elsewhere, after the first one from it: number and place. */
  readonly outside: string[];
}

export interface KernelEntries extends Outcome {
  readonly images: readonly ProgramImage[];
  /** Events that perf had no room for. */
  readonly lost: number;
}

/** Why nothing can be recorded here; undefined: it can. */
export function whyNoTracepoints(): string | undefined {
  try {
    const { status, stderr } = run([...RECORD, "/dev/null", "true"]);
    return status === 0 ? undefined : `perf cannot record system calls here: ${stderr.trim().split("\n").at(-1)}`;
  } catch {
    return "perf is not installed";
  }
}

/** Runs a command under perf. `library` is the file name of the code that makes the calls. */
export function kernelEntries(command: readonly string[], library: string, options: Options = {}): KernelEntries {
  const file = join(scratch, "perf.data");
  const outcome = run([...RECORD, file, "--", ...command], options);
  const { stdout, status, stderr } = run([...SCRIPT, "-i", file, ...FIELDS]);
  if (status !== 0) throw new Error(stderr);
  return { ...outcome, ...parse(stdout.split("\n"), library) };
}

const ENTRY = /^\s*.*?\s(\d+)\/\d+\s+[\d.]+:\s+raw_syscalls:sys_enter: NR (-?\d+) .*IP:0x([0-9a-f]+)/;
const MAPPED = /PERF_RECORD_MMAP2? (-?\d+)\/\d+: \[0x([0-9a-f]+)\(0x([0-9a-f]+)\) .*\]: \S*x\S* (.*)$/;
const EXECUTED = /PERF_RECORD_COMM exec: (.*):(\d+)\/\d+/;
const FORKED = /PERF_RECORD_FORK\((\d+):\d+\):\((\d+):\d+\)/;
const LOST = /PERF_RECORD_LOST(?:_SAMPLES)?[ :].*?lost (\d+)/;

function parse(lines: readonly string[], library: string): { images: ProgramImage[]; lost: number } {
  const images: ProgramImage[] = [];
  const current = new Map<number, ProgramImage>();
  let lost = 0;
  const begin = (image: ProgramImage) => {
    images.push(image);
    current.set(image.pid, image);
  };
  for (const line of lines) {
    const entry = line.match(ENTRY);
    const mapped = line.match(MAPPED);
    const executed = line.match(EXECUTED);
    const forked = line.match(FORKED);
    if (entry) {
      const image = current.get(Number(entry[1]));
      if (image) note(image, Number(entry[2]), BigInt(`0x${entry[3]}`), library);
    } else if (mapped) {
      const start = BigInt(`0x${mapped[2]}`);
      const end = start + BigInt(`0x${mapped[3]}`);
      current.get(Number(mapped[1]))?.code.unshift({ start, end, name: mapped[4]! });
    } else if (executed) {
      const first = images.length === 0;
      begin({ pid: Number(executed[2]), name: executed[1]!, first, code: [], hooked: false, inside: 0, outside: [] });
    } else if (forked && forked[1] !== forked[2]) {
      const parent = current.get(Number(forked[2]));
      if (parent) begin({ ...parent, pid: Number(forked[1]), code: [...parent.code], inside: 0, outside: [] });
    }
    lost += Number(line.match(LOST)?.[1] ?? 0);
  }
  return { images, lost };
}

/** As perf names it. */
const ANONYMOUS = "//anon";

/** The tracepoint tells the address after the instruction. */
function note(image: ProgramImage, nr: number, ip: bigint, library: string): void {
  const name = image.code.find(({ start, end }) => start < ip && ip <= end)?.name ?? ANONYMOUS;
  if (name.endsWith(`/${library}`)) {
    image.hooked = true;
    image.inside++;
  } else if (image.hooked) {
    image.outside.push(`call ${nr} from ${name}`);
  }
}
