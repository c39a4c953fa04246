/** No silent miss: a trace shows as many calls as strace does, wherever the instruction stands. */
import { fixture, fixtureBy } from "../run.ts";
import { asManyCallsAsStraceSees } from "./calls.ts";

const plugin = (): string => fixture("plugin.c", "-shared", "-fPIC");

/** Name, command, the calls to count. */
const CASES: readonly [string, () => readonly string[], readonly string[]][] = [
  ["a library loaded by a thread, and again", () => [fixture("plugins.c"), plugin()], ["getuid"]],
  ["libraries that 64 threads load at once", () => [fixture("libraries.c"), plugin()], ["getuid"]],
  ["a syscall on two pages, one behind misleading bytes", () => [fixture("text.c")], ["getpid", "getppid"]],
  ["functions with a red zone", () => [fixture("redzone.c")], ["getppid", "clock_gettime"]],
  ["threads made by hand, forks of threads", () => [fixture("threads.c")], ["getppid", "gettid", "clone3"]],
  ["threads of musl", () => [fixtureBy("musl-gcc", "threads.c")], ["getppid", "pipe"]],
  ["cancellation points of musl", () => [fixtureBy("musl-gcc", "cancel.c")], ["nanosleep", "poll", "pause"]],
  ["threads that unmap their stack", () => [fixtureBy("musl-gcc", "detached.c")], ["getppid", "munmap", "exit"]],
  ["handlers on another stack", () => [fixture("altstack.c")], ["getppid", "rt_sigreturn", "tgkill"]],
  ["a filter of the program's own", () => [fixture("seccomp.c"), "errno"], ["getppid", "wait4", "prctl"]],
  ["a changed root, and another user", () => [fixture("privileges.c")], ["chroot", "mkdir", "setuid", "wait4"]],
];

asManyCallsAsStraceSees(CASES.map(([name, command, calls]) => ({ name, command, calls })));
