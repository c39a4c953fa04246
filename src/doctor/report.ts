/** What `zpoline doctor` says, as text and as JSON (docs/doctor.md). Pure. */
import type { Advice, Works } from "./advice.ts";
import type { Bench, KindReport } from "./bench.ts";
import type { Facts, Trial } from "./facts.ts";

export interface Diagnosis {
  readonly version: string;
  readonly facts: Facts;
  /** null where nothing could be tried. */
  readonly bench: Bench | null;
  readonly advice: Advice;
}

export function worksOf(bench: Bench | null): Works {
  return Object.fromEntries((bench?.kinds ?? []).map(({ kind, works }) => [kind, works]));
}

/** One object. Keys are stable; new ones may come. */
export function jsonReport(diagnosis: Diagnosis): string {
  return `${JSON.stringify(diagnosis, undefined, 2)}\n`;
}

const LABEL = 28;
const NAME = 12;

export function textReport({ version, facts, bench, advice }: Diagnosis): string {
  const { kernel, processor } = facts;
  const lines = [
    `zpoline ${version}, Linux ${kernel.release} ${kernel.machine}${processor.model === null ? "" : `, ${processor.model}`}`,
    "",
    ...FACTS.map(([label, tell]) => `  ${label.padEnd(LABEL)}${tell(facts)}`),
    "",
    ...(bench === null ? ["  nothing could be measured"] : benchLines(bench)),
    "",
    ...wrap(`${advice.tier === null ? "" : `zpoline uses ${advice.tier}: `}${advice.because}.`, ""),
    ...(advice.missed.length === 0 ? [] : wrap(`Not seen: ${advice.missed.join("; ")}.`, "")),
  ];
  for (const { what, fix } of advice.improvements) lines.push("", ...wrap(`- ${what}`, "  "), `  ${fix}`);
  return `${lines.join("\n")}\n`;
}

/** The facts that decide something, in a line each. */
const FACTS: readonly (readonly [label: string, tell: (facts: Facts) => string])[] = [
  ["library", ({ library }) => library.path ?? `no (${library.error})`],
  ["dynamic loader", ({ loader }) => loader.path ?? "none"],
  ["Syscall User Dispatch", ({ userDispatch }) => outcome(userDispatch)],
  ["memory at address 0", ({ addressZero }) => outcome(addressZero.mapping, zeroNote(addressZero))],
  [
    "/proc/self/mem writes code",
    ({ proc }) => (proc.mounted ? outcome(proc.textWritable) : "no: /proc is not mounted"),
  ],
  ["int 0x80", ({ int80 }) => outcome(int80)],
  ["seccomp", ({ seccomp }) => `${seccomp.mode ?? "unknown"}${seccomp.filters ? `, ${seccomp.filters} filters` : ""}`],
  ["vector state", ({ processor }) => (processor.amx ? "AVX-512, AMX" : processor.avx512 ? "AVX-512" : "up to AVX")],
  ["sessions", ({ temporary }) => `${temporary.path}${temporary.writable ? "" : ": not writable"}`],
  ["site cache", ({ cache }) => `${cache.path ?? ""}${CACHE_NOTES[cache.state]}`],
];

const CACHE_NOTES: Readonly<Record<Facts["cache"]["state"], string>> = {
  used: "",
  new: " (not made yet)",
  off: "off",
  none: " cannot be made",
  untrusted: " is not trusted",
};

function outcome(trial: Trial | null, note = ""): string {
  if (trial === null) return "not tried";
  if (trial.works) return `yes${note}`;
  return `no${trial.why === null ? "" : `: ${trial.why}`}${note}`;
}

function zeroNote({ mapping, minAddress, capability, executeOnly }: Facts["addressZero"]): string {
  if (mapping?.works === true) {
    if (executeOnly?.works === true) return "";
    return ", and then reads through NULL do not fault (no protection keys)";
  }
  const limit = minAddress === null ? "" : ` (vm.mmap_min_addr is ${minAddress}`;
  return limit === "" ? "" : `${limit}${capability.effective === true ? "" : ", no CAP_SYS_RAWIO"})`;
}

function benchLines({ native, kinds }: Bench): string[] {
  const row = (name: string, call: string, start: string): string =>
    `  ${name.padEnd(NAME)}${call.padStart(14)}${start.padStart(22)}`;
  return [
    row("", "a system call", "start of a program"),
    row("native", `${native.call.toFixed(0)} ns`, `${native.start.toFixed(2)} ms`),
    ...kinds.map((kind) => kindLine(kind, native, row)),
  ];
}

function kindLine(
  { kind, works, why, cost }: KindReport,
  native: Bench["native"],
  row: (name: string, call: string, start: string) => string,
): string {
  if (!works || cost === null) return `  ${kind.padEnd(NAME)}  does not work: ${why ?? "it could not be measured"}`;
  const call = cost.call - native.call;
  return row(kind, `${signed(call, Math.abs(call) < 10 ? 1 : 0)} ns`, `${signed(cost.start - native.start, 2)} ms`);
}

function signed(value: number, digits: number): string {
  return `${value < 0 ? "-" : "+"} ${Math.abs(value).toFixed(digits)}`;
}

const COLUMNS = 100;

/** Lines of at most COLUMNS characters; all but the first are indented. */
function wrap(text: string, indent: string): string[] {
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(" ")) {
    if (line.trim() !== "" && line.length + 1 + word.length > COLUMNS) {
      lines.push(line);
      line = indent + word;
    } else line = line === "" ? word : `${line} ${word}`;
  }
  return [...lines, line];
}
