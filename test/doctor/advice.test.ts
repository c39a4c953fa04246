import { describe, expect, test } from "vitest";
import { advise, anythingWorks } from "../../src/doctor/advice.ts";
import type { Facts } from "../../src/doctor/facts.ts";
import { best, fails, ordinary } from "./diagnoses.ts";

const ALL = { zero: true, jump: true, trap: true, "jump+trap": true };
const noDispatch: Facts = { ...ordinary, userDispatch: fails("EINVAL") };
const oldKernel: Facts = { ...noDispatch, kernel: { release: "5.10.0-30-amd64", machine: "x86_64" } };

describe("the tier", () => {
  const rows: readonly (readonly [string, Facts, Record<string, boolean>, string | null])[] = [
    ["everything there", best, ALL, "jump+trap"],
    ["no privilege", ordinary, { ...ALL, zero: false }, "jump+trap"],
    ["no Syscall User Dispatch", noDispatch, { zero: false, jump: true, trap: false, "jump+trap": false }, "jump"],
    [
      "only address 0 besides jumps",
      { ...best, userDispatch: fails("EINVAL") },
      { zero: true, jump: true },
      "jump+zero",
    ],
    ["dispatch is there, but the trap reached no hook", ordinary, { jump: true, "jump+trap": false }, "jump"],
    ["jumps do not work", best, { zero: true, jump: false }, null],
    ["nothing works", ordinary, { zero: false, jump: false }, null],
    ["nothing was tried", ordinary, {}, null],
  ];

  test.each(rows)("%s", (_, facts, works, tier) => {
    expect(advise(facts, works).tier).toBe(tier);
  });

  test("says what is missed only where something is", () => {
    expect(advise(best, ALL).missed).toEqual([]);
    expect(advise(noDispatch, { jump: true }).missed).toHaveLength(3);
    expect(advise({ ...best, userDispatch: fails("EINVAL") }, { jump: true }).missed).toHaveLength(2);
  });

  test("names a kind to ask for when auto does not work", () => {
    expect(advise(best, { zero: true, jump: false }).because).toContain("--patch zero");
    expect(advise(best, { zero: false }).because).toBe("no kind of patch reached a hook here");
  });

  test("something works when one kind does", () => {
    expect([{}, { zero: false }, { zero: false, jump: true }].map(anythingWorks)).toEqual([false, false, true]);
  });
});

describe("what would make it better", () => {
  const zero = (more: Partial<Facts["addressZero"]>): Facts => {
    return { ...ordinary, addressZero: { ...ordinary.addressZero, ...more } };
  };
  const rows: readonly (readonly [string, Facts, readonly string[]])[] = [
    ["nothing to add", best, []],
    ["no capability", ordinary, ["sudo sysctl -w vm.mmap_min_addr=0 (until the next boot), or run it as root"]],
    [
      "a container without the capability",
      zero({ capability: { effective: false, bounding: false } }),
      [
        "sudo sysctl -w vm.mmap_min_addr=0 (until the next boot), or as root of a container: docker run --cap-add SYS_RAWIO",
      ],
    ],
    [
      "root of another user namespace",
      zero({ capability: { effective: true, bounding: true }, initialUserNamespace: false }),
      ["on the host: sudo sysctl -w vm.mmap_min_addr=0 (until the next boot)"],
    ],
    ["SELinux", zero({ mapping: fails("EACCES"), selinux: "enforcing" }), ["sudo setsebool -P mmap_low_allowed 1"]],
    [
      "an old kernel",
      { ...best, ...pick(oldKernel, "userDispatch", "kernel") },
      ["a kernel from 5.11 on (this one is 5.10.0-30-amd64)"],
    ],
    [
      "a filter that kills",
      { ...best, userDispatch: fails("SIGSYS"), seccomp: { mode: "filter", filters: 1 } },
      [expect.stringContaining("seccomp=unconfined")],
    ],
    [
      "another kernel than Linux",
      { ...best, userDispatch: fails("EINVAL") },
      [expect.stringContaining("a kernel of Linux itself")],
    ],
    ["not built", { ...best, library: { path: null, error: "NOT_BUILT" } }, ["npm run build"]],
    [
      "blanks in the path",
      { ...best, library: { path: null, error: "UNUSABLE_PATH" } },
      ["install zpoline in a directory without them"],
    ],
    ["no loader", { ...best, loader: { path: null, libc: null } }, ["install a C library (glibc or musl)"]],
    [
      "noexec everywhere",
      { ...best, userDispatch: null, temporary: { ...best.temporary, programs: null } },
      ["TMPDIR=DIRECTORY zpoline doctor, with one that does; or sudo mount -o remount,exec /tmp"],
    ],
    ["noexec, but not everywhere", { ...best, temporary: { ...best.temporary, programs: "/run/user/1000" } }, []],
    [
      "no room",
      { ...best, temporary: { ...best.temporary, free: 1 << 20 } },
      ["export TMPDIR=DIRECTORY, with one that is large enough"],
    ],
    [
      "no /proc",
      { ...best, proc: { mounted: false, textWritable: fails("ENOENT") } },
      ["sudo mount -t proc proc /proc"],
    ],
    [
      "/proc/self/mem does not write code",
      { ...best, proc: { mounted: true, textWritable: fails("EIO") } },
      ["boot without proc_mem.force_override=never (kernel parameter, from 6.12 on)"],
    ],
    [
      "no directory for the cache",
      { ...best, cache: { path: "/home/user/.cache/zpoline", state: "none" } },
      ["mkdir -p /home/user/.cache, or export ZPOLINE_CACHE=DIRECTORY"],
    ],
    ["no home", { ...best, cache: { path: null, state: "none" } }, ["export ZPOLINE_CACHE=DIRECTORY"]],
    ["a cache of others", { ...best, cache: { path: "/c", state: "untrusted" } }, ["rm -r /c"]],
    ["no cache wanted", { ...best, cache: { path: null, state: "off" } }, []],
  ];

  test.each(rows)("%s", (_, facts, fixes) => {
    expect(advise(facts, ALL).improvements.map(({ fix }) => fix)).toEqual(fixes);
  });
});

function pick<T, K extends keyof T>(from: T, ...keys: K[]): Pick<T, K> {
  return Object.fromEntries(keys.map((key) => [key, from[key]])) as Pick<T, K>;
}
