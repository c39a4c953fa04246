/** From facts to what they mean: which patches `auto` uses here, what is missed, and what would make it better. Pure. */
import type { Facts, Trial } from "./facts.ts";

/** What `auto` does: the patches in the order in which they are tried for a site. */
export type Tier = "jump+trap" | "jump+zero" | "jump";

export interface Improvement {
  /** What is not as it could be, and what that costs. */
  readonly what: string;
  /** What to do about it: a command, or a sentence where there is none. */
  readonly fix: string;
}

export interface Advice {
  /** null: nothing works. */
  readonly tier: Tier | null;
  /** Why, in a sentence. */
  readonly because: string;
  /** What a trace by this tier can miss, beyond what docs/limits.md says of all of them. */
  readonly missed: readonly string[];
  readonly improvements: readonly Improvement[];
}

/** Which kinds reached a hook when they were tried; a kind that is not in it was not tried. */
export type Works = Readonly<Record<string, boolean>>;

/** A session's file has this size at first (src/session/ring.ts). */
const SESSION_ROOM = 8 << 20;

export function advise(facts: Facts, works: Works): Advice {
  const tier = tierOf(facts, works);
  const improvements = RULES.flatMap((rule) => rule(facts, tier) ?? []);
  return { tier, because: because(facts, tier, works), missed: missedBy(tier), improvements };
}

/** Whether there is anything that zpoline can do here. */
export function anythingWorks(works: Works): boolean {
  return Object.values(works).includes(true);
}

function tierOf({ userDispatch, addressZero }: Facts, works: Works): Tier | null {
  if (userDispatch?.works === true && works["jump+trap"] === true) return "jump+trap";
  if (works["jump"] !== true) return null;
  return addressZero.mapping?.works === true ? "jump+zero" : "jump";
}

function because({ userDispatch, addressZero }: Facts, tier: Tier | null, works: Works): string {
  switch (tier) {
    case "jump+trap":
      return "sites are rewritten as jumps, and Syscall User Dispatch catches what no jump leads from, code made at run time among it";
    case "jump+zero":
      return `sites are rewritten as jumps; Syscall User Dispatch is not to be had${reason(userDispatch)}, so those without room for one go through address 0`;
    case "jump":
      return `sites are rewritten as jumps; neither Syscall User Dispatch${reason(userDispatch)} nor address 0${reason(addressZero.mapping)} is to be had for the others`;
    default: {
      const kind = Object.keys(works).find((name) => works[name] === true);
      return kind === undefined
        ? "no kind of patch reached a hook here"
        : `jumps do not reach a hook here: use --patch ${kind}`;
    }
  }
}

function reason(trial: Trial | null): string {
  return trial?.why == null ? "" : ` (${trial.why})`;
}

function missedBy(tier: Tier | null): readonly string[] {
  if (tier === null || tier === "jump+trap") return [];
  const made = "calls from code that is made at run time (just-in-time compilers)";
  const unsure = "calls from instructions that are not proved to be some";
  return tier === "jump" ? [made, unsure, "the few sites that have no room for a jump"] : [made, unsure];
}

type Rule = (facts: Facts, tier: Tier | null) => Improvement | undefined;

/** One for each thing that can be better; the most important first. */
const RULES: readonly Rule[] = [
  ({ library }) => {
    if (library.error === null) return undefined;
    return library.error === "NOT_BUILT"
      ? { what: "libzpoline.so is not built", fix: "npm run build" }
      : {
          what: "LD_PRELOAD cannot name libzpoline.so: there are blanks or colons in its path",
          fix: "install zpoline in a directory without them",
        };
  },
  ({ loader }) =>
    loader.path === null
      ? {
          what: "there is no dynamic loader, and so nothing that would load the library into a program",
          fix: "install a C library (glibc or musl)",
        }
      : undefined,
  ({ temporary }) =>
    temporary.programs === null
      ? {
          what: "no directory allows to execute files (mounted noexec?), so that nothing could be tried",
          fix: `TMPDIR=DIRECTORY zpoline doctor, with one that does; or sudo mount -o remount,exec ${temporary.path}`,
        }
      : undefined,
  ({ temporary }) => {
    if (temporary.writable && (temporary.free ?? SESSION_ROOM) >= SESSION_ROOM) return undefined;
    const what = temporary.writable ? "has less than 8 MiB free" : "cannot be written to";
    return {
      what: `${temporary.path} ${what}: no program can be traced`,
      fix: "export TMPDIR=DIRECTORY, with one that is large enough",
    };
  },
  ({ kernel, userDispatch, seccomp }) => {
    if (userDispatch === null || userDispatch.works) return undefined;
    const what = "Syscall User Dispatch is missing: calls from code that is made at run time are not seen";
    if (!isAtLeast(kernel.release, 5, 11))
      return { what, fix: `a kernel from 5.11 on (this one is ${kernel.release})` };
    if (seccomp.mode === "filter") {
      return {
        what,
        fix: "let the container's seccomp profile allow prctl(PR_SET_SYSCALL_USER_DISPATCH), e.g. docker run --security-opt seccomp=unconfined",
      };
    }
    return { what, fix: "a kernel of Linux itself: the one that runs here (a sandbox, an emulator) does without" };
  },
  ({ proc }) =>
    proc.mounted
      ? undefined
      : {
          what: "/proc is not mounted: each page of code is made writable for a moment instead, and libraries loaded later are not seen",
          fix: "sudo mount -t proc proc /proc",
        },
  ({ proc }) =>
    proc.mounted && proc.textWritable?.works === false
      ? {
          what: `code cannot be written through /proc/self/mem${reason(proc.textWritable)}: each page is made writable for a moment instead`,
          fix: "boot without proc_mem.force_override=never (kernel parameter, from 6.12 on)",
        }
      : undefined,
  ({ addressZero }, tier) => {
    const { mapping } = addressZero;
    if (mapping === null || mapping.works) return undefined;
    const who =
      tier === "jump" ? "sites without room for a jump" : "--patch zero, and with it hooks for the C zpoline,";
    return {
      what: `${who} would need address 0, which may not be mapped${reason(mapping)}`,
      fix: mapZero(addressZero),
    };
  },
  ({ cache }) => {
    if (cache.state === "none") {
      return {
        what: "there is no directory to keep the sites of files in: every start searches them again",
        fix:
          cache.path === null
            ? "export ZPOLINE_CACHE=DIRECTORY"
            : `mkdir -p ${parentOf(cache.path)}, or export ZPOLINE_CACHE=DIRECTORY`,
      };
    }
    if (cache.state === "untrusted") {
      return { what: `${cache.path} is not used: it is not this user's alone`, fix: `rm -r ${cache.path}` };
    }
    return undefined;
  },
];

function mapZero({ mapping, selinux, capability, initialUserNamespace }: Facts["addressZero"]): string {
  if (mapping?.why === "EACCES" && selinux === "enforcing") return "sudo setsebool -P mmap_low_allowed 1";
  const sysctl = "sudo sysctl -w vm.mmap_min_addr=0 (until the next boot)";
  if (initialUserNamespace === false) return `on the host: ${sysctl}`;
  return capability.bounding === false
    ? `${sysctl}, or as root of a container: docker run --cap-add SYS_RAWIO`
    : `${sysctl}, or run it as root`;
}

function parentOf(directory: string): string {
  return directory.slice(0, directory.lastIndexOf("/")) || "/";
}

function isAtLeast(release: string, major: number, minor: number): boolean {
  const [a = 0, b = 0] = release.split(".").map((part) => Number.parseInt(part, 10));
  return a > major || (a === major && b >= minor);
}
