/** Messages of last resort, on standard error: `zpoline: …`. */
import { copyString, stringLength, writeDecimal } from "./bytes";
import { cstr } from "./cstr";
import { syscall6 } from "./raw";
import { SYS_EXIT_GROUP, writeAll } from "./sys";

const STDERR: i64 = 2;

export function say(what: usize): void {
  writeAll(STDERR, what, stringLength(what));
}

const text: usize = memory.data(32, 8);

/** As `refuse`, with an error number of the kernel as the cause. */
export function fatal(code: usize, what: usize, errno: u64, fix: usize): void {
  const cause = copyString(text, cstr("errno "));
  store<u8>(writeDecimal(cause, errno), 0);
  refuse(code, what, text, fix);
}

/** As `ZpolineError` says it (`cause` 0: none), and ends the process with status 125. */
export function refuse(code: usize, what: usize, cause: usize, fix: usize): void {
  say(cstr("zpoline: "));
  say(what);
  say(cstr(" ("));
  say(code);
  say(cstr(")\n"));
  if (cause) {
    say(cstr("  cause: "));
    say(cause);
    say(cstr("\n"));
  }
  say(cstr("  fix: "));
  say(fix);
  say(cstr("\n"));
  syscall6(SYS_EXIT_GROUP, 125, 0, 0, 0, 0, 0);
}
