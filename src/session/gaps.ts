import * as L from "../image/layout.ts";

/** What a trace can miss, by the name that programs match. */
export type GapKind =
  | "unpatched-site"
  | "no-va0"
  | "jit"
  | "io_uring"
  | "ring-overflow"
  | "exec-unhooked"
  | "gs-base"
  | "excluded"
  | "hook-reentered"
  | "hook-crashed"
  | "no-trap"
  | "int80"
  | "x32"
  | "not-hooked"
  | "untraced-child"
  | "still-running"
  | "ring-damaged"
  | "unknown";

/** Something that the trace does not show. `pid` is 0 where no one process is meant. */
export interface Gap {
  readonly kind: GapKind;
  readonly pid: number;
  readonly detail: string;
  /** How often it happened. */
  readonly count: number;
}

/** Gaps that guests report, by GAP_* number. */
const KIND_OF: Readonly<Record<number, GapKind>> = {
  [L.GAP_UNPATCHED_SITE]: "unpatched-site",
  [L.GAP_NO_VA0]: "no-va0",
  [L.GAP_JIT]: "jit",
  [L.GAP_IO_URING]: "io_uring",
  [L.GAP_RING_OVERFLOW]: "ring-overflow",
  [L.GAP_EXEC_UNHOOKED]: "exec-unhooked",
  [L.GAP_GS_BASE]: "gs-base",
  [L.GAP_EXCLUDED]: "excluded",
  [L.GAP_NO_TRAP]: "no-trap",
  [L.GAP_INT80]: "int80",
  [L.GAP_X32]: "x32",
  [L.GAP_HOOK_REENTERED]: "hook-reentered",
  [L.GAP_HOOK_CRASHED]: "hook-crashed",
};

/** What people read; the detail follows after a colon. */
export const TEXT_OF: Readonly<Record<GapKind, string>> = {
  "unpatched-site": "a system call instruction was left as it is",
  "no-va0": "a process could not map address 0, so nothing of it was seen",
  jit: "code was made at run time; system calls of its own would not be seen",
  io_uring: "io_uring submits operations without system calls",
  "ring-overflow": "events were lost because nobody read them in time",
  "exec-unhooked": "exec was not followed (static, setuid, another architecture, or it ended in ld.so)",
  "gs-base": "the gs base was refused to a program that wants to use it, and may not work without",
  excluded: "a file was not rewritten, as ZPOLINE_EXCLUDE asks",
  "hook-reentered":
    "the C hook was left out of calls made inside of it, or by a signal handler that had interrupted it",
  "hook-crashed": "the C hook crashed, and the program went on without it",
  "no-trap": "the kernel did not let calls be trapped that were not rewritten",
  int80: "a call by int $0x80 was not followed",
  x32: "the kernel made a call with a number of the x32 ABI, which was not followed",
  "not-hooked": "the program was never hooked",
  "untraced-child": "a new process or thread runs, but says nothing",
  "still-running": "the wait for the processes that outlive the program was cut short by a signal",
  "ring-damaged": "a process wrote over the events that it had recorded",
  unknown: "something was not seen",
};

export function gapKind(number: number): GapKind {
  return KIND_OF[number] ?? "unknown";
}

/** Gaps with the same kind, process and detail are one, counted. The list is bounded: what is more is only counted. */
export class GapList {
  static readonly MOST = 1000;
  readonly #gaps = new Map<string, { -readonly [K in keyof Gap]: Gap[K] }>();
  #dropped = 0;

  add(kind: GapKind, pid: number, detail: string, count = 1): void {
    const key = `${kind} ${pid} ${detail}`;
    const known = this.#gaps.get(key);
    if (known !== undefined) known.count += count;
    else if (this.#gaps.size < GapList.MOST) this.#gaps.set(key, { kind, pid, detail, count });
    else this.#dropped += count;
  }

  get isEmpty(): boolean {
    return this.#gaps.size === 0;
  }

  /** Whether there is one of this process. */
  concerns(pid: number): boolean {
    return [...this.#gaps.values()].some((gap) => gap.pid === pid);
  }

  list(): Gap[] {
    const gaps: Gap[] = [...this.#gaps.values()];
    if (this.#dropped > 0) gaps.push({ kind: "unknown", pid: 0, detail: "further gaps", count: this.#dropped });
    return gaps;
  }
}

/** One line for each kind and detail, the same ones of several processes summed up; at most `most` lines. */
export function describeGaps(gaps: readonly Gap[], most = 10): string[] {
  const groups = new Map<string, { gap: Gap; pids: Set<number>; count: number }>();
  for (const gap of gaps) {
    const key = `${gap.kind} ${gap.detail}`;
    const group = groups.get(key) ?? { gap, pids: new Set(), count: 0 };
    group.count += gap.count;
    if (gap.pid !== 0) group.pids.add(gap.pid);
    groups.set(key, group);
  }
  const lines = [...groups.values()].map(({ gap, pids, count }) => {
    const times = count > 1 ? `${count} times` : "";
    const where = pids.size > 3 ? `${pids.size} processes` : [...pids].map((pid) => `pid ${pid}`).join(", ");
    const notes = [times, where].filter((note) => note !== "").join(", ");
    const detail = gap.detail === "" ? "" : `: ${gap.detail}`;
    return `${TEXT_OF[gap.kind]}${detail}${notes === "" ? "" : ` (${notes})`}`;
  });
  if (lines.length <= most) return lines;
  return [...lines.slice(0, most - 1), `… and ${lines.length - most + 1} more kinds of gaps`];
}
