/**
 * What an exec would run, found out before the old image is gone: the chain of scripts, the program, its interpreter.
 * Whatever the kernel would refuse, or do otherwise than we can, is left to the kernel's own exec, which answers it.
 *
 * Who runs this: any thread, in memory that is its own; also a child of vfork.
 */
import { isRegular, O_NONBLOCK, Stat, statDescriptor } from "../std/files";
import { syscall6 } from "../std/raw";
import { copyString, writeDecimal } from "../std/bytes";
import { cstr } from "../std/cstr";
import {
  AT_FDCWD,
  closeFile,
  EINVAL,
  ENOSYS,
  failed,
  O_CLOEXEC,
  O_RDONLY,
  SYS_EXECVEAT,
  SYS_FACCESSAT,
  SYS_FACCESSAT2,
  SYS_GETEGID,
  SYS_GETEUID,
  SYS_OPENAT,
} from "../std/sys";
import { ELF_ROOM, ElfFile, headOf, isNative, hasMagic, openElf, readHead } from "./elf";
import { isScript, LINE_SIZE, parseLine, ScriptLine } from "./script";

const SYS_FSTATFS: u64 = 138;
const SYS_FGETXATTR: u64 = 193;
const SYS_FCNTL: u64 = 72;
const F_GETFD: u64 = 1;
const FD_CLOEXEC: i64 = 1;
const X_OK: u64 = 1;
const AT_EACCESS: u64 = 0x200;
export const AT_SYMLINK_NOFOLLOW: u64 = 0x100;
export const AT_EMPTY_PATH: u64 = 0x1000;
/** Linux 6.14: everything that an exec of the file checks first, ETXTBSY and security modules too. */
export const AT_EXECVE_CHECK: u64 = 0x10000;
const ST_NOEXEC: u64 = 8;
/** struct statfs: f_flags. */
const STATFS_FLAGS: usize = 80;
const STATFS_SIZE: usize = 128;
const S_ISUID: u32 = 0o4000;
const S_ISGID_XGRP: u32 = 0o2010;

/** A script of a script …: the kernel follows as many (fs/exec.c). */
const MOST_SCRIPTS: u32 = 5;

/** The program can be loaded by us. */
export const TARGET_OURS: u32 = 0;
/** The kernel's exec will fail, and knows how. */
export const TARGET_FAILS: u32 = 1;
/** The kernel will run it, but not through us: setuid, unreadable, foreign, … */
export const TARGET_FOREIGN: u32 = 2;

// @ts-ignore: decorator
@unmanaged
export class Target {
  /** Descriptor of the program, close-on-exec; the caller closes it. Negative: none. */
  fd: i64;
  /** What stands before argv[1], instead of argv[0]: addresses of strings. 0 where argv stays as it is. */
  prefixCount: u32;
  pad: u32;
  // Then MOST_PREFIX addresses, the lines, a Stat, room for statfs, an ElfFile.
}
/** The interpreter and its argument for each script, and the name of the outermost. */
const MOST_PREFIX: u32 = 2 * MOST_SCRIPTS + 1;
const PREFIX_AT: usize = offsetof<Target>();
const LINES_AT: usize = PREFIX_AT + <usize>MOST_PREFIX * 8;
const LINE_AT: usize = LINES_AT + <usize>MOST_SCRIPTS * LINE_SIZE;
const STAT_AT: usize = LINE_AT + offsetof<ScriptLine>();
const STATFS_AT: usize = STAT_AT + offsetof<Stat>();
const ELF_AT: usize = (STATFS_AT + STATFS_SIZE + 7) & ~7;
export const TARGET_ROOM: usize = ELF_AT + ELF_ROOM;

/** Address of the `i`-th string of the prefix. */
export function prefixAt(target: Target, i: u32): usize {
  return load<usize>(changetype<usize>(target) + PREFIX_AT + <usize>i * 8);
}

/** The kernel has no AT_EXECVE_CHECK. */
let withoutCheck: bool = false;

/**
 * Looks at what `path` (from directory `directory`, or `directory` itself where it is empty) would run. `name`: what the
 * kernel calls it: a script's argument, AT_EXECFN. Answers TARGET_*.
 */
export function findTarget(target: Target, directory: i64, path: usize, openFlags: u64, name: usize): u32 {
  target.fd = -1;
  target.prefixCount = 0;
  let at = directory;
  let from = path;
  let flags = openFlags;
  for (let scripts: u32 = 0; ; scripts++) {
    const answer = openProgram(target, at, from, flags);
    if (answer) return answer;
    const file = changetype<ElfFile>(changetype<usize>(target) + ELF_AT);
    if (failed(readHead(file, target.fd))) return TARGET_FAILS;
    if (!isScript(headOf(file))) return judge(target, file);
    if (scripts == MOST_SCRIPTS) return TARGET_FAILS; // ELOOP
    if (name != path && closesAtExec(directory)) return TARGET_FAILS; // its interpreter could not open it
    const head = changetype<usize>(target) + LINES_AT + <usize>scripts * LINE_SIZE;
    memory.copy(head, headOf(file), LINE_SIZE);
    const line = changetype<ScriptLine>(changetype<usize>(target) + LINE_AT);
    if (!parseLine(head, line)) return TARGET_FAILS;
    prepend(target, line, name);
    closeTarget(target);
    at = <i64>AT_FDCWD;
    from = line.interpreter;
    flags = 0;
  }
  return TARGET_FAILS;
}

function closesAtExec(fd: i64): bool {
  const flags = syscall6(SYS_FCNTL, fd, F_GETFD, 0, 0, 0, 0);
  return flags > 0 && (flags & FD_CLOEXEC) != 0;
}

export function closeTarget(target: Target): void {
  if (target.fd >= 0) closeFile(target.fd);
  target.fd = -1;
}

/** The interpreter takes the place of what stood first, which has become an argument under the name that it was found by. */
function prepend(target: Target, line: ScriptLine, name: usize): void {
  const added: u32 = line.argument ? 2 : 1;
  const first = changetype<usize>(target) + PREFIX_AT;
  if (!target.prefixCount) {
    store<usize>(first, name);
    target.prefixCount = 1;
  }
  memory.copy(first + <usize>added * 8, first, <usize>target.prefixCount * 8);
  store<usize>(first, line.interpreter);
  if (line.argument) store<usize>(first, line.argument, 8);
  target.prefixCount += added;
}

/** Opens a file that the kernel would execute, as far as it can be told without its contents. */
function openProgram(target: Target, directory: i64, path: usize, openFlags: u64): u32 {
  const stat = changetype<Stat>(changetype<usize>(target) + STAT_AT);
  const flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | openFlags;
  // A descriptor itself (fexecve) may be write-only or O_PATH: what it stands for is opened again.
  const fd = load<u8>(path) ? syscall6(SYS_OPENAT, directory, path, flags, 0, 0, 0) : reopen(directory, flags, target);
  // What could not be read may be executed all the same.
  if (failed(fd)) return allowsExecution(directory, path) ? TARGET_FOREIGN : TARGET_FAILS;
  target.fd = fd;
  if (!statDescriptor(fd, stat) || !isRegular(stat) || !mayExecute(target)) return TARGET_FAILS;
  return TARGET_OURS;
}

function reopen(fd: i64, flags: u64, target: Target): i64 {
  const path = changetype<usize>(target) + STATFS_AT;
  store<u8>(writeDecimal(copyString(path, cstr("/proc/self/fd/")), <u64>fd), 0);
  return syscall6(SYS_OPENAT, AT_FDCWD, path, flags, 0, 0, 0);
}

/** Linux before 5.8 is asked about the real user instead of the effective one. */
function allowsExecution(directory: i64, path: usize): bool {
  const answer = syscall6(SYS_FACCESSAT2, directory, path, X_OK, AT_EACCESS | AT_EMPTY_PATH, 0, 0);
  return answer == -ENOSYS ? syscall6(SYS_FACCESSAT, directory, path, X_OK, 0, 0, 0) == 0 : answer == 0;
}

const noArguments: StaticArray<usize> = [0, 0];

function mayExecute(target: Target): bool {
  const fd = target.fd;
  if (!withoutCheck) {
    const strings = changetype<usize>(noArguments);
    store<usize>(strings, cstr("zpoline"));
    const flags = AT_EMPTY_PATH | AT_EXECVE_CHECK;
    const answer = syscall6(SYS_EXECVEAT, fd, cstr(""), strings, strings + 8, flags, 0);
    if (answer != -EINVAL) return answer == 0;
    withoutCheck = true;
  }
  if (!allowsExecution(fd, cstr(""))) return false;
  const statfs = changetype<usize>(target) + STATFS_AT;
  if (syscall6(SYS_FSTATFS, fd, statfs, 0, 0, 0, 0) != 0) return true;
  return !(load<u64>(statfs, STATFS_FLAGS) & ST_NOEXEC);
}

function judge(target: Target, file: ElfFile): u32 {
  if (!hasMagic(file)) return TARGET_FAILS; // or something that binfmt_misc knows
  if (!isNative(file)) return TARGET_FOREIGN;
  if (openElf(file, false)) return TARGET_FAILS;
  if (gainsRights(target)) return TARGET_FOREIGN;
  return file.interpreter && !hasInterpreter(file) ? TARGET_FAILS : TARGET_OURS;
}

/** Room for the interpreter's own file lies behind nothing that is still needed: only its head is looked at. */
function hasInterpreter(file: ElfFile): bool {
  const fd = syscall6(SYS_OPENAT, AT_FDCWD, file.interpreter, O_RDONLY | O_CLOEXEC | O_NONBLOCK, 0, 0, 0);
  if (failed(fd)) return false;
  const taken = allowsExecution(fd, cstr("")) && !failed(readHead(file, fd)) && !openElf(file, true);
  closeFile(fd);
  return taken;
}

/**
 * setuid, setgid, file capabilities: the kernel alone can give them. (Where it would not, because of no_new_privs or nosuid,
 * they are executed by it all the same.)
 */
function gainsRights(target: Target): bool {
  const stat = changetype<Stat>(changetype<usize>(target) + STAT_AT);
  if (stat.mode & S_ISUID && <i64>stat.uid != syscall6(SYS_GETEUID, 0, 0, 0, 0, 0, 0)) return true;
  const group = (stat.mode & S_ISGID_XGRP) == S_ISGID_XGRP;
  if (group && <i64>stat.gid != syscall6(SYS_GETEGID, 0, 0, 0, 0, 0, 0)) return true;
  return syscall6(SYS_FGETXATTR, target.fd, cstr("security.capability"), 0, 0, 0, 0) > 0;
}
