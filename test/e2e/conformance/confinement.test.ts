/** Programs that watch or confine themselves, give up rights, or want what is ours. */
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { fixture, run, zpoline } from "../run.ts";
import { MODES, sameAsNatively } from "./modes.ts";

sameAsNatively([
  { name: "a seccomp filter: errno", source: "seccomp.c", args: () => ["errno"] },
  { name: "a seccomp filter: kill", source: "seccomp.c", args: () => ["kill"] },
  { name: "a seccomp filter: trap", source: "seccomp.c", args: () => ["trap"] },
  { name: "Syscall User Dispatch", source: "dispatch.c" },
  { name: "Syscall User Dispatch: what prctl takes, what the signal tells, where it holds", source: "user-dispatch.c" },
  {
    name: "seccomp's strict mode",
    source: "seccomp-strict.c",
    except: (["trace -f", "C hook"] as const).map((watcher) => ({
      watcher,
      because: "its own calls are forbidden, too",
    })),
  },
  { name: "the time stamp counter forbidden", source: "timestamps.c" },
  { name: "setuid, then calls; chroot", source: "privileges.c" },
]);

describe("the gs base, which is ours: a program may not have it", () => {
  const expected = run([fixture("segments.c")])
    .stdout.replace("ARCH_SET_GS, data): 0", "ARCH_SET_GS, data): -1")
    .replace("gs is what was set: 1", "gs is what was set: 0")
    .replace("the same gs in a thread: 1", "the same gs in a thread: 0")
    .replace("kept by fork: 3", "kept by fork: 4");

  test.each(MODES)("$name", (mode) => {
    const { stdout, stderr, status } = mode.run([fixture("segments.c")]);
    expect({ stdout, status }).toEqual({ stdout: expected, status: 0 });
    expect(stderr).toMatch(
      mode.watcher === "trace -f" ? /^zpoline: .*the gs base was refused .*ARCH_SET_GS\) \(pid \d+\)$/m : /^$/,
    );
  });
});

const free = readFileSync("/proc/sys/vm/mmap_min_addr", "utf8").trim() === "0" || process.getuid?.() !== 0;

describe.skipIf(free)(
  "under the patch zero, a program that may not map address 0 any more runs unhooked, and the trace says so",
  () => {
    test.each([
      ["another user", ["setpriv", "--reuid", "65534", "--clear-groups", "--inh-caps=-all", "--bounding-set=-all"]],
      ["the same user without capabilities", ["setpriv", "--inh-caps=-all", "--bounding-set=-all"]],
    ] as const)("%s", (_name, dropped) => {
      const { stdout, stderr, status } = zpoline([...dropped, "echo", "still here"], { patch: "zero" });
      expect({ stdout, status }).toEqual({ stdout: "still here\n", status: 0 });
      expect(stderr).toMatch(
        /^zpoline: trace is incomplete: (a process could not map address 0|exec was not followed).*\n$/,
      );
    });
  },
);
