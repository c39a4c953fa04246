/** Numbers that are none, bytes that are no instructions, code that changes, images of every kind. */
import { fixture } from "../run.ts";
import { type ExpectedGap, JIT, LEFT, sameAsNatively } from "./modes.ts";

const EXEC: ExpectedGap = { says: /^exec was not followed .*\(pid \d+\)$/ };
const NOT_HOOKED: ExpectedGap = { says: /^the program was never hooked/ };

sameAsNatively([
  { name: "numbers beyond the last: libc's syscall()", source: "numbers.c" },
  { name: "numbers beyond the last: musl's syscall()", source: "numbers.c", compiler: "musl-gcc" },
  { name: "numbers beyond the last: constants", source: "numbers-inline.c" },
  { name: "numbers beyond the last: an argument", source: "numbers-variable.c" },
  {
    name: "mov $0x50f, data in text, a syscall behind misleading bytes, one on two pages",
    source: "text.c",
    gaps: [LEFT],
  },
  { name: "code made at run time: RWX, W^X, two views of one page", source: "jit.c", gaps: [JIT, LEFT] },
  { name: "not position-independent", source: "plain.c", flags: ["-no-pie", "-fno-pic"] },
  { name: "an executable stack", source: "plain.c", flags: ["-z", "execstack"], gaps: [JIT] },
  { name: "text and constants in one segment", source: "plain.c", flags: ["-Wl,-z,noseparate-code"] },
  { name: "no section headers, no symbols", source: "plain.c", flags: ["-s"] },
  { name: "musl, dynamic", source: "plain.c", compiler: "musl-gcc" },
  { name: "static", source: "plain.c", flags: ["-static"], gaps: [NOT_HOOKED] },
  { name: "static, position-independent", source: "plain.c", flags: ["-static-pie"], gaps: [NOT_HOOKED] },
  {
    name: "a 32-bit program, executed by a hooked one",
    command: ["sh", "-c", `${fixture("i386.c", "-m32", "-static", "-nostdlib", "-fno-pic", "-no-pie")}; echo $?`],
    gaps: [EXEC],
  },
]);
