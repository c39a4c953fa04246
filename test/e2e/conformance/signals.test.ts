/** Signals, in the middle of system calls and elsewhere. */
import { sameAsNatively } from "./modes.ts";

sameAsNatively([
  { name: "sigaltstack, SA_ONSTACK, faults, nested handlers while in a call", source: "altstack.c" },
  { name: "a stack that overflows in a call", source: "overflow.c" },
  { name: "SIGSYS: handled, sent, blocked by sa_mask, fatal", source: "sigsys.c" },
  { name: "siglongjmp out of a handler that interrupted a call, 3000 times", source: "longjmp.c" },
  { name: "a signal every 100 µs whose handler walks the stack", source: "storm.c" },
  {
    name: "a handler that makes calls deep in an alternate stack of 8 KiB",
    source: "small-handler.c",
    except: [
      { patch: "trap", because: "no room for a second signal frame" },
      { watcher: "C hook", because: "the hook needs 4 KiB of the alternate stack" },
    ],
  },
  { name: "rt_sigaction: every signal, flag and bad argument", source: "sigactions.c", flags: ["-no-pie"] },
  { name: "handlers nested, reset, jumped out of, in children; signalfd, sigwait, posix_spawn", source: "handlers.c" },
  { name: "SIGSYS in every mask, pending, and handed on", source: "sigsys-mask.c" },
  { name: "SIGSYS of a seccomp filter of the program's own", source: "seccomp-trap.c" },
  { name: "a handler sees the call that it has interrupted, and may change it", source: "shown.c" },
  { name: "EINTR, SA_RESTART, registers in the handler", source: "interrupted.c" },
  { name: "the same with musl", source: "interrupted.c", compiler: "musl-gcc" },
]);
