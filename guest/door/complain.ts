/** Why the program does not run. */
import { writeDecimal } from "../std/bytes";
import { cstr } from "../std/cstr";
import { say } from "../std/log";
import { syscall6 } from "../std/raw";
import { SYS_EXIT_GROUP } from "../std/sys";

const digits: usize = memory.data(24, 8);

/** Ends the process with `status`. `errno` 0: there is none. */
export function complain(code: usize, what: usize, errno: u64, status: u64): void {
  say(cstr("zpoline: "));
  say(what);
  if (errno) {
    say(cstr(": errno "));
    store<u8>(writeDecimal(digits, errno), 0);
    say(digits);
  }
  say(cstr(" ("));
  say(code);
  say(cstr(")\n"));
  syscall6(SYS_EXIT_GROUP, status, 0, 0, 0, 0, 0);
}
