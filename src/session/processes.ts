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

/** A file of /proc; undefined when there is none, or it may not be read. */
export function readProc(path: string): string | undefined {
  try {
    return fs.readFileSync(path, "latin1");
  } catch {
    return undefined;
  }
}

const AT_NULL = 0n;
/** getauxval(3). */
const AT_SECURE = 23n;

/**
 * Whether the program that a process has just executed has got rights that its caller has not (setuid, file capabilities),
 * so that its dynamic loader ignores LD_PRELOAD. Such a process may as a rule not be looked into.
 */
export function isSecure(pid: number): boolean {
  let vector: Buffer;
  try {
    vector = fs.readFileSync(`/proc/${pid}/auxv`);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EACCES";
  }
  for (let at = 0; at + 16 <= vector.length && vector.readBigUInt64LE(at) !== AT_NULL; at += 16) {
    if (vector.readBigUInt64LE(at) === AT_SECURE) return vector.readBigUInt64LE(at + 8) !== 0n;
  }
  return false;
}

/** True while any process that we may look into has the file mapped. Reads every /proc/PID/maps: slow. */
export function anyoneMaps(file: string): boolean {
  return fs.readdirSync("/proc").some((name) => /^\d+$/.test(name) && readProc(`/proc/${name}/maps`)?.includes(file));
}
