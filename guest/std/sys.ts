/** The system calls that the guest makes itself, by number, and what they take. Results are rax: ≥ 0, or -errno. */
import { syscall6 } from "./raw";

export const SYS_READ: u64 = 0;
export const SYS_WRITE: u64 = 1;
export const SYS_OPEN: u64 = 2;
export const SYS_CLOSE: u64 = 3;
export const SYS_STAT: u64 = 4;
export const SYS_FSTAT: u64 = 5;
export const SYS_MMAP: u64 = 9;
export const SYS_MPROTECT: u64 = 10;
export const SYS_MUNMAP: u64 = 11;
export const SYS_BRK: u64 = 12;
export const SYS_RT_SIGACTION: u64 = 13;
export const SYS_RT_SIGPROCMASK: u64 = 14;
export const SYS_RT_SIGRETURN: u64 = 15;
export const SYS_PWRITE64: u64 = 18;
export const SYS_ACCESS: u64 = 21;
export const SYS_MREMAP: u64 = 25;
export const SYS_MADVISE: u64 = 28;
export const SYS_NANOSLEEP: u64 = 35;
export const SYS_GETPID: u64 = 39;
export const SYS_CLONE: u64 = 56;
export const SYS_FORK: u64 = 57;
export const SYS_VFORK: u64 = 58;
export const SYS_EXECVE: u64 = 59;
export const SYS_EXIT: u64 = 60;
export const SYS_SHMAT: u64 = 30;
export const SYS_SHMDT: u64 = 67;
export const SYS_READLINK: u64 = 89;
export const SYS_GETEUID: u64 = 107;
export const SYS_GETEGID: u64 = 108;
export const SYS_GETPPID: u64 = 110;
export const SYS_SIGALTSTACK: u64 = 131;
export const SYS_PERSONALITY: u64 = 135;
export const SYS_PRCTL: u64 = 157;
export const SYS_ARCH_PRCTL: u64 = 158;
export const SYS_GETTID: u64 = 186;
export const SYS_CLOCK_GETTIME: u64 = 228;
export const SYS_EXIT_GROUP: u64 = 231;
export const SYS_TGKILL: u64 = 234;
export const SYS_OPENAT: u64 = 257;
export const SYS_PSELECT6: u64 = 270;
export const SYS_PPOLL: u64 = 271;
export const SYS_EPOLL_PWAIT: u64 = 281;
export const SYS_RT_TGSIGQUEUEINFO: u64 = 297;
export const SYS_EPOLL_PWAIT2: u64 = 441;
export const SYS_RT_SIGPENDING: u64 = 127;
export const SYS_RT_SIGTIMEDWAIT: u64 = 128;
export const SYS_RT_SIGSUSPEND: u64 = 130;
export const SYS_NEWFSTATAT: u64 = 262;
export const SYS_READLINKAT: u64 = 267;
export const SYS_FACCESSAT: u64 = 269;
export const SYS_SECCOMP: u64 = 317;
export const SYS_EXECVEAT: u64 = 322;
export const SYS_PKEY_MPROTECT: u64 = 329;
export const SYS_STATX: u64 = 332;
export const SYS_IO_URING_SETUP: u64 = 425;
export const SYS_CLONE3: u64 = 435;
export const SYS_OPENAT2: u64 = 437;
export const SYS_FACCESSAT2: u64 = 439;

export const PROT_NONE: u64 = 0;
export const PROT_READ: u64 = 1;
export const PROT_WRITE: u64 = 2;
export const PROT_EXEC: u64 = 4;
export const MAP_SHARED: u64 = 0x01;
export const MAP_PRIVATE: u64 = 0x02;
export const MAP_FIXED: u64 = 0x10;
export const MAP_ANONYMOUS: u64 = 0x20;
export const MAP_NORESERVE: u64 = 0x4000;
export const MAP_POPULATE: u64 = 0x8000;
export const MAP_FIXED_NOREPLACE: u64 = 0x100000;
export const MREMAP_FIXED: u64 = 2;
export const SHM_REMAP: u64 = 0o40000;
export const O_RDONLY: u64 = 0;
export const O_RDWR: u64 = 2;
export const O_CLOEXEC: u64 = 0o2000000;
export const AT_FDCWD: u64 = <u64>-100;
export const CLONE_VM: u64 = 0x100;
export const CLONE_SIGHAND: u64 = 0x800;
export const CLONE_VFORK: u64 = 0x4000;
export const CLONE_CLEAR_SIGHAND: u64 = 0x1_0000_0000;
export const SIGCHLD: u64 = 17;
export const ARCH_SET_GS: u64 = 0x1001;
export const PR_SET_TSC: u64 = 26;
export const CLOCK_REALTIME: u64 = 0;

export const EPERM: i64 = 1;
export const ESRCH: i64 = 3;
export const EINTR: i64 = 4;
export const E2BIG: i64 = 7;
export const EAGAIN: i64 = 11;
export const ENOMEM: i64 = 12;
export const EACCES: i64 = 13;
export const EFAULT: i64 = 14;
export const EEXIST: i64 = 17;
export const EINVAL: i64 = 22;
export const ENOSYS: i64 = 38;

/** mmap and friends answer an address, or -4095…-1. */
// @ts-ignore: decorator
@inline
export function failed(result: i64): bool {
  return <u64>result > <u64>-4096;
}

export function openFile(path: usize, flags: u64): i64 {
  return syscall6(SYS_OPENAT, AT_FDCWD, path, flags, 0, 0, 0);
}

export function closeFile(fd: i64): void {
  syscall6(SYS_CLOSE, fd, 0, 0, 0, 0, 0);
}

/** Zeroed private memory, or -errno. */
export function mapPages(size: usize): i64 {
  return syscall6(SYS_MMAP, 0, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, <u64>-1, 0);
}

export function unmapPages(address: usize, size: usize): void {
  syscall6(SYS_MUNMAP, address, size, 0, 0, 0, 0);
}

// @ts-ignore: decorator
@unmanaged
export class Timespec {
  seconds: i64;
  nanoseconds: i64;
}

export function writeAll(fd: i64, bytes: usize, length: usize): void {
  while (length) {
    const n = syscall6(SYS_WRITE, fd, bytes, length, 0, 0, 0);
    if (n <= 0) return;
    bytes += <usize>n;
    length -= <usize>n;
  }
}
