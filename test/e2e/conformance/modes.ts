/**
 * The ways in which a program is hooked here: which patches, what looks at its calls, who runs it. Each test runs the
 * program natively and in every mode, and compares what it wrote and how it ended.
 */
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import type { PatchChoice } from "../../../src/session/session.ts";
import { hook } from "../c-hooks.ts";
import { PATCHES, usesTrap } from "../patches.ts";
import { fixtureBy, type Options, type Outcome, run, zpoline } from "../run.ts";
import { ORDINARY, packageOf, type User } from "../users.ts";

export const LIBRARY = join(packageOf(undefined), "dist/libzpoline.so");

/** What looks at the calls of a program: nobody; a hook that does nothing; a C hook that passes all on; a tracer. */
const WATCHERS = ["nobody", "noop", "C hook", "trace -f"] as const;
type Watcher = (typeof WATCHERS)[number];

export interface Mode {
  readonly name: string;
  readonly patch: PatchChoice;
  readonly watcher: Watcher;
  /** By default who runs the tests, root as a rule. */
  readonly user?: User;
  readonly native: (command: readonly string[], options?: Options) => Outcome;
  readonly run: (command: readonly string[], options?: Options) => Outcome;
}

function watched(patch: PatchChoice, watcher: Watcher, user: User | undefined): Mode["run"] {
  const as = user === undefined ? {} : { user };
  if (watcher === "trace -f") {
    return (command, options) => {
      const { lines: _, ...outcome } = zpoline(command, { ...options, ...as, patch });
      return outcome;
    };
  }
  return (command, options = {}) => {
    const LD_PRELOAD = join(packageOf(user), "dist/libzpoline.so");
    const base = { ...process.env, LC_ALL: "C", TZ: "UTC", ZPOLINE_PATCH: patch, LD_PRELOAD };
    const noop = watcher === "noop" ? { ZPOLINE_HOOK: "noop:*" } : {};
    const inC = watcher === "C hook" ? { LIBZPHOOK: hook("pass") } : {};
    return run(command, { ...options, ...as, env: { ...base, ...noop, ...inC } });
  };
}

function mode(patch: PatchChoice, watcher: Watcher, user?: User): Mode {
  return {
    name: `${patch}, ${watcher}${user === undefined ? "" : `, ${user.name}`}`,
    patch,
    watcher,
    ...(user === undefined ? {} : { user }),
    native: (command, options) => run(command, { ...options, ...(user === undefined ? {} : { user }) }),
    run: watched(patch, watcher, user),
  };
}

/** Who watches what somebody without any privilege runs: less than all, because none of them asks who that is. */
const watchersOfOrdinary = (patch: PatchChoice): readonly Watcher[] =>
  patch === "auto" ? ["noop", "C hook", "trace -f"] : ["noop", "trace -f"];

/** Every patch with every watcher; and, but for `zero`, which needs the right to map address 0, without any privilege. */
export const MODES: readonly Mode[] = [
  ...PATCHES.flatMap((patch) => WATCHERS.map((watcher) => mode(patch, watcher))),
  ...PATCHES.filter((patch) => patch !== "zero").flatMap((patch) =>
    watchersOfOrdinary(patch).map((watcher) => mode(patch, watcher, ORDINARY)),
  ),
];

/** A mode to leave out, by what is named of it, and why (docs/limits.md). */
export interface Exception extends Partial<Pick<Mode, "patch" | "watcher" | "user">> {
  readonly because: string;
}

export interface Case {
  readonly name: string;
  /** A fixture (test/fixtures/SOURCE) with compiler flags, or a whole command. */
  readonly source?: string;
  /** gcc, if none is named. */
  readonly compiler?: "musl-gcc";
  readonly flags?: readonly string[];
  readonly args?: () => readonly string[];
  readonly command?: readonly string[];
  /** What a trace says was missed, with `zpoline: trace is incomplete: ` in front; each in one line or more. */
  readonly gaps?: readonly ExpectedGap[];
  readonly except?: readonly Exception[];
}

export interface ExpectedGap {
  readonly says: RegExp;
  /** Not where Syscall User Dispatch catches what was not rewritten. */
  readonly caught?: true;
  /** Not in every run. */
  readonly sometimes?: true;
}

export const JIT: ExpectedGap = { says: /^code was made at run time; /, caught: true };
export const LEFT: ExpectedGap = { says: /^a system call instruction was left as it is: /, caught: true };

/** Two processes that do not know that they are two record in one place. */
export const DAMAGED: ExpectedGap = {
  says: /^a process wrote over the events that it had recorded/,
  caught: true,
  sometimes: true,
};

const GAP = "zpoline: trace is incomplete: ";

/** The lines about gaps, and stderr without them. */
function withoutGaps(outcome: Outcome): { outcome: Outcome; gaps: readonly string[] } {
  const lines = outcome.stderr.split("\n");
  const gaps = lines.filter((line) => line.startsWith(GAP)).map((line) => line.slice(GAP.length));
  return { outcome: { ...outcome, stderr: lines.filter((line) => !line.startsWith(GAP)).join("\n") }, gaps };
}

/** Where there are but jumps, a site without room for one is nothing special; but there is none in glibc. */
const isOrdinary = (gap: string, mode: Mode): boolean =>
  mode.patch === "jump" && LEFT.says.test(gap) && !/\/(libc\.so\.6|ld-linux-x86-64\.so\.2)\b/.test(gap);

function expectedGaps(one: Case, mode: Mode): readonly ExpectedGap[] {
  if (mode.watcher !== "trace -f") return [];
  const isExpected = (gap: ExpectedGap): boolean =>
    !(gap.caught && usesTrap(mode.patch)) && !(gap === LEFT && mode.patch === "jump");
  return one.gaps?.filter(isExpected) ?? [];
}

/** Why the case is left out in the mode, if it is. */
function exception(one: Case, mode: Mode): string | undefined {
  return one.except?.find(
    ({ patch = mode.patch, watcher = mode.watcher, user = mode.user }) =>
      patch === mode.patch && watcher === mode.watcher && user === mode.user,
  )?.because;
}

/** All that is said was expected, and all that was expected is said. */
function expectGaps(gaps: readonly string[], expected: readonly ExpectedGap[]): void {
  const found = gaps.map((gap) => expected.find(({ says }) => says.test(gap)) ?? gap);
  const sometimes = expected.filter((gap) => gap.sometimes && !found.includes(gap));
  expect(new Set([...found, ...sometimes])).toEqual(new Set(expected));
}

/** Each case in each mode does what it does natively. */
export function sameAsNatively(cases: readonly Case[], options: Options = {}): void {
  const commandOf = (one: Case) =>
    one.command ?? [fixtureBy(one.compiler ?? "gcc", one.source!, ...(one.flags ?? [])), ...(one.args?.() ?? [])];
  /** By case and user. */
  const native = new Map<string, Outcome>();
  const natively = (one: Case, mode: Mode): Outcome => {
    const key = `${one.name} ${mode.user?.name}`;
    const outcome = native.get(key) ?? mode.native(commandOf(one), options);
    native.set(key, outcome);
    return outcome;
  };
  describe.each(MODES)("$name", (mode) => {
    for (const one of cases) {
      const because = exception(one, mode);
      test.skipIf(because !== undefined)(because === undefined ? one.name : `${one.name}: ${because}`, () => {
        const hooked = withoutGaps(mode.run(commandOf(one), options));
        expect(hooked.outcome).toEqual(natively(one, mode));
        expectGaps(
          hooked.gaps.filter((gap) => !isOrdinary(gap, mode)),
          expectedGaps(one, mode),
        );
      });
    }
  });
}
