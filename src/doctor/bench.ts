/**
 * Two seconds of measurements: does each kind of patch reach the hook on this machine, and what do a call and a start cost?
 * Contenders take turns, and times are CPU time. A figure is the lower quartile of its rounds: what else runs on the
 * machine makes them slower, and none faster.
 */
import { preloadPath } from "../session/library.ts";
import { PATCH_CHOICES, type PatchChoice } from "../session/session.ts";
import { NUMBERS } from "../syscalls/numbers.ts";
import { BURSTS, CALLS, STARTS } from "./probe.ts";
import { type Programs, type Run, run } from "./programs.ts";

/** What a call and a start cost: nanoseconds of getppid(), milliseconds of a program with a C library that does nothing. */
export interface Cost {
  readonly call: number;
  readonly start: number;
}

export interface KindReport {
  readonly kind: PatchChoice;
  /** A hook answered a system call. */
  readonly works: boolean;
  /** Why not: an error code of docs/errors.md, or what the dynamic loader said. */
  readonly why: string | null;
  /** With a hook that sees the call, and lets it be made; null where the kind does not work. */
  readonly cost: Cost | null;
}

export interface Bench {
  readonly native: Cost;
  readonly kinds: readonly KindReport[];
}

const ROUNDS = 11;
/** Variables that would change what is measured. */
const OURS = /^(ZPOLINE_(SESSION|HOOK|AUDIT|EXCLUDE|PATCH)|LIBZPHOOK|LD_PRELOAD)$/;

/** undefined where there is nothing that could be hooked: no program can be executed, or no library is there. */
export function runBench(programs: Programs, kinds: readonly PatchChoice[] = PATCH_CHOICES): Bench | undefined {
  const { meter, launcher, directory } = programs;
  if (meter === undefined) return undefined;
  const library = preloadPath(directory);
  const clean = Object.fromEntries(Object.entries(process.env).filter(([name]) => !OURS.test(name)));
  const hooked = (kind: PatchChoice, hook: string): NodeJS.ProcessEnv => ({
    ...clean,
    LD_PRELOAD: library,
    ZPOLINE_PATCH: kind,
    ZPOLINE_HOOK: `${hook}:${NUMBERS.getppid}`,
  });
  const measured = (environment: NodeJS.ProcessEnv): Run => run(meter, ["-"], BURSTS + 1, environment);

  const trials = kinds.map((kind) => ({ kind, ...judge(measured(hooked(kind, "constant"))) }));
  const contenders = [
    { name: "native", environment: clean },
    ...trials.filter(({ works }) => works).map(({ kind }) => ({ name: kind, environment: hooked(kind, "noop") })),
  ].map((contender) => ({ ...contender, calls: [] as number[], starts: [] as number[] }));
  for (let round = 0; round < ROUNDS; round++) {
    for (const { environment, calls, starts } of contenders) {
      const bursts = measured(environment).words?.slice(0, BURSTS).map(Number);
      if (bursts !== undefined) calls.push(median(bursts) / CALLS);
      const times = run(launcher, [meter], STARTS + 1, environment).words?.map(Number);
      if (times?.pop() === 0) starts.push(median(times) / 1000);
    }
  }
  const costOf = (name: string): Cost | null => {
    const of = contenders.find((contender) => contender.name === name);
    if (of === undefined || of.calls.length === 0 || of.starts.length === 0) return null;
    return { call: quartile(of.calls), start: quartile(of.starts) };
  };
  const native = costOf("native");
  if (native === null) return undefined;
  return { native, kinds: trials.map((trial) => ({ ...trial, cost: costOf(trial.kind) })) };
}

/** Of a run in which a hook answers getppid() with 0, as the kernel hardly ever does. */
export function judge({ words, signal, stderr }: Run): { readonly works: boolean; readonly why: string | null } {
  if (words?.at(-1) === 0n) return { works: true, why: null };
  const code = /^zpoline: .* \(([A-Z0-9_]+)\)$/m.exec(stderr)?.[1];
  const loader = /LD_PRELOAD cannot be preloaded \(([^)]*)\)/.exec(stderr)?.[1];
  return { works: false, why: code ?? loader ?? signal ?? "the call was not hooked" };
}

/** Of at least one value. */
export function median(values: readonly number[]): number {
  return ordered(values)[values.length >> 1] as number;
}

/** The lower one, of at least one value. */
export function quartile(values: readonly number[]): number {
  return ordered(values)[values.length >> 2] as number;
}

function ordered(values: readonly number[]): number[] {
  return [...values].sort((a, b) => a - b);
}
