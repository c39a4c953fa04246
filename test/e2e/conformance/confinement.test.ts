/** Programs that watch or confine themselves, give up rights, or want what is ours. */
import { describe, expect, test } from "vitest";
import { fixture, run } from "../run.ts";
import { MODES, sameAsNatively } from "./modes.ts";

sameAsNatively([
  { name: "a seccomp filter: errno", source: "seccomp.c", args: () => ["errno"] },
  { name: "a seccomp filter: kill", source: "seccomp.c", args: () => ["kill"] },
  { name: "a seccomp filter: trap", source: "seccomp.c", args: () => ["trap"] },
  { name: "Syscall User Dispatch", source: "dispatch.c" },
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
    expect(stderr).toMatch(mode.traced ? /^zpoline: .*the gs base was refused .*ARCH_SET_GS\) \(pid \d+\)\n$/ : /^$/);
  });
});
