/** The stressors of stress-ng(1) that are run. */
import { spawnSync } from "node:child_process";

const CLASSES = ["os", "filesystem", "pipe", "scheduler", "interrupt"] as const;

/** What is left out, and why. */
const LEFT_OUT: Readonly<Record<string, string>> = {
  mmapfork: "fills the memory: takes the better part of a minute, whatever its time",
  "oom-pipe": "fills the memory",
  resources: "fills the disk of /tmp",
  usersyscall: "wants Syscall User Dispatch with a range, which is refused (docs/limits.md)",
};

/** Names of all stressors that this stress-ng has, in order; none where it is not installed. */
export function stressors(): string[] {
  const names = CLASSES.flatMap((name) => {
    const { stdout, stderr } = spawnSync("stress-ng", ["--class", `${name}?`], { encoding: "utf8" });
    const [, list = ""] = `${stdout}${stderr}`.match(/stressors:(.*)/s) ?? [];
    return list.split(/\s+/).filter((word) => word !== "" && LEFT_OUT[word] === undefined);
  });
  return [...new Set(names)].sort();
}
