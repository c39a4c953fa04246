/** Traps of guest code: what the compiler calls where the program cannot go on (option `onTrap`). */
import { stringLength } from "./bytes";
import { cstr } from "./cstr";
import { syscall6 } from "./raw";
import { SYS_EXIT_GROUP, writeAll } from "./sys";

const STDERR: i64 = 2;

/** Says `zpoline: trap: division by zero at guest/x.ts:12` on standard error and ends the process with status 125. */
export function on_trap(message: usize): void {
  writeAll(STDERR, cstr("zpoline: trap: "), 15);
  writeAll(STDERR, message, stringLength(message));
  writeAll(STDERR, cstr("\n"), 1);
  syscall6(SYS_EXIT_GROUP, 125, 0, 0, 0, 0, 0);
}
