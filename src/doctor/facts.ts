/**
 * What this machine, and this process on it, allow. What can be tried is tried: versions and configuration say what ought to
 * work, a container or a security module says otherwise. `null`: could not be found out.
 */
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { ZpolineError } from "../errors.ts";
import { libraryPath } from "../session/library.ts";
import { errorOf } from "../syscalls/errno.ts";
import { DISPATCHED, NOT_THERE, QUESTIONS, type Question, WRITTEN } from "./probe.ts";
import { findLoader, isMusl, type Programs, run } from "./programs.ts";

/** Something that was tried. `why` is the name of an error ("EPERM") or of a signal; null when it worked. */
export interface Trial {
  readonly works: boolean;
  readonly why: string | null;
}

export interface Facts {
  readonly kernel: { readonly release: string; readonly machine: string };
  readonly processor: {
    readonly model: string | null;
    /** Flags of /proc/cpuinfo: the processor has it, and the kernel lets programs use it. */
    readonly protectionKeys: boolean | null;
    readonly avx512: boolean | null;
    readonly amx: boolean | null;
    readonly fsgsbase: boolean | null;
  };
  readonly addressZero: {
    /** Memory at address 0, made executable. */
    readonly mapping: Trial | null;
    /** vm.mmap_min_addr, bytes. */
    readonly minAddress: number | null;
    /** CAP_SYS_RAWIO. */
    readonly capability: { readonly effective: boolean | null; readonly bounding: boolean | null };
    /** Capabilities in another user namespace do not count. */
    readonly initialUserNamespace: boolean | null;
    readonly selinux: "enforcing" | "permissive" | "off";
    /** Reading through NULL still faults while page 0 is mapped: a protection key could be had. */
    readonly executeOnly: Trial | null;
  };
  /** Syscall User Dispatch: armed in a process of ours, and a call outside of the allowed range became SIGSYS. */
  readonly userDispatch: Trial | null;
  readonly seccomp: { readonly mode: "none" | "strict" | "filter" | null; readonly filters: number | null };
  readonly proc: {
    readonly mounted: boolean;
    /** Text of one's own can be written through /proc/self/mem. */
    readonly textWritable: Trial | null;
  };
  /** Memory that was written can be made executable (SELinux: execmem). */
  readonly executableMemory: Trial | null;
  /** `int 0x80` enters the kernel. */
  readonly int80: Trial | null;
  /** kernel.yama.ptrace_scope and kernel.perf_event_paranoid: strace and perf need them, zpoline does not. */
  readonly ptraceScope: number | null;
  readonly perfEventParanoid: number | null;
  readonly loader: { readonly path: string | null; readonly libc: "glibc" | "musl" | null };
  readonly library: { readonly path: string | null; readonly error: string | null };
  readonly temporary: {
    readonly path: string;
    readonly writable: boolean;
    /** Bytes. */
    readonly free: number | null;
    /** Where programs can be executed, of the directories that were tried. */
    readonly programs: string | null;
  };
  readonly cache: { readonly path: string | null; readonly state: CacheState };
}

/** "new": made by the first start. "off": asked for. "none": there is no directory to make it in. */
export type CacheState = "used" | "new" | "off" | "none" | "untrusted";

/** capabilities(7). */
const CAP_SYS_RAWIO = 17n;
const SECCOMP_MODES = ["none", "strict", "filter"] as const;

/** `programs`: undefined where nothing can be executed; then nothing is tried. */
export function readFacts(programs: Programs | undefined): Facts {
  const status = read("/proc/self/status");
  const cpu = read("/proc/cpuinfo");
  const flags = field(cpu, "flags\\s*")?.split(" ");
  const has = (flag: string): boolean | null => flags?.includes(flag) ?? null;
  const capability = (name: string): boolean | null => {
    const bits = field(status, name);
    return bits === undefined ? null : ((BigInt(`0x${bits}`) >> CAP_SYS_RAWIO) & 1n) === 1n;
  };
  const map = read("/proc/self/uid_map");
  const loader = findLoader() ?? null;
  const ask = (question: Question, isAnswer: (word: bigint) => boolean): Trial | null =>
    programs === undefined ? null : tried(programs.probe, question, isAnswer);
  const zero = (word: bigint): boolean => word === 0n;
  return {
    kernel: { release: os.release(), machine: os.machine() },
    processor: {
      model: field(cpu, "model name\\s*") ?? null,
      protectionKeys: has("ospke"),
      avx512: has("avx512f"),
      amx: has("amx_tile"),
      fsgsbase: has("fsgsbase"),
    },
    addressZero: {
      mapping: ask("zero", zero),
      minAddress: number(read("/proc/sys/vm/mmap_min_addr")),
      capability: { effective: capability("CapEff"), bounding: capability("CapBnd") },
      initialUserNamespace: map === undefined ? null : /^\s*0\s+0\s+4294967295\s*$/.test(map),
      selinux: selinuxMode(read("/sys/fs/selinux/enforce")),
      executeOnly: ask("key", (word) => word > 0n),
    },
    userDispatch: ask("dispatch", (word) => word === DISPATCHED),
    seccomp: {
      mode: SECCOMP_MODES[Number(field(status, "Seccomp") ?? Number.NaN)] ?? null,
      filters: number(field(status, "Seccomp_filters")),
    },
    proc: { mounted: status !== undefined, textWritable: ask("text", (word) => word === WRITTEN) },
    executableMemory: ask("code", zero),
    int80: ask("int80", (word) => word > 0n && word !== NOT_THERE),
    ptraceScope: number(read("/proc/sys/kernel/yama/ptrace_scope")),
    perfEventParanoid: number(read("/proc/sys/kernel/perf_event_paranoid")),
    loader: { path: loader, libc: loader === null ? null : isMusl(loader) ? "musl" : "glibc" },
    library: libraryFacts(),
    temporary: temporaryFacts(programs),
    cache: cacheFacts(process.env),
  };
}

function tried(probe: string, question: Question, isAnswer: (word: bigint) => boolean): Trial {
  const { words, signal } = run(probe, [QUESTIONS[question]], 1);
  const word = words?.[0];
  if (word === undefined) return { works: false, why: signal };
  if (isAnswer(word)) return { works: true, why: null };
  return { works: false, why: word < 0n ? (errorOf(Number(-word))?.name ?? null) : null };
}

function libraryFacts(): Facts["library"] {
  try {
    return { path: libraryPath(), error: null };
  } catch (error) {
    if (!(error instanceof ZpolineError)) throw error;
    return { path: null, error: error.code };
  }
}

function temporaryFacts(programs: Programs | undefined): Facts["temporary"] {
  const directory = os.tmpdir();
  const place = { path: directory, programs: programs === undefined ? null : path.dirname(programs.directory) };
  try {
    fs.accessSync(directory, fs.constants.W_OK | fs.constants.X_OK);
    const { bavail, bsize } = fs.statfsSync(directory);
    return { ...place, writable: true, free: bavail * bsize };
  } catch {
    return { ...place, writable: false, free: null };
  }
}

/** As guest/rewrite/cache-directory.ts does it. */
export function cacheFacts(env: NodeJS.ProcessEnv, user = process.geteuid?.()): Facts["cache"] {
  const { ZPOLINE_CACHE: own, XDG_CACHE_HOME: xdg, HOME: home } = env;
  if (own !== undefined && !own.startsWith("/")) return { path: null, state: "off" };
  const parent = xdg?.startsWith("/") ? xdg : home?.startsWith("/") ? path.join(home, ".cache") : undefined;
  const directory = own ?? (parent === undefined ? undefined : path.join(parent, "zpoline"));
  if (directory === undefined) return { path: null, state: "none" };
  const there = look(() => fs.lstatSync(directory));
  if (there !== undefined) {
    const trusted = there.isDirectory() && there.uid === user && (there.mode & 0o022) === 0;
    return { path: directory, state: trusted ? "used" : "untrusted" };
  }
  const above = look(() => fs.statSync(path.dirname(directory)));
  const mine = above?.isDirectory() === true && (own !== undefined || above.uid === user);
  return { path: directory, state: mine ? "new" : "none" };
}

/** undefined where there is nothing, or this user may not look. */
function look(stat: () => fs.Stats): fs.Stats | undefined {
  try {
    return stat();
  } catch {
    return undefined;
  }
}

function selinuxMode(enforce: string | undefined): Facts["addressZero"]["selinux"] {
  if (enforce === undefined) return "off";
  return enforce.trim() === "1" ? "enforcing" : "permissive";
}

function field(text: string | undefined, name: string): string | undefined {
  return new RegExp(`^${name}:\\s*(.*)$`, "m").exec(text ?? "")?.[1]?.trim();
}

function number(text: string | undefined): number | null {
  return text === undefined || !/^\s*-?\d+\s*$/.test(text) ? null : Number(text);
}

function read(file: string): string | undefined {
  try {
    return fs.readFileSync(file, "latin1");
  } catch {
    return undefined;
  }
}
