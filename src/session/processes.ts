import * as fs from "node:fs";

/** True while the thread `tid` of process `pid` exists; a zombie does not count (proc(5)). */
export function threadLives(pid: number, tid: number): boolean {
  const stat = readProc(`/proc/${pid}/task/${tid}/stat`);
  return stat !== undefined && !isDead(stat);
}

/** True while the process `pid` exists and has not ended (as threadLives, for the thread group). */
export function processLives(pid: number): boolean {
  return threadLives(pid, pid) || hasLivingThread(pid);
}

/**
 * When the process started, in clock ticks after boot (proc_pid_stat(5), field 22), as text: with the pid it names one
 * process for good. Undefined when there is no such process.
 */
export function startTime(pid: number): string | undefined {
  const stat = readProc(`/proc/${pid}/stat`);
  return stat === undefined ? undefined : fieldsAfterName(stat)[19];
}

/** The main thread may have ended while others run: it then stays a zombie until the last one ends. */
function hasLivingThread(pid: number): boolean {
  let tids: string[];
  try {
    tids = fs.readdirSync(`/proc/${pid}/task`);
  } catch {
    return false;
  }
  return tids.some((tid) => threadLives(pid, Number(tid)));
}

function isDead(stat: string): boolean {
  const state = fieldsAfterName(stat)[0];
  return state === "Z" || state === "X";
}

/** The name (field 2) is in parentheses and may hold anything, parentheses and blanks included. */
function fieldsAfterName(stat: string): string[] {
  return stat.slice(stat.lastIndexOf(")") + 2).split(" ");
}

function readProc(path: string): string | undefined {
  try {
    return fs.readFileSync(path, "latin1");
  } catch {
    return undefined;
  }
}

/** True while any process that we may look into has the file mapped. Reads every /proc/PID/maps: slow. */
export function anyoneMaps(file: string): boolean {
  return fs.readdirSync("/proc").some((name) => /^\d+$/.test(name) && readProc(`/proc/${name}/maps`)?.includes(file));
}
