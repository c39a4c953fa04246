/** SIGSYS belongs to the program, although the trap lives on it; and calls trap wherever a program may make one. */
import { fixture } from "../run.ts";
import { asManyCallsAsStraceSees } from "./calls.ts";
import { type Exception, JIT, sameAsNatively } from "./modes.ts";

const withTrap = (because: string): readonly Exception[] =>
  (["trap", "auto"] as const).map((patch) => ({ patch, because }));

const RANGE: readonly Exception[] = (["zero", "jump"] as const).map((patch) => ({
  patch,
  because: "a range of addresses is refused",
}));

sameAsNatively([
  { name: "blocked by masks of every kind", source: "sigsys/masked.c", gaps: [JIT] },
  { name: "sent: handled, waited for, ignored, fatal", source: "sigsys/sent.c", gaps: [JIT] },
  {
    name: "sent, and read from a descriptor",
    source: "sigsys/sent.c",
    args: () => ["descriptor"],
    except: withTrap("SIGSYS is never blocked for the kernel, and signalfd gives only what is"),
  },
  { name: "filters of the program's own", source: "sigsys/filter.c", gaps: [JIT] },
  { name: "Syscall User Dispatch of the program's own", source: "sigsys/dispatch.c", gaps: [JIT], except: RANGE },
  { name: "alternate stacks, coroutines", source: "sigsys/stacks.c", gaps: [JIT] },
  { name: "handlers in calls that wait, nested, jumping out", source: "sigsys/nested.c", gaps: [JIT] },
  { name: "int $0x80, numbers of x32", source: "sigsys/legacy.c", gaps: [JIT] },
  {
    name: "every register, while a timer ticks",
    source: "sigsys/registers.c",
    gaps: [JIT],
    except: [{ patch: "zero", because: "the word below the stack pointer is the return address of its call" }],
  },
]);

const calls = (source: string, ...names: readonly string[]) => ({
  name: source,
  command: () => [fixture(`sigsys/${source}`)],
  calls: names,
  gap: /^zpoline: trace is incomplete: code was made at run time; /m,
});

asManyCallsAsStraceSees([
  calls("masked.c", "getppid", "getpid", "ppoll", "pselect6", "epoll_pwait", "rt_sigsuspend"),
  calls("sent.c", "getppid", "rt_sigtimedwait", "kill", "tgkill", "rt_sigqueueinfo"),
  calls("stacks.c", "getppid", "sigaltstack"),
  calls("nested.c", "getppid", "tgkill", "write"),
]);
