/** Code made at run time: seen by the trap, reported without it, and the program notices neither. */
import { fixture } from "../run.ts";
import { asManyCallsAsStraceSees } from "./calls.ts";
import { type Case, type Exception, JIT, sameAsNatively } from "./modes.ts";

const COPIES: readonly Exception[] = [
  { patch: "jump", because: "a jump leads elsewhere in a copy" },
  { patch: "auto", because: "a jump leads elsewhere in a copy" },
];
const OWN_TEXT: readonly Exception[] = [
  { patch: "jump", because: "the number that it changes is part of a jump" },
  { patch: "auto", because: "the number that it changes is part of a jump" },
];

/** Name, fixture, the calls that its code makes. */
const FIXTURES: readonly [string, string, readonly string[], Partial<Case>?][] = [
  ["writable and executable, rewritten in place", "rwx", ["getppid", "getpgrp"]],
  ["now writable, now executable", "flips", ["getppid", "getpgrp"]],
  ["written through another view", "views", ["getppid", "getpgrp"]],
  ["moved by mremap, replaced by mmap", "moved", ["getppid", "getpgrp"]],
  ["on the heap, on the stack, behind brk", "heap", ["getppid", "getpgrp"]],
  ["the text of a file that changes itself", "own-text", ["getppid", "getpgrp"], { except: OWN_TEXT }],
  ["a copy of a function of libc's", "copied", ["getppid"], { except: COPIES }],
  ["a thousand functions", "many", ["getppid", "getpgrp", "getuid", "getgid"]],
  ["rewritten while threads run it", "rewriter", []],
  ["fork, vfork, clone, clone3, threads, exec", "children", ["getppid", "fork", "vfork", "clone", "clone3", "execve"]],
];

sameAsNatively(FIXTURES.map(([name, file, _, more]) => ({ name, source: `jit/${file}.c`, gaps: [JIT], ...more })));

asManyCallsAsStraceSees(
  FIXTURES.filter(([, , calls]) => calls.length > 0).map(([name, file, calls]) => ({
    name,
    command: () => [fixture(`jit/${file}.c`)],
    calls,
    gap: /^zpoline: trace is incomplete: code was made at run time; /m,
  })),
);
