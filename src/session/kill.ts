import * as fs from "node:fs";
import { readProc } from "./processes.ts";

/** Rounds of looking for processes that the ones of the round before have made. */
const MOST_ROUNDS = 100;

/**
 * Kills every process of a session: `root` (undefined when it has ended) and what descends from it, and all that have the
 * ring file mapped or named in their environment. Those are stopped first, until no new ones turn up: a process that is
 * stopped makes no others. What belongs to another user lives on.
 */
export function killAll(ring: string, root: number | undefined): void {
  const stopped = new Set<number>();
  for (let round = 0; round < MOST_ROUNDS; round++) {
    const fresh = members(ring, root).filter((pid) => !stopped.has(pid));
    if (fresh.length === 0) break;
    for (const pid of fresh) {
      stopped.add(pid);
      send(pid, "SIGSTOP");
    }
  }
  for (const pid of stopped) send(pid, "SIGKILL");
}

function members(ring: string, root: number | undefined): number[] {
  const pids = fs
    .readdirSync("/proc")
    .map(Number)
    .filter((pid) => pid > 0 && pid !== process.pid);
  const family = root === undefined ? new Set<number>() : descendants(pids, root);
  const variable = `ZPOLINE_SESSION=${ring}\0`;
  return pids.filter(
    (pid) =>
      family.has(pid) ||
      readProc(`/proc/${pid}/environ`)?.includes(variable) ||
      readProc(`/proc/${pid}/maps`)?.includes(ring),
  );
}

/** `root` and the processes among `pids` that it, or one of those, has made and that have not lost their parent. */
function descendants(pids: readonly number[], root: number): Set<number> {
  const children = new Map<number, number[]>();
  for (const pid of pids) {
    const parent = parentOf(pid);
    if (parent !== undefined) children.set(parent, [...(children.get(parent) ?? []), pid]);
  }
  const found = new Set([root]);
  for (const pid of found) for (const child of children.get(pid) ?? []) found.add(child);
  return found;
}

/** proc_pid_status(5). */
function parentOf(pid: number): number | undefined {
  const parent = /^PPid:\s*(\d+)/m.exec(readProc(`/proc/${pid}/status`) ?? "")?.[1];
  return parent === undefined ? undefined : Number(parent);
}

function send(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // It has ended meanwhile, or is another user's.
  }
}
