/**
 * The ways in which a program is hooked here. Each test runs the program natively and in every mode, and compares what it
 * wrote and how it ended.
 */
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { fixture, fixtureBy, type Options, type Outcome, run, zpoline } from "../run.ts";

const root = fileURLToPath(new URL("../../..", import.meta.url));
export const LIBRARY = join(root, "dist/libzpoline.so");

export interface Mode {
  readonly name: string;
  readonly traced?: true;
  readonly hook?: true;
  readonly run: (command: readonly string[], options?: Options) => Outcome;
}

/** Preloaded, with these variables. */
const preloaded =
  (variables: () => NodeJS.ProcessEnv): Mode["run"] =>
  (command, options = {}) =>
    run(command, { ...options, env: { ...process.env, LC_ALL: "C", TZ: "UTC", LD_PRELOAD: LIBRARY, ...variables() } });

/** Under `zpoline trace -f`; what the trace has to say of gaps comes last on stderr. */
const traced: Mode["run"] = (command, options) => {
  const { lines: _, ...outcome } = zpoline(command, options);
  return outcome;
};

export const MODES: readonly Mode[] = [
  { name: "preloaded", run: preloaded(() => ({})) },
  { name: "preloaded, every call through the stub", run: preloaded(() => ({ ZPOLINE_HOOK: "noop:*" })) },
  {
    name: "a C hook that passes everything on",
    hook: true,
    run: preloaded(() => ({ LIBZPHOOK: fixture("hooks/pass.c", "-shared", "-fPIC") })),
  },
  { name: "zpoline trace -f", traced: true, run: traced },
];

export interface Case {
  readonly name: string;
  /** A fixture (test/fixtures/SOURCE) with compiler flags, or a whole command. */
  readonly source?: string;
  /** gcc, if none is named. */
  readonly compiler?: "musl-gcc";
  readonly flags?: readonly string[];
  readonly args?: () => readonly string[];
  readonly command?: readonly string[];
  /** What a trace says was missed, with `zpoline: trace is incomplete: ` in front, one pattern a line. */
  readonly gaps?: readonly RegExp[];
  /** Not with a C hook (docs/limits.md). */
  readonly notWithHook?: true;
}

const GAP = "zpoline: trace is incomplete: ";

/** The lines about gaps, and stderr without them. */
function withoutGaps(outcome: Outcome): { outcome: Outcome; gaps: readonly string[] } {
  const lines = outcome.stderr.split("\n");
  const gaps = lines.filter((line) => line.startsWith(GAP)).map((line) => line.slice(GAP.length));
  return { outcome: { ...outcome, stderr: lines.filter((line) => !line.startsWith(GAP)).join("\n") }, gaps };
}

/** Each case in each mode does what it does natively. */
export function sameAsNatively(cases: readonly Case[], options: Options = {}): void {
  const native = new Map<Case, { command: readonly string[]; outcome: Outcome }>();
  const natively = (one: Case) => {
    const known = native.get(one);
    if (known) return known;
    const command = one.command ?? [
      fixtureBy(one.compiler ?? "gcc", one.source!, ...(one.flags ?? [])),
      ...(one.args?.() ?? []),
    ];
    const result = { command, outcome: run(command, options) };
    native.set(one, result);
    return result;
  };
  describe.each(MODES)("$name", (mode) => {
    test.each(cases.filter((one) => !(mode.hook && one.notWithHook)))("$name", (one) => {
      const { command, outcome } = natively(one);
      const hooked = withoutGaps(mode.run(command, options));
      expect(hooked.outcome).toEqual(outcome);
      const expected = mode.traced ? (one.gaps ?? []) : [];
      expect(hooked.gaps).toEqual(expected.map((gap) => expect.stringMatching(gap)));
    });
  });
}
