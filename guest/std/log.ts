/** Messages of last resort, on standard error: `zpoline: …`. */
import { stringLength, writeDecimal } from "./bytes";
import { cstr } from "./cstr";
import { syscall6 } from "./raw";
import { SYS_EXIT_GROUP, writeAll } from "./sys";

const STDERR: i64 = 2;

export function say(text: usize): void {
  writeAll(STDERR, text, stringLength(text));
}

const digits: StaticArray<u8> = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/** Says `what`, the error number and `fix`, and ends the process with status 125. */
export function fatal(what: usize, errno: u64, fix: usize): void {
  const from = changetype<usize>(digits);
  say(cstr("zpoline: "));
  say(what);
  say(cstr(": errno "));
  writeAll(STDERR, from, writeDecimal(from, errno) - from);
  say(cstr("\n  fix: "));
  say(fix);
  say(cstr("\n"));
  syscall6(SYS_EXIT_GROUP, 125, 0, 0, 0, 0, 0);
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
