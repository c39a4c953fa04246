import * as fs from "node:fs";
import * as path from "node:path";
import { startTime } from "./processes.ts";

const PREFIX = "zpoline-";
const OWNER = "owner";

/** Makes a fresh directory (mode 0700) for a session in `parent` and notes in it which process it belongs to. */
export function claimDirectory(parent: string): string {
  const directory = fs.mkdtempSync(path.join(path.resolve(parent), PREFIX));
  fs.writeFileSync(path.join(directory, OWNER), JSON.stringify(whoAmI()));
  return directory;
}

/** Removes the session directories in `parent` that this user's dead zpoline processes left. Never throws. */
export function removeStale(parent: string): void {
  for (const name of list(parent)) {
    if (!name.startsWith(PREFIX)) continue;
    const directory = path.join(parent, name);
    try {
      if (isMine(directory) && isDead(directory)) fs.rmSync(directory, { recursive: true, force: true });
    } catch {
      // Somebody else's, or gone meanwhile: not ours to clean.
    }
  }
}

interface Owner {
  readonly pid: number;
  readonly start: string | undefined;
  /** A process id means something only inside its pid namespace. */
  readonly namespace: string;
}

function whoAmI(): Owner {
  return { pid: process.pid, start: startTime(process.pid), namespace: fs.readlinkSync("/proc/self/ns/pid") };
}

function isMine(directory: string): boolean {
  const stat = fs.lstatSync(directory);
  return stat.isDirectory() && stat.uid === process.getuid?.();
}

function isDead(directory: string): boolean {
  const owner = JSON.parse(fs.readFileSync(path.join(directory, OWNER), "utf8")) as Partial<Owner>;
  if (owner.namespace !== fs.readlinkSync("/proc/self/ns/pid") || !Number.isInteger(owner.pid)) return false;
  return startTime(owner.pid as number) !== owner.start;
}

function list(directory: string): string[] {
  try {
    return fs.readdirSync(directory);
  } catch {
    return [];
  }
}
