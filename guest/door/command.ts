/**
 * zpoline-exec from a command line: finds the program as execvp(3) does, and executes it through the door, as every later
 * exec is.
 *
 * Runs once, with one thread.
 */
import { GAP_EXEC_UNHOOKED } from "../../src/image/layout";
import { recordGap } from "../record/record";
import { copyString, startsWith, stringLength } from "../std/bytes";
import { cstr } from "../std/cstr";
import { syscall6 } from "../std/raw";
import { AT_FDCWD, EACCES, SYS_EXECVE } from "../std/sys";
import { complain } from "./complain";
import { ENOEXEC } from "./elf";
import { EXEC_FAILS, execThroughDoor } from "./exec";

const ENOENT: i64 = 2;
const ENOTDIR: i64 = 20;
const COLON: u8 = 0x3a;
const SLASH: u8 = 0x2f;
const MOST_PATH: usize = 4096;

const candidate: usize = memory.data(8192, 8);

/** Whether this process is hooked already, by another zpoline: then that follows the exec. */
let hooked: bool = false;

/** Does not come back. `argv` and `variables` are the program's. `byOthers`: this process is hooked already. */
export function runCommand(argv: usize, variables: usize, byOthers: bool): void {
  hooked = byOthers;
  const name = load<usize>(argv);
  let error: i64 = -ENOENT;
  if (hasSlash(name) || !load<u8>(name)) {
    error = execute(name, argv, variables);
  } else if (stringLength(name) < MOST_PATH) {
    error = search(name, argv, variables);
  }
  if (error == -ENOENT || error == -ENOTDIR) complain(cstr("PROGRAM_NOT_FOUND"), name, <u64>-error, 127);
  if (error == -ENOEXEC) complain(cstr("PROGRAM_FORMAT"), name, <u64>-error, 126);
  complain(cstr("PROGRAM_NOT_EXECUTABLE"), name, <u64>-error, 126);
}

function hasSlash(name: usize): bool {
  for (let p = name; load<u8>(p); p++) if (load<u8>(p) == SLASH) return true;
  return false;
}

/** In the directories of PATH; -errno of the one that stopped the search. */
function search(name: usize, argv: usize, variables: usize): i64 {
  let refused = false;
  for (let p = searchPath(variables); ; ) {
    let end = p;
    while (load<u8>(end) && load<u8>(end) != COLON) end++;
    if (end - p < MOST_PATH - 2) {
      memory.copy(candidate, p, end - p);
      let to = candidate + (end - p);
      if (end > p) store<u8>(to++, SLASH);
      copyString(to, name);
      const error = execute(candidate, argv, variables);
      if (error == -EACCES) refused = true;
      else if (error != -ENOENT && error != -ENOTDIR) return error;
    }
    if (!load<u8>(end)) return refused ? -EACCES : -ENOENT;
    p = end + 1;
  }
  return -ENOENT;
}

function searchPath(variables: usize): usize {
  for (let p = variables; load<usize>(p); p += 8) {
    if (startsWith(load<usize>(p), cstr("PATH="))) return load<usize>(p) + 5;
  }
  return cstr("/bin:/usr/bin"); // confstr(_CS_PATH)
}

/** Through the door; where that cannot be, as the kernel does. */
function execute(path: usize, argv: usize, variables: usize): i64 {
  if (!hooked && execThroughDoor(<i64>AT_FDCWD, path, argv, variables, 0) != EXEC_FAILS) {
    recordGap(GAP_EXEC_UNHOOKED, 0, path, <u32>stringLength(path));
  }
  return syscall6(SYS_EXECVE, path, argv, variables, 0, 0, 0);
}
