import type { StdioOptions } from "node:child_process";
import * as fs from "node:fs";

const STANDARD = 3;
/** What Node makes for itself at start-up and a parent hardly ever hands on. */
const OF_NODE = /^anon_inode:\[(eventpoll|eventfd|io_uring)\]$/;

interface Descriptor {
  readonly fd: number;
  /** What /proc/self/fd/N points to: a path, `pipe:[…]`, … */
  readonly target: string;
  readonly closedOnExec: boolean;
}

/**
 * The stdio option with which a program inherits every descriptor that this process has inherited, as if it had been
 * executed directly. Node marks the low ones close-on-exec when it starts (uv_disable_stdio_inheritance); the others are
 * inherited anyway. To be called before this process opens descriptors of its own.
 */
export function inheritAll(): StdioOptions {
  const stdio: ("inherit" | "ignore" | number)[] = ["inherit", "inherit", "inherit"];
  for (const fd of inherited(ownDescriptors(), parentPipes())) {
    while (stdio.length < fd) stdio.push("ignore");
    stdio[fd] = fd;
  }
  return stdio;
}

/** Which of a process's close-on-exec descriptors came from its parent, ascending. `pipes` are the parent's. */
export function inherited(descriptors: readonly Descriptor[], pipes: ReadonlySet<string>): number[] {
  const count = (target: string): number => descriptors.filter((other) => other.target === target).length;
  return descriptors
    .filter(({ fd, closedOnExec }) => fd >= STANDARD && closedOnExec)
    .filter(({ target }) => !OF_NODE.test(target))
    .filter(({ target }) => !target.startsWith("pipe:") || count(target) === 1 || pipes.has(target))
    .map(({ fd }) => fd)
    .sort((a, b) => a - b);
}

function ownDescriptors(): Descriptor[] {
  const descriptors: Descriptor[] = [];
  for (const name of fs.readdirSync("/proc/self/fd")) {
    try {
      const target = fs.readlinkSync(`/proc/self/fd/${name}`);
      const flags = /^flags:\s*([0-7]+)/m.exec(fs.readFileSync(`/proc/self/fdinfo/${name}`, "latin1"))?.[1] ?? "0";
      const closedOnExec = (Number.parseInt(flags, 8) & 0o2000000) !== 0;
      descriptors.push({ fd: Number(name), target, closedOnExec });
    } catch {
      // The descriptor of the directory listing itself: closed by now.
    }
  }
  return descriptors;
}

/** A pipe with both ends here is Node's own, unless the parent has it too (make's job server). */
function parentPipes(): Set<string> {
  const directory = `/proc/${process.ppid}/fd`;
  const pipes = new Set<string>();
  try {
    for (const name of fs.readdirSync(directory)) {
      const target = fs.readlinkSync(`${directory}/${name}`);
      if (target.startsWith("pipe:")) pipes.add(target);
    }
  } catch {
    // Not ours to look at, or gone: what is known so far has to do.
  }
  return pipes;
}
