/** Programs that get out of a hook's way, meaning to or not: they are seen, or it is said that they are not, and they work. */
import { describe, expect, test } from "vitest";
import { fixture, run } from "../run.ts";
import { asManyCallsAsStraceSees } from "./calls.ts";
import { DAMAGED, type Exception, JIT, MODES, sameAsNatively } from "./modes.ts";

const FAR: readonly Exception[] = (["trap", "auto"] as const).map((patch) => ({
  patch,
  because: "what traps in 32-bit code cannot be gone on with",
}));

sameAsNatively([
  { name: "Syscall User Dispatch switched off", source: "escapes/undispatch.c", gaps: [JIT] },
  {
    name: "children without handlers, with a copy, with the parent's",
    source: "escapes/handlers.c",
    gaps: [JIT, DAMAGED],
  },
  { name: "a call that a debugger makes its child execute", source: "escapes/injected.c" },
  { name: "a call written through /proc/self/mem", source: "escapes/self-mem.c" },
  { name: "the vsyscall page", source: "escapes/vsyscall.c" },
  { name: "the 32-bit code segment", source: "escapes/far.c", gaps: [JIT], except: FAR },
]);

const MADE = /^zpoline: trace is incomplete: code was made at run time; /m;
const PROTECTED: readonly Exception[] = (["zero", "jump"] as const).map((patch) => ({
  patch,
  because: "nothing tells that it was written (docs/limits.md)",
}));

asManyCallsAsStraceSees(
  [
    { name: "undispatch.c", calls: ["getppid"], gap: MADE },
    { name: "handlers.c", calls: ["getppid", "clone3", "clone"], gap: MADE },
    { name: "self-mem.c", calls: ["getppid"], except: PROTECTED },
  ].map((one) => ({ command: () => [fixture(`escapes/${one.name}`)], ...one })),
);

describe("the gs base, taken by an instruction: the program dies of it, and does not go on unseen", () => {
  test.each(MODES.filter(({ watcher }) => watcher === "noop"))("$name", (mode) => {
    expect(run([fixture("escapes/gs.c")]).status).toBe(0);
    expect(mode.run([fixture("escapes/gs.c")]).signal).toBe("SIGSEGV");
  });
});
