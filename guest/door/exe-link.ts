/**
 * /proc/self/exe: the kernel says zpoline-exec, because that is what it has executed. Calls that name this link get what
 * they would get natively: the path and the file of the program.
 *
 * Only a name that is the whole path counts (/proc/self/exe, /proc/PID/exe, /proc/thread-self/exe). What other processes
 * see is not changed.
 *
 * Who runs this: any thread, before the kernel has looked at the path.
 */
import { Frame } from "../hook/frame";
import { executableLength, executablePath } from "../process/program";
import { currentThread } from "../process/thread";
import { NOT_READABLE, readable, safeStringLength } from "../record/memory";
import { copyString, least, readDecimal, sameString, startsWith, writeDecimal } from "../std/bytes";
import { cstr } from "../std/cstr";
import { O_NOFOLLOW } from "../std/files";
import { syscall6 } from "../std/raw";
import {
  AT_FDCWD,
  closeFile,
  EFAULT,
  EINVAL,
  failed,
  O_CLOEXEC,
  SYS_ACCESS,
  SYS_FACCESSAT,
  SYS_FACCESSAT2,
  SYS_NEWFSTATAT,
  SYS_OPEN,
  SYS_OPENAT,
  SYS_OPENAT2,
  SYS_READLINK,
  SYS_READLINKAT,
  SYS_STAT,
  SYS_STATX,
} from "../std/sys";

const AT_SYMLINK_NOFOLLOW: u64 = 0x100;
const O_PATH: u64 = 0o10000000;
/** No such name is longer. */
const MOST_NAME: usize = 64;
/** Length of "/proc/". */
const PROC: usize = 6;

/** The calls that answerExeLink is for. */
export const EXE_CALLS: StaticArray<u64> = [
  SYS_OPEN,
  SYS_STAT,
  SYS_ACCESS,
  SYS_READLINK,
  SYS_OPENAT,
  SYS_NEWFSTATAT,
  SYS_READLINKAT,
  SYS_FACCESSAT,
  SYS_STATX,
  SYS_OPENAT2,
  SYS_FACCESSAT2,
];
export const EXE_CALL_COUNT: u32 = 11;

/** Whether the number is one of them, in a process that the loader door has loaded. */
export function namesFiles(nr: u64): bool {
  if (!executableLength()) return false;
  for (let i: u32 = 0; i < EXE_CALL_COUNT; i++) if (unchecked(EXE_CALLS[i]) == nr) return true;
  return false;
}

/** Whether `path` is the link of this process. */
export function isExeLink(path: usize): bool {
  if (!executableLength() || !readable(path, PROC) || !startsWith(path, cstr("/proc/"))) return false;
  const length = safeStringLength(path, MOST_NAME);
  if (length == NOT_READABLE || length >= MOST_NAME) return false;
  let p = path + PROC;
  let end = p;
  while (load<u8>(end) && load<u8>(end) != 0x2f) end++;
  if (!sameString(end, cstr("/exe"))) return false;
  if (sameString(p, cstr("self/exe")) || sameString(p, cstr("thread-self/exe"))) return true;
  for (; p < end; p++) if (<u32>load<u8>(p) - 0x30 > 9) return false;
  const id = readDecimal(path + PROC);
  return id == currentThread().pid || id == currentThread().tid;
}

/** Whether the call has been answered here: then `f.result` is the answer. */
export function answerExeLink(f: Frame): bool {
  const nr = <u64>(<u32>f.nr);
  const at = nr != SYS_OPEN && nr != SYS_STAT && nr != SYS_ACCESS && nr != SYS_READLINK;
  const path = <usize>(at ? f.a1 : f.a0);
  if (!isExeLink(path)) return false;
  if (nr == SYS_READLINK || nr == SYS_READLINKAT) {
    f.result = <u64>(at ? readLink(f, path, f.a2, f.a3) : readLink(f, path, f.a1, f.a2));
    return true;
  }
  if (!follows(f, nr)) return false;
  const file = <u64>executablePath();
  f.result = <u64>(at ? syscall6(nr, f.a0, file, f.a2, f.a3, f.a4, f.a5) : syscall6(nr, file, f.a1, f.a2, 0, 0, 0));
  return true;
}

/** Whether the call is about what the link leads to. */
function follows(f: Frame, nr: u64): bool {
  if (nr == SYS_OPEN) return !(f.a1 & O_NOFOLLOW);
  if (nr == SYS_OPENAT) return !(f.a2 & O_NOFOLLOW);
  if (nr == SYS_OPENAT2) return readable(<usize>f.a2, 24) && !load<u64>(<usize>f.a2, 16) && !(load<u64>(<usize>f.a2) & O_NOFOLLOW);
  if (nr == SYS_STATX) return !(f.a2 & AT_SYMLINK_NOFOLLOW);
  if (nr == SYS_NEWFSTATAT || nr == SYS_FACCESSAT2) return !(f.a3 & AT_SYMLINK_NOFOLLOW);
  return true;
}

/**
 * The kernel writes the answer, by a link of its own to the program: it knows what can be written to. What lies behind the
 * answer in the buffer stays as it is.
 */
function readLink(f: Frame, path: usize, buffer: u64, size: u64): i64 {
  const scratch = changetype<usize>(f) + offsetof<Frame>("plan0"); // 24 bytes, free between enter and exit
  const answer = syscall6(SYS_READLINK, path, scratch, 1, 0, 0, 0);
  if (answer < 0) return answer; // no /proc here
  const fd = syscall6(SYS_OPENAT, AT_FDCWD, executablePath(), O_PATH | O_CLOEXEC, 0, 0, 0);
  if (failed(fd)) return copyPath(buffer, size);
  store<u8>(writeDecimal(copyString(scratch, cstr("/proc/self/fd/")), <u64>fd), 0);
  const length = syscall6(SYS_READLINK, scratch, buffer, size, 0, 0, 0);
  closeFile(fd);
  return length;
}

/** The program's file is gone, or out of reach. Natively the kernel would find a buffer that cannot be written to. */
function copyPath(buffer: u64, size: u64): i64 {
  if (<i32>size <= 0) return -EINVAL;
  const length = least(executableLength(), <u32>size);
  if (!readable(<usize>buffer, <usize>length)) return -EFAULT;
  memory.copy(<usize>buffer, executablePath(), <usize>length);
  return <i64>length;
}
