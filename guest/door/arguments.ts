/**
 * The arguments of zpoline-exec. From a command line:
 *
 *     zpoline-exec [SETTING=VALUE]... [--] PROGRAM [ARGUMENT]...
 *
 * PROGRAM is searched as execvp(3) does. What an exec that is followed passes is told in exec.ts.
 */
import { takeSetting } from "../process/environment";
import { readDecimal, sameString } from "../std/bytes";
import { cstr } from "../std/cstr";
import { InitialStack } from "./stack";

// @ts-ignore: decorator
@unmanaged
export class DoorArguments {
  /** How many arguments are ours: what follows is the program's argv. */
  hidden: usize;
  /** What the kernel calls the program; 0 from a command line. */
  name: usize;
  /** Descriptor of the program. */
  fd: i64;
}

/** False when they are not to be understood. The settings have been taken. */
export function readArguments(stack: InitialStack, to: DoorArguments): bool {
  const argv = stack.argv;
  const count = stack.argc;
  let at: usize = 1;
  to.name = 0;
  const internal = count > 4 && sameString(load<usize>(argv, 8), cstr("--exec"));
  if (internal) {
    to.name = load<usize>(argv, 16);
    to.fd = <i64>readDecimal(load<usize>(argv, 24));
    at = 4;
  }
  while (at < count && takeSetting(load<usize>(argv + at * 8))) at++;
  if (at < count && sameString(load<usize>(argv + at * 8), cstr("--"))) at++;
  else if (internal) return false;
  to.hidden = at;
  return at < count;
}
