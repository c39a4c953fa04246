/**
 * System calls by `int $0x80`: a 64-bit program may make those of 32-bit programs (arch/x86/entry/syscalls/syscall_32.tbl). They
 * are made by an instruction of ours (src/image/int80-stub.ts) and recorded with their own numbers. What changes memory,
 * masks or this very trap is made as the 64-bit call that does the same. A C hook does not get them: its arguments would mean
 * something else.
 *
 * Who runs this: fromTrap the handler of SIGSYS; the rest any thread at such a call, on the program's stack below its red zone.
 */
import {
  FRAME_SIZE,
  FRAME_TO_PROGRAM,
  GAP_INT80,
  INT80_IP,
  INT80_SAVED,
  INT80_SIZE,
  INT80_SP,
  VERDICT_CALL,
  VERDICT_CALL_EXIT,
  VERDICT_RAW,
  VERDICT_SKIP,
} from "../../src/image/layout";
import { specialEnter, specialExit } from "../hook/dispatch";
import { Frame } from "../hook/frame";
import { LIBZPHOOK, valueOf } from "../process/environment";
import { enterChild, prepareChild, releaseChild } from "../process/clone";
import { ownIn } from "../process/own";
import { currentThread, retireBlock } from "../process/thread";
import { mappingsChanged, readable } from "../record/memory";
import { recordGap, recordInt80, recordInt80Exit } from "../record/record";
import { releaseChunk, ring } from "../record/ring";
import { mappedExecutable } from "../rewrite/rewrite";
import { stringLength } from "../std/bytes";
import { cstr } from "../std/cstr";
import { syscall6 } from "../std/raw";
import { UC_RIP, UC_RSP } from "../std/signals";
import {
  CLONE_VFORK,
  CLONE_VM,
  EAGAIN,
  ENOMEM,
  failed,
  MAP_FIXED,
  PROT_EXEC,
  SIGCHLD,
  SYS_BRK,
  SYS_EXIT,
  SYS_IO_URING_SETUP,
  SYS_MADVISE,
  SYS_MPROTECT,
  SYS_MUNMAP,
  SYS_PKEY_MPROTECT,
  SYS_PRCTL,
  SYS_RT_SIGPROCMASK,
} from "../std/sys";

// @ts-ignore: decorator
@external("symbol", "zp_int80_entry")
declare function zp_int80_entry(): usize;

const EXIT: u32 = 1;
const FORK: u32 = 2;
const EXECVE: u32 = 11;
const BRK: u32 = 45;
const SIGNAL: u32 = 48;
const SIGACTION: u32 = 67;
const SSETMASK: u32 = 69;
const SIGSUSPEND: u32 = 72;
const MMAP: u32 = 90;
const MUNMAP: u32 = 91;
const IPC: u32 = 117;
const SIGRETURN: u32 = 119;
const CLONE: u32 = 120;
const MPROTECT: u32 = 125;
const SIGPROCMASK: u32 = 126;
const MREMAP: u32 = 163;
const PRCTL: u32 = 172;
const RT_SIGRETURN: u32 = 173;
const RT_SIGACTION: u32 = 174;
const RT_SIGPROCMASK: u32 = 175;
const RT_SIGTIMEDWAIT: u32 = 177;
const RT_SIGSUSPEND: u32 = 179;
const SIGALTSTACK: u32 = 186;
const VFORK: u32 = 190;
const MMAP2: u32 = 192;
const MADVISE: u32 = 219;
const EXIT_GROUP: u32 = 252;
const PSELECT6: u32 = 308;
const PPOLL: u32 = 309;
const EPOLL_PWAIT: u32 = 319;
const SECCOMP: u32 = 354;
const EXECVEAT: u32 = 358;
const PKEY_MPROTECT: u32 = 380;
const SHMAT: u32 = 397;
const PSELECT6_TIME64: u32 = 413;
const PPOLL_TIME64: u32 = 414;
const RT_SIGTIMEDWAIT_TIME64: u32 = 421;
const IO_URING_SETUP: u32 = 425;
const CLONE3: u32 = 435;
const EPOLL_PWAIT2: u32 = 441;

const PR_SET_SECCOMP: u32 = 22;
/** A signal frame lies within so many bytes of the stack pointer below which it was put. */
const NEAR: usize = 32768;

/** Sends the thread to zp_int80_entry. `words`: room below the signal frame, of INT80_SIZE bytes. */
export function fromTrap(context: usize, words: usize): void {
  const sp = load<usize>(context, UC_RSP);
  // On another stack than the signal frame's the program may use all that lies above: right below its own is free memory.
  if (words > sp || sp - words > NEAR) words = (sp - FRAME_TO_PROGRAM - INT80_SAVED - INT80_SIZE) & ~7;
  store<usize>(words, sp, INT80_SP);
  store<usize>(words, load<usize>(context, UC_RIP), INT80_IP);
  store<usize>(context, words, UC_RSP);
  store<usize>(context, zp_int80_entry(), UC_RIP);
}

let reportedHook: bool = false;

/** Before the call; answers a VERDICT_*: VERDICT_CALL, VERDICT_SKIP, or VERDICT_RAW for what does not return. */
export function on_int80(f: Frame): u32 {
  if (ring) recordInt80(f);
  if (valueOf(LIBZPHOOK) && !reportedHook) {
    reportedHook = true;
    report(f, cstr("not seen by the C hook"));
  }
  const verdict = enter(f);
  if (verdict == VERDICT_SKIP && ring) recordInt80Exit(f);
  return verdict;
}

function report(f: Frame, detail: usize): void {
  recordGap(GAP_INT80, <u64>(<u32>f.nr), detail, <u32>stringLength(detail));
}

function enter(f: Frame): u32 {
  switch (<u32>f.nr) {
    case EXIT:
      releaseChunk();
      retireBlock(currentThread());
      syscall6(SYS_EXIT, <u64>(<u32>f.a0), 0, 0, 0, 0, 0); // from here, because the block may belong to somebody else already
      return VERDICT_CALL;
    case EXIT_GROUP:
      releaseChunk();
      retireBlock(currentThread()); // a process that shares our memory goes on
      return VERDICT_CALL;
    case FORK:
      return clone(f, SIGCHLD, 0);
    case VFORK:
      return clone(f, CLONE_VFORK | SIGCHLD, 0); // with memory of its own, which no program can tell by the rules of vfork
    case CLONE:
      return clone(f, <u64>(<u32>f.a0), <usize>(<u32>f.a1));
    case SIGRETURN:
    case RT_SIGRETURN:
      return VERDICT_RAW;
    case EXECVE:
    case EXECVEAT:
      releaseChunk();
      report(f, cstr("execve"));
      return VERDICT_CALL;
    case BRK:
      return as64(f, SYS_BRK);
    case MUNMAP:
      return as64(f, SYS_MUNMAP);
    case MPROTECT:
      return as64(f, SYS_MPROTECT);
    case PKEY_MPROTECT:
      return as64(f, SYS_PKEY_MPROTECT);
    case MADVISE:
      return as64(f, SYS_MADVISE);
    case RT_SIGPROCMASK:
      return as64(f, SYS_RT_SIGPROCMASK);
    case IO_URING_SETUP:
      return as64(f, SYS_IO_URING_SETUP);
    case PRCTL:
      if (<u32>f.a0 != PR_SET_SECCOMP) return as64(f, SYS_PRCTL);
      report(f, cstr("a seccomp filter"));
      return VERDICT_CALL;
    case SECCOMP:
      report(f, cstr("a seccomp filter"));
      return VERDICT_CALL;
    case MMAP:
      return oldArgument(f, OLD_FLAGS) & MAP_FIXED ? unlessOurs(f, oldArgument(f, 0), oldArgument(f, OLD_LENGTH)) : VERDICT_CALL;
    case MMAP2:
      return f.a3 & MAP_FIXED ? unlessOurs(f, f.a0, f.a1) : VERDICT_CALL;
    case MREMAP:
      return unlessOurs(f, f.a0, f.a1);
    case CLONE3:
      report(f, cstr("clone3"));
      return VERDICT_CALL;
    case SIGNAL:
    case SIGACTION:
    case SSETMASK:
    case SIGSUSPEND:
    case SIGPROCMASK:
    case RT_SIGACTION:
    case RT_SIGTIMEDWAIT:
    case RT_SIGSUSPEND:
    case SIGALTSTACK:
    case PSELECT6:
    case PPOLL:
    case EPOLL_PWAIT:
    case PSELECT6_TIME64:
    case PPOLL_TIME64:
    case RT_SIGTIMEDWAIT_TIME64:
    case EPOLL_PWAIT2:
      report(f, cstr("a call that changes signals"));
      return VERDICT_CALL;
    default:
      return VERDICT_CALL;
  }
}

/** The old mmap has its arguments in memory, as six u32. */
const OLD_LENGTH: usize = 4;
const OLD_PROTECTION: usize = 8;
const OLD_FLAGS: usize = 12;

function oldArgument(f: Frame, offset: usize): u64 {
  const at = <usize>(<u32>f.a0) + offset;
  return readable(at, 4) ? <u64>load<u32>(at) : 0;
}

/** The 64-bit call `nr` does the same with the same arguments: it is made from here. `f` keeps what is recorded. */
function as64(f: Frame, nr: u64): u32 {
  const own = f.nr;
  const cookie = f.cookie;
  f.nr = nr;
  f.a0 = <u64>(<u32>f.a0);
  f.a1 = <u64>(<u32>f.a1);
  f.a2 = <u64>(<u32>f.a2);
  f.a3 = <u64>(<u32>f.a3);
  f.a4 = <u64>(<u32>f.a4);
  f.a5 = <u64>(<u32>f.a5);
  if (specialEnter(f, VERDICT_CALL) != VERDICT_SKIP) {
    f.result = <u64>syscall6(nr, f.a0, f.a1, f.a2, f.a3, f.a4, f.a5);
    specialExit(f);
  }
  f.nr = own;
  f.cookie = cookie;
  return VERDICT_SKIP;
}

function unlessOurs(f: Frame, start: u64, length: u64): u32 {
  const low = <usize>(<u32>start);
  if (!changetype<usize>(ownIn(low, low + <usize>(<u32>length)))) return VERDICT_CALL;
  f.result = <u64>-ENOMEM;
  return VERDICT_SKIP;
}

/**
 * The child goes on behind our instruction as its parent does: on a copy of the frame, where its stack pointer says that one is.
 * With its parent's stack it gets memory of its own.
 */
function clone(f: Frame, flags: u64, stack: usize): u32 {
  const own = changetype<usize>(f) - INT80_SAVED;
  const copied: usize = INT80_SAVED + FRAME_SIZE;
  const copy = stack - FRAME_TO_PROGRAM - INT80_SAVED;
  if (!stack) flags &= ~CLONE_VM;
  if (!prepareChild(f, flags, stack)) {
    f.result = <u64>-EAGAIN;
    return VERDICT_SKIP;
  }
  if (<u32>f.nr == CLONE) f.a0 = flags;
  if (<u32>f.nr == VFORK) {
    f.nr = <u64>CLONE;
    f.a0 = flags;
    f.a1 = 0;
  }
  if (stack && readable(copy, copied)) {
    f.a1 = copy;
    memory.copy(copy, own, copied);
    changetype<Frame>(copy + INT80_SAVED).sp = stack;
  }
  return VERDICT_CALL;
}

/** After the call, in parent and child. */
export function on_int80_exit(f: Frame): void {
  const nr = <u32>f.nr;
  if (nr == FORK || nr == CLONE) {
    if (!f.result) {
      enterChild(f);
      return;
    }
    releaseChild(f);
  } else if (!failed(<i64>f.result)) {
    if (nr == MMAP2) mapped(f, <u64>(<u32>f.a1), f.a2);
    else if (nr == MMAP) mapped(f, oldArgument(f, OLD_LENGTH), oldArgument(f, OLD_PROTECTION));
    else if (nr == MREMAP || nr == IPC || nr == SHMAT) mappingsChanged();
  }
  if (ring) recordInt80Exit(f);
}

function mapped(f: Frame, length: u64, protection: u64): void {
  mappingsChanged();
  if (protection & PROT_EXEC) mappedExecutable(<usize>f.result, <usize>length, true);
}
