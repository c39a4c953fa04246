import type { ChildProcess, StdioOptions } from "node:child_process";
import * as os from "node:os";
import { describeProgram, type ProgramDescription } from "../elf/program.ts";
import { ZpolineError } from "../errors.ts";
import type { EventSink, StartEvent } from "../events.ts";
import { captureRows } from "../syscalls/capture.ts";
import { NUMBERS } from "../syscalls/numbers.ts";
import { Clock } from "./clock.ts";
import { findCommand } from "./command.ts";
import { type Coverage, coverageOf } from "./coverage.ts";
import { type Door, spawnHooked } from "./doors.ts";
import { filterSink } from "./filter.ts";
import { type Gap, GapList } from "./gaps.ts";
import { killAll } from "./kill.ts";
import type { Status } from "./narrator.ts";
import { requireAddressZero, requireProc } from "./prerequisites.ts";
import { isSecure } from "./processes.ts";
import { Reader } from "./reader.ts";
import { Ring } from "./ring.ts";
import { removeStale } from "./stale.ts";

/** Time between two passes, in milliseconds: short while there is something to read, longer while there is not. */
const LEAST_DELAY = 1;
const MOST_DELAY = 20;
/** After a pass that read so much, the next one follows at once. */
const BUSY = 1000;

/** A record is told at the latest in the pass after the one that read it. */
const QUIET_PASSES = 2;

/** Calls that tell what becomes of processes: recorded in any case. */
const LIFE: readonly number[] = [
  NUMBERS.clone,
  NUMBERS.clone3,
  NUMBERS.fork,
  NUMBERS.vfork,
  NUMBERS.execve,
  NUMBERS.execveat,
  NUMBERS.exit,
  NUMBERS.exit_group,
];

export const PATCH_CHOICES = ["auto", "zero", "jump", "trap", "zero+trap", "jump+trap"] as const;
export type PatchChoice = (typeof PATCH_CHOICES)[number];

export interface SessionOptions {
  /** What execvp(3) would take. */
  readonly command: string;
  readonly args: readonly string[];
  readonly sink: EventSink;
  /** Trace children and threads too, and wait until all have ended. */
  readonly follow?: boolean;
  /** Numbers of the calls to trace; all by default. */
  readonly select?: ReadonlySet<number>;
  /** Most bytes to copy of one data buffer. */
  readonly dataLimit?: number;
  /** How calls are made to reach the hook (docs/mechanisms.md); "auto" by default. */
  readonly patch?: PatchChoice;
  /**
   * Nothing may be missed: throws where that is clear before the start, and ends all processes of the program, followed or
   * not, at the first gap. Whether that happened is told by the coverage.
   */
  readonly strict?: boolean;
  /** false: io_uring_setup answers ENOSYS, so that programs make system calls instead. */
  readonly ioUring?: boolean;
  readonly env?: NodeJS.ProcessEnv;
  readonly cwd?: string;
  readonly stdio?: StdioOptions;
  /** While it answers true, nothing is read: the program comes to wait when the ring is full. */
  readonly congested?: () => boolean;
  /** Called when everything known has been told. */
  readonly idle?: () => void;
  /** The library to preload; by default the one that the build made. */
  readonly library?: string;
  /** How the hook gets into the program; "preload" by default. */
  readonly via?: Door;
}

export interface SessionResult {
  /** How the program that was started ended. */
  readonly status: Status;
  /** Whether the trace is complete, and what it does not show. */
  readonly coverage: Coverage;
  /** The signal that ended the wait for the processes that outlived the program. */
  readonly interrupted?: NodeJS.Signals;
}

export const DEFAULT_DATA_LIMIT = 32;

/** Starts a program with the hook in it. Throws ZpolineError when it cannot be started; nothing is left behind then. */
export async function startSession(options: SessionOptions): Promise<Session> {
  const { command, args, env = process.env, cwd, select, stdio = "inherit", patch = "auto", via = "preload" } = options;
  const strict = options.strict === true;
  requireProc();
  const file = findCommand(command, env["PATH"], cwd ?? ".");
  const program = describeProgram(file);
  const reason = unhookable(program, via);
  if (strict && reason !== "") throw strictRefusal(command, reason);
  if (patch.startsWith("zero")) requireAddressZero();
  removeStale(os.tmpdir());
  const table = captureRows(select === undefined ? undefined : new Set([...select, ...LIFE]));
  const ring = Ring.create({ table, dataLimit: options.dataLimit ?? DEFAULT_DATA_LIMIT });
  const remove = (): void => ring.remove();
  process.on("exit", remove);
  try {
    const settings = {
      ZPOLINE_SESSION: ring.path,
      ZPOLINE_PATCH: patch,
      ZPOLINE_STRICT: strict ? "1" : "0",
      ...(options.ioUring === false ? { ZPOLINE_IO_URING: "off" } : {}),
    };
    const { library } = options;
    const child = spawnHooked({
      ...{ via, command, file, args, settings, env, cwd, stdio, library },
      directory: ring.directory,
    });
    const exit = waitFor(child);
    await started(child, command);
    if (strict && isSecure(child.pid as number)) {
      child.kill("SIGKILL");
      throw strictRefusal(command, "it has file capabilities");
    }
    const session = new Session(options, program, child, ring, exit);
    session.result.finally(() => process.off("exit", remove)).catch(() => {});
    return session;
  } catch (error) {
    process.off("exit", remove);
    remove();
    throw error;
  }
}

/** A program under trace. */
export class Session {
  /** Process id of the program. */
  readonly pid: number;
  /** CLOCK_REALTIME in nanoseconds to which the times of events are relative. */
  readonly epoch: bigint;
  /** Rejects with the error of the sink or of the ring, once the program has ended. */
  readonly result: Promise<SessionResult>;
  readonly child: ChildProcess;
  readonly #follow: boolean;
  readonly #strict: boolean;
  readonly #congested: () => boolean;
  readonly #idle: () => void;
  readonly #ring: Ring;
  readonly #reader: Reader;
  readonly #gaps = new GapList();
  readonly #patches = new Map<string, number>();
  #status: Status | undefined;
  #interrupted: NodeJS.Signals | undefined;
  #wake: () => void = () => {};
  /** What a strict session was ended for. What its end leaves behind (calls that never return) are no gaps. */
  #reasons: readonly Gap[] | undefined;
  /** Passes since the program has ended in which nothing was read. */
  #quiet = 0;

  constructor(
    options: SessionOptions,
    program: ProgramDescription,
    child: ChildProcess,
    ring: Ring,
    exit: Promise<Status>,
  ) {
    const { sink, select, follow = false, strict = false, congested = () => false, idle = () => {} } = options;
    const clock = new Clock();
    this.child = child;
    this.pid = child.pid as number;
    this.epoch = clock.epoch;
    this.#follow = follow;
    this.#strict = strict;
    this.#congested = congested;
    this.#idle = idle;
    this.#ring = ring;
    const onStart = ({ patches }: StartEvent): void => {
      this.#patches.set(patches, (this.#patches.get(patches) ?? 0) + 1);
    };
    const filter = { onStart, ...(follow ? {} : { thread: this.pid }), ...(select === undefined ? {} : { select }) };
    this.#reader = new Reader({
      ring,
      clock,
      gaps: this.#gaps,
      root: this.pid,
      sink: filterSink(sink, filter),
      unhookable: unhookable(program, options.via ?? "preload"),
    });
    const ended = exit.then((status) => {
      this.#status = status;
      this.#reader.rootEnded(status);
      this.#wake();
    });
    this.result = this.#run().finally(async () => {
      ring.remove();
      await ended;
    });
  }

  /**
   * Passes a signal on to the program. Where the program has ended and others are waited for, the wait ends instead, and
   * the result names the signal.
   */
  signal(signal: NodeJS.Signals): void {
    if (this.#status === undefined) {
      this.child.kill(signal);
    } else {
      this.#interrupted ??= signal;
      this.#wake();
    }
  }

  async #run(): Promise<SessionResult> {
    let delay = LEAST_DELAY;
    while (!this.#isOver()) {
      if (this.#congested()) {
        this.#ring.beat();
        await this.#sleep(delay);
        continue;
      }
      const read = this.#reader.pass();
      if (read === 0) this.#idle();
      if (this.#strict && this.#reasons === undefined && this.#reader.hasGaps()) this.#stop();
      this.#quiet = this.#status === undefined || read > 0 ? 0 : this.#quiet + 1;
      delay = read > 0 ? LEAST_DELAY : Math.min(delay * 2, MOST_DELAY);
      await this.#sleep(read >= BUSY || this.#isEnding() ? 0 : delay);
    }
    const interrupted = this.#interrupted;
    this.#reader.finish(interrupted);
    const gaps = this.#reasons ?? this.#gaps.list().filter((gap) => this.#follow || this.#concernsRoot(gap));
    return {
      status: this.#status ?? {},
      coverage: coverageOf(gaps, this.#patches),
      ...(interrupted === undefined ? {} : { interrupted }),
    };
  }

  #stop(): void {
    this.#reasons = this.#gaps.list();
    this.#ring.endGuests();
    killAll(this.#ring.path, this.#status === undefined ? this.pid : undefined);
  }

  #concernsRoot({ kind, pid }: Gap): boolean {
    return (pid === this.pid || pid === 0) && kind !== "untraced-child";
  }

  #isOver(): boolean {
    if (this.#status === undefined) return false;
    if (!this.#follow || this.#interrupted !== undefined) return true;
    return !this.#isEnding() && !this.#reader.anyoneLives();
  }

  /** The program has ended, and what it recorded last (a fork, perhaps) may not have been told yet. */
  #isEnding(): boolean {
    return this.#status !== undefined && this.#quiet < QUIET_PASSES;
  }

  #sleep(milliseconds: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = milliseconds === 0 ? undefined : setTimeout(resolve, milliseconds);
      if (timer === undefined) setImmediate(resolve);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}

function strictRefusal(command: string, reason: string): ZpolineError {
  return new ZpolineError("STRICT", `${command} was not started, because system calls would be missed`, {
    cause: reason,
    fix: "leave out --strict (strict: true) to run it all the same",
  });
}

/** Why the hook cannot get into the program; "" where it can. */
function unhookable({ linkage, gainsRights, path }: ProgramDescription, via: Door): string {
  if (linkage === "static" && via === "preload") return `${path} is statically linked`;
  return gainsRights ? `${path} is set-user-ID or set-group-ID` : "";
}

function waitFor(child: ChildProcess): Promise<Status> {
  return new Promise((resolve) => {
    child.once("exit", (code, signal) => {
      resolve(signal === null ? { code: code ?? 0 } : { signal: os.constants.signals[signal] });
    });
  });
}

function started(child: ChildProcess, command: string): Promise<void> {
  return new Promise((resolve, reject) => {
    child.once("spawn", resolve);
    child.once("error", (cause) => {
      reject(new ZpolineError("PROGRAM_START", `cannot start ${command}`, { cause }));
    });
  });
}
