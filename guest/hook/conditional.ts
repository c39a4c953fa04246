/** Arguments that are pointers or not depending on others (letter c in src/syscalls/pointers.ts). */
import { POINTER_OPTIONAL, POINTER_REQUIRED } from "../../src/image/layout";
import { Frame } from "./frame";

const SYS_POLL: u32 = 7;
const SYS_IOCTL: u32 = 16;
const SYS_ACCEPT: u32 = 43;
const SYS_RECVFROM: u32 = 45;
const SYS_SETSOCKOPT: u32 = 54;
const SYS_SEMCTL: u32 = 66;
const SYS_FCNTL: u32 = 72;
const SYS_PRCTL: u32 = 157;
const SYS_FUTIMESAT: u32 = 261;
const SYS_UTIMENSAT: u32 = 280;
const SYS_ACCEPT4: u32 = 288;
const SYS_PPOLL: u32 = 271;
const SYS_SECCOMP: u32 = 317;
const SYS_MOVE_MOUNT: u32 = 429;
const SYS_FSPICK: u32 = 433;

// fcntl (linux/fcntl.h, asm-generic/fcntl.h)
const F_GETLK: u32 = 5;
const F_SETLKW: u32 = 7;
const F_SETOWN_EX: u32 = 15;
const F_OFD_GETLK: u32 = 36;
const F_OFD_SETLKW: u32 = 38;
const F_SET_RW_HINT: u32 = 1036;
const F_SET_FILE_RW_HINT: u32 = 1038;
/** ioctl requests whose argument goes to the kernel say so in this bit (_IOC_WRITE, asm-generic/ioctl.h). */
const IOC_WRITE: u32 = 1 << 30;
/** Bits 8…15 of a request; of these, older than _IOC_WRITE, all take a pointer. */
const IOC_SOCKET: u32 = 0x89;
const IPPROTO_IPV6: u32 = 41;
const IPC_SET: u32 = 1;
const SETALL: u32 = 17;
const PR_SET_NAME: u32 = 15;
const AT_FDCWD: i32 = -100;
const FSPICK_EMPTY_PATH: u64 = 8;
const MOVE_MOUNT_F_EMPTY_PATH: u64 = 0x04;
const MOVE_MOUNT_T_EMPTY_PATH: u64 = 0x40;
const SECCOMP_SET_MODE_FILTER: u32 = 1;

/** Argument `index` is POINTER_REQUIRED, POINTER_OPTIONAL or 0: no pointer. */
export function conditionalKind(f: Frame, index: u32): u32 {
  const nr = <u32>f.nr;
  const second = <u32>f.a1;
  let pointer: bool = false;
  if (nr == SYS_IOCTL) pointer = ioctlReads(second);
  else if (nr == SYS_FCNTL) pointer = fcntlReads(second);
  else if (nr == SYS_POLL || nr == SYS_PPOLL) pointer = second != 0; // without descriptors it sleeps: at the call site
  else if (nr == SYS_ACCEPT || nr == SYS_ACCEPT4) pointer = f.a1 != 0;
  else if (nr == SYS_RECVFROM) pointer = f.a4 != 0;
  else if (nr == SYS_SETSOCKOPT) return second == IPPROTO_IPV6 ? POINTER_OPTIONAL : POINTER_REQUIRED;
  else if (nr == SYS_SEMCTL) pointer = (<u32>f.a2 & 0xff) == IPC_SET || (<u32>f.a2 & 0xff) == SETALL;
  else if (nr == SYS_PRCTL) pointer = <u32>f.a0 == PR_SET_NAME;
  else if (nr == SYS_SECCOMP) pointer = <u32>f.a0 == SECCOMP_SET_MODE_FILTER;
  else if (nr == SYS_UTIMENSAT || nr == SYS_FUTIMESAT) {
    return <i32>f.a0 == AT_FDCWD ? POINTER_REQUIRED : POINTER_OPTIONAL;
  }
  else if (nr == SYS_FSPICK) return path(f.a2, FSPICK_EMPTY_PATH);
  else if (nr == SYS_MOVE_MOUNT) return path(f.a4, index == 1 ? MOVE_MOUNT_F_EMPTY_PATH : MOVE_MOUNT_T_EMPTY_PATH);
  return pointer ? POINTER_REQUIRED : 0;
}

function path(flags: u64, mayBeMissing: u64): u32 {
  return flags & mayBeMissing ? POINTER_OPTIONAL : POINTER_REQUIRED;
}

function fcntlReads(command: u32): bool {
  if (command >= F_GETLK && command <= F_SETLKW) return true;
  if (command >= F_OFD_GETLK && command <= F_OFD_SETLKW) return true;
  return command == F_SETOWN_EX || command == F_SET_RW_HINT || command == F_SET_FILE_RW_HINT;
}

/** By asm-generic/ioctls.h for the requests of terminals and files, which are older than IOC_WRITE. */
function ioctlReads(request: u32): bool {
  if (request & IOC_WRITE || request >> 8 == IOC_SOCKET) return true;
  if (request >= TCSETS && request <= TCSETSF) return true;
  if (request >= TCSETA && request <= TCSETAF) return true;
  return request == TIOCSPGRP || request == TIOCSTI || request == TIOCSWINSZ || request == FIONBIO || request == FIOASYNC;
}

const TCSETS: u32 = 0x5402;
const TCSETSF: u32 = 0x5404;
const TCSETA: u32 = 0x5406;
const TCSETAF: u32 = 0x5408;
const TIOCSPGRP: u32 = 0x5410;
const TIOCSTI: u32 = 0x5412;
const TIOCSWINSZ: u32 = 0x5414;
const FIONBIO: u32 = 0x5421;
const FIOASYNC: u32 = 0x5452;
