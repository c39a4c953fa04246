/** Files: their status and their names. Results are those of the system calls: ≥ 0, or -errno. */
import { syscall6 } from "./raw";
import { SIG_BLOCK, SIG_SETMASK, SIGSET_SIZE } from "./signals";
import { AT_FDCWD, failed, SYS_FSTAT, SYS_NEWFSTATAT, SYS_OPENAT, SYS_RT_SIGPROCMASK, SYS_WRITE } from "./sys";

const SYS_MKDIRAT: u64 = 258;
const SYS_UNLINKAT: u64 = 263;
const SYS_RENAMEAT: u64 = 264;
const SYS_RT_SIGTIMEDWAIT: u64 = 128;
const SIGPIPE_BIT: u64 = 1 << 12;
const SIGXFSZ_BIT: u64 = 1 << 24;
const EFBIG: i64 = 27;
const EPIPE: i64 = 32;

export const O_WRONLY: u64 = 1;
export const O_CREAT: u64 = 0o100;
export const O_EXCL: u64 = 0o200;
export const O_APPEND: u64 = 0o2000;
export const O_NONBLOCK: u64 = 0o4000;
export const O_DIRECTORY: u64 = 0o200000;
export const O_NOFOLLOW: u64 = 0o400000;

/** struct stat of x86-64 (asm/stat.h). */
// @ts-ignore: decorator
@unmanaged
export class Stat {
  device: u64;
  inode: u64;
  links: u64;
  mode: u32;
  uid: u32;
  gid: u32;
  pad: u32;
  rdev: u64;
  size: u64;
  blockSize: u64;
  blocks: u64;
  atime: u64;
  atimeNs: u64;
  mtime: u64;
  mtimeNs: u64;
  ctime: u64;
  ctimeNs: u64;
  unused0: u64;
  unused1: u64;
  unused2: u64;
}
const S_IFMT: u32 = 0o170000;
const S_IFREG: u32 = 0o100000;

// @ts-ignore: decorator
@inline
export function isRegular(stat: Stat): bool {
  return (stat.mode & S_IFMT) == S_IFREG;
}

export function statFile(path: usize, stat: Stat): bool {
  return !failed(syscall6(SYS_NEWFSTATAT, AT_FDCWD, path, changetype<usize>(stat), 0, 0, 0));
}

export function statDescriptor(fd: i64, stat: Stat): bool {
  return !failed(syscall6(SYS_FSTAT, fd, changetype<usize>(stat), 0, 0, 0, 0));
}

export function openAt(directory: i64, path: usize, flags: u64, mode: u64): i64 {
  return syscall6(SYS_OPENAT, directory, path, flags, mode, 0, 0);
}

export function makeDirectory(path: usize, mode: u64): i64 {
  return syscall6(SYS_MKDIRAT, AT_FDCWD, path, mode, 0, 0, 0);
}

export function renameIn(directory: i64, from: usize, to: usize): i64 {
  return syscall6(SYS_RENAMEAT, directory, from, directory, to, 0, 0);
}

export function unlinkIn(directory: i64, name: usize): void {
  syscall6(SYS_UNLINKAT, directory, name, 0, 0, 0, 0);
}

/**
 * write(2) of which the program notices nothing: no signal handler of it runs meanwhile, and the signals of a broken pipe and
 * of a file that is too long are taken back. `room` has QUIET_ROOM bytes.
 */
export function quietWrite(fd: i64, bytes: usize, length: usize, room: usize): i64 {
  store<u64>(room, <u64>-1, 8);
  syscall6(SYS_RT_SIGPROCMASK, SIG_BLOCK, room + 8, room, SIGSET_SIZE, 0, 0);
  const result = syscall6(SYS_WRITE, fd, bytes, length, 0, 0, 0);
  store<u64>(room, result == -EPIPE ? SIGPIPE_BIT : result == -EFBIG ? SIGXFSZ_BIT : 0, 8);
  if (load<u64>(room, 8)) {
    store<u64>(room, 0, 16);
    store<u64>(room, 0, 24);
    syscall6(SYS_RT_SIGTIMEDWAIT, room + 8, 0, room + 16, SIGSET_SIZE, 0, 0);
  }
  syscall6(SYS_RT_SIGPROCMASK, SIG_SETMASK, room, 0, SIGSET_SIZE, 0, 0);
  return result;
}
export const QUIET_ROOM: usize = 32;
