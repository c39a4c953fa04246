/** Code made at run time: seen by the trap, reported without it, and the program notices neither. */
import { fixture } from "../run.ts";
import { asManyCallsAsStraceSees } from "./calls.ts";
import { type Exception, JIT, sameAsNatively } from "./modes.ts";

const withJumps = (because: string): readonly Exception[] =>
  (["jump", "auto"] as const).map((patch) => ({ patch, because }));

/** By fixture. */
const EXCEPTIONS: Readonly<Record<string, readonly Exception[]>> = {
  "own-text": withJumps("the number that it changes is part of a jump"),
  copied: withJumps("a jump leads elsewhere in a copy"),
};

/** Name, fixture, the calls that its code makes. */
const FIXTURES: readonly [string, string, readonly string[]][] = [
  ["writable and executable, rewritten in place", "rwx", ["getppid", "getpgrp"]],
  ["now writable, now executable", "flips", ["getppid", "getpgrp"]],
  ["written through another view", "views", ["getppid", "getpgrp"]],
  ["moved by mremap, replaced by mmap", "moved", ["getppid", "getpgrp"]],
  ["on the heap, on the stack, behind brk", "heap", ["getppid", "getpgrp"]],
  ["the text of a file that changes itself", "own-text", ["getppid", "getpgrp"]],
  ["a copy of a function of libc's", "copied", ["getppid"]],
  ["a thousand functions", "many", ["getppid", "getpgrp", "getuid", "getgid"]],
  ["rewritten while threads run it", "rewriter", []],
  ["fork, vfork, clone, clone3, threads, exec", "children", ["getppid", "fork", "vfork", "clone", "clone3"]],
];

sameAsNatively(
  FIXTURES.map(([name, file]) => ({ name, source: `jit/${file}.c`, gaps: [JIT], except: EXCEPTIONS[file] ?? [] })),
);

asManyCallsAsStraceSees(
  FIXTURES.filter(([, , calls]) => calls.length > 0).map(([name, file, calls]) => ({
    name,
    command: () => [fixture(`jit/${file}.c`)],
    calls,
    except: EXCEPTIONS[file] ?? [],
    gap: /^zpoline: trace is incomplete: code was made at run time; /m,
  })),
);
