/**
 * exec through the loader door: instead of the program, `zpoline-exec` is executed, and told in its first arguments what to
 * load. The program sees neither: it gets the arguments and the environment that it was given.
 *
 *     zpoline-exec --exec NAME FD [SETTING=VALUE]... -- [ARGUMENT]...
 *
 * NAME is what the kernel calls the program (AT_EXECFN), FD an open descriptor of it, which the door closes. What follows
 * `--` is the program's argv, its scripts resolved.
 *
 * Who runs this: any thread at an exec, also a child of vfork, whose memory is its parent's; the door itself at its start.
 */
import { countStrings, dropExecPages } from "../process/exec";
import { doorPath, nameOf, OURS, valueOf, valuesSize } from "../process/environment";
import { executablePath } from "../process/program";
import { currentThread } from "../process/thread";
import { NOT_READABLE, safeStringLength } from "../record/memory";
import { copyString, writeDecimal } from "../std/bytes";
import { cstr } from "../std/cstr";
import { O_NOFOLLOW } from "../std/files";
import { syscall6 } from "../std/raw";
import { AT_FDCWD, ENOMEM, failed, mapPages, SYS_EXECVE } from "../std/sys";
import { isExeLink } from "./exe-link";
import {
  AT_EMPTY_PATH,
  AT_SYMLINK_NOFOLLOW,
  closeTarget,
  findTarget,
  prefixAt,
  Target,
  TARGET_FOREIGN,
  TARGET_OURS,
  TARGET_ROOM,
} from "./target";

const SYS_FCNTL: u64 = 72;
const F_SETFD: u64 = 2;
const MOST_PATH: usize = 4096;
const SLASH: u8 = 0x2f;

/** Arguments in front of the program's: zpoline-exec, --exec, NAME, FD, the settings, --. */
const HIDDEN: usize = 5 + <usize>OURS;
/** The scripts' own; what an empty argv gets; the NULL. */
const ADDED: usize = 16;
const ROOM_FOR_NAMES: usize = 512;

/** An execve or execveat, with as many arguments. */
// @ts-ignore: decorator
@unmanaged
class ExecRequest {
  directory: i64;
  path: usize;
  argv: usize;
  count: usize;
  variables: usize;
  flags: u64;
}
// The memory of one exec: a Target, the request, a name, the array of arguments, their text.
const NAME_AT: usize = TARGET_ROOM + offsetof<ExecRequest>();
const ARRAY_AT: usize = (NAME_AT + MOST_PATH + 64 + 7) & ~7;

// What became of it, when it comes back; else -errno of the exec of the door.
/** The arguments are no good, or the kernel will refuse the program. */
export const EXEC_FAILS: i64 = 1;
/** The program cannot be loaded by us. */
export const EXEC_FOREIGN: i64 = 2;

/** Executes the program through the door; comes back when that cannot be done, with nothing changed. */
export function execThroughDoor(directory: i64, path: usize, argv: usize, variables: usize, flags: u64): i64 {
  if (flags & ~(AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW)) return EXEC_FAILS; // or only a check
  const length = safeStringLength(path, MOST_PATH);
  if (length >= MOST_PATH) return EXEC_FAILS; // NOT_READABLE, too
  if (!length && !(flags & AT_EMPTY_PATH)) return EXEC_FAILS;
  const count = countStrings(argv);
  if (count == NOT_READABLE) return EXEC_FAILS;
  const size = (ARRAY_AT + (HIDDEN + ADDED + count) * 8 + ROOM_FOR_NAMES + valuesSize() + 4095) & ~4095;
  const pages = mapPages(size);
  if (failed(pages)) return -ENOMEM;
  // A parent that waits for its child (vfork) frees this, once its child has executed.
  const thread = currentThread();
  thread.execPages = <usize>pages;
  thread.execSize = size;
  const request = changetype<ExecRequest>(<usize>pages + TARGET_ROOM);
  request.directory = directory;
  request.path = path;
  request.argv = argv;
  request.count = count;
  request.variables = variables;
  request.flags = flags;
  const result = execWith(request, changetype<Target>(<usize>pages));
  dropExecPages(thread);
  return result;
}

function execWith(request: ExecRequest, target: Target): i64 {
  const name = nameTarget(request, changetype<usize>(target) + NAME_AT);
  const openFlags = request.flags & AT_SYMLINK_NOFOLLOW ? O_NOFOLLOW : 0;
  const path = isExeLink(request.path) ? executablePath() : request.path;
  const kind = findTarget(target, request.directory, path, openFlags, name);
  let result: i64 = kind == TARGET_FOREIGN ? EXEC_FOREIGN : EXEC_FAILS;
  if (kind == TARGET_OURS) {
    const array = changetype<usize>(target) + ARRAY_AT;
    writeArguments(request, target, name, array);
    syscall6(SYS_FCNTL, target.fd, F_SETFD, 0, 0, 0, 0);
    result = syscall6(SYS_EXECVE, doorPath, array, request.variables, 0, 0, 0);
  }
  closeTarget(target);
  return result;
}

/** What the kernel calls the program (fs/exec.c, alloc_bprm); written to `to` where it is not the path itself. */
function nameTarget(request: ExecRequest, to: usize): usize {
  if (request.directory == <i64>AT_FDCWD || load<u8>(request.path) == SLASH) return request.path;
  let end = writeDecimal(copyString(to, cstr("/dev/fd/")), <u64>request.directory);
  if (load<u8>(request.path)) {
    store<u8>(end++, SLASH);
    end = copyString(end, request.path);
  }
  store<u8>(end, 0);
  return to;
}

function writeArguments(request: ExecRequest, target: Target, name: usize, array: usize): void {
  const count = request.count;
  let text = array + (HIDDEN + ADDED + count) * 8;
  let slot = add(array, cstr("zpoline-exec"));
  slot = add(slot, cstr("--exec"));
  slot = add(slot, name);
  slot = add(slot, text);
  text = writeDecimal(text, <u64>target.fd);
  store<u8>(text++, 0);
  for (let variable: u32 = 0; variable < OURS; variable++) {
    if (!valueOf(variable)) continue;
    slot = add(slot, text);
    text = copyString(copyString(text, nameOf(variable)), valueOf(variable)) + 1;
  }
  slot = add(slot, cstr("--"));
  for (let i: u32 = 0; i < target.prefixCount; i++) slot = add(slot, prefixAt(target, i));
  for (let i: usize = target.prefixCount ? 1 : 0; i < count; i++) slot = add(slot, load<usize>(request.argv + i * 8));
  if (!count && !target.prefixCount) slot = add(slot, cstr(""));
  store<usize>(slot, 0);
}

function add(slot: usize, text: usize): usize {
  store<usize>(slot, text);
  return slot + 8;
}
