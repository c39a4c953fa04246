/**
 * What the entry stub calls. Who runs this: any thread of the program at a system call, on the program's stack below its
 * red zone, also inside signal handlers, also in a child of vfork on its parent's block. All registers of the program
 * are in the frame; nothing here may lock, allocate without bound, or touch vector registers.
 */
import {
  ACTION_CONSTANT,
  ACTION_HOOK,
  ACTION_NOOP,
  ACTION_NUMBERS,
  ACTION_POINTERS,
  ACTION_RECORD,
  ACTION_SPECIAL,
  CANCEL_FLAG,
  FRAME_CANCEL,
  FRAME_TO_PROGRAM,
  GAP_X32,
  VERDICT_CALL,
  VERDICT_CALL_EXIT,
  VERDICT_DISPATCH,
  VERDICT_HOOK,
  VERDICT_NOSTACK,
  VERDICT_RAW,
  VERDICT_SKIP,
} from "../../src/image/layout";
import { answerExeLink, namesFiles } from "../door/exe-link";
import { afterRawCall, beforeClone, clones } from "../process/clone";
import { on_hook_enter } from "../foreign/enter";
import { afterExec, beforeExec } from "../process/exec";
import { refuseRing, reportRing } from "../process/io-uring";
import { keepOurs } from "../process/mappings";
import { tellPresence } from "../process/presence";
import { elsewhere, hasGoroutines, isCramped, noteAlternateStack } from "../process/room";
import { afterFilter, beforeFilter } from "../process/seccomp";
import { hideGs, keepGs } from "../process/segments";
import { leaveStack, unmapsOwnStack } from "../process/stack";
import { advised, attached, changedPersonality, remapped } from "../process/text";
import { currentThread, retireBlock } from "../process/thread";
import { mappingsChanged, readable } from "../record/memory";
import { keepClock } from "../record/clock";
import { recordEnter, recordExit, recordGap } from "../record/record";
import { releaseChunk } from "../record/ring";
import { forgetSites } from "../rewrite/known";
import { usesTrap } from "../rewrite/kinds";
import { mappedExecutable } from "../rewrite/rewrite";
import { dropStubs } from "../rewrite/stubs";
import { changeAction } from "../signal/action";
import { afterMaskCall, beforeMaskCall, takesMask } from "../signal/mask";
import { leaveHandler } from "../signal/sigsys";
import { UC_SIGMASK } from "../std/signals";
import { afterAlternateStack } from "../trap/start";
import { dispatching, isDispatched, setDispatch } from "../trap/user-dispatch";
import { syscall6 } from "../std/raw";
import {
  EAGAIN,
  ENOSYS,
  failed,
  MAP_ANONYMOUS,
  MAP_FIXED,
  PROT_EXEC,
  SYS_ARCH_PRCTL,
  SYS_EXECVE,
  SYS_EXECVEAT,
  SYS_EXIT,
  SYS_EXIT_GROUP,
  SYS_IO_URING_SETUP,
  SYS_MADVISE,
  SYS_MMAP,
  SYS_MPROTECT,
  SYS_MREMAP,
  SYS_MUNMAP,
  SYS_PERSONALITY,
  SYS_PKEY_MPROTECT,
  SYS_PRCTL,
  SYS_RT_SIGACTION,
  SYS_RT_SIGRETURN,
  SYS_SECCOMP,
  SYS_SHMAT,
  SYS_SIGALTSTACK,
} from "../std/sys";
import { actionOf } from "./actions";
import { Frame, placeFrame } from "./frame";
import { answerPageZero, mayReadPageZero } from "./pointers";

// @ts-ignore: decorator
@external("symbol", "watched")
declare function watchedAddress(): usize;
// @ts-ignore: decorator
@external("symbol", "exited")
declare function exitedAddress(): usize;

/** Set in the numbers of the x32 ABI, which few kernels have (asm/unistd.h, __X32_SYSCALL_BIT). */
const X32_BIT: u64 = 1 << 30;
const WATCHED: u32 = ACTION_RECORD | ACTION_SPECIAL | ACTION_POINTERS;

/**
 * Called by the stub before the call, with the ACTION_* bits of the number, which it has looked up; answers a VERDICT_*.
 * Short, and in need of no register to save.
 */
export function on_enter(f: Frame, action: u32): u32 {
  if (dispatching) return on_dispatching(f, action);
  if (action & ACTION_HOOK) return on_hook_enter(f, action);
  if (action & WATCHED) return on_watched(f, action);
  f.result = 0;
  return action & ACTION_CONSTANT ? VERDICT_SKIP : VERDICT_CALL;
}

/**
 * on_enter where the program has Syscall User Dispatch of its own. An export, so that it stays a function of its own. The rest
 * is as there, once more: parameters of an inlined function are lost to debuggers.
 */
export function on_dispatching(f: Frame, action: u32): u32 {
  if (action & ACTION_NOOP && isDispatched(f)) return VERDICT_DISPATCH;
  if (action & ACTION_HOOK) return on_hook_enter(f, action);
  if (action & WATCHED) return on_watched(f, action);
  f.result = 0;
  return action & ACTION_CONSTANT ? VERDICT_SKIP : VERDICT_CALL;
}

/** on_enter for a number that has not been looked up. */
export function on_enter_any(f: Frame): u32 {
  return on_enter(f, actionOf(<u32>f.nr));
}

/** The rest of on_enter. An export, so that it stays a function of its own. */
export function on_watched(f: Frame, action: u32): u32 {
  placeFrame(f);
  return hasGoroutines && isCramped(f) ? elsewhere(watchedAddress(), f, action) : watched(f, action);
}

/** on_watched where there is room. */
export function watched(f: Frame, action: u32): u32 {
  if (action & ACTION_CONSTANT) {
    f.result = 0;
    return VERDICT_SKIP;
  }
  if (action & ACTION_POINTERS && mayReadPageZero(f) && answerPageZero(f, action)) return VERDICT_SKIP;
  let verdict: u32 = VERDICT_CALL;
  if (action & ACTION_RECORD) {
    recordEnter(f);
    verdict = VERDICT_CALL_EXIT;
  }
  return action & ACTION_SPECIAL ? specialEnter(f, verdict) : verdict;
}

/** Called by the stub after the call, when on_enter asked for it. */
export function on_exit(f: Frame): void {
  if (hasGoroutines && isCramped(f)) elsewhere(exitedAddress(), f, 0);
  else exited(f);
}

/** on_exit where there is room. */
export function exited(f: Frame): void {
  const action = actionOf(<u32>f.nr);
  if (action & ACTION_SPECIAL) specialExit(f);
  if (action & ACTION_RECORD) recordExit(f);
}

/**
 * Called after a VERDICT_RAW call, in a new frame below the stack pointer that the kernel returned with: only `result` and
 * the argument registers are known.
 */
export function on_raw_exit(f: Frame): void {
  afterRawCall(f, changetype<usize>(f) + FRAME_TO_PROGRAM);
  if (f.result && actionOf(<u32>f.nr) & ACTION_RECORD) recordExit(f);
}

/** on_enter at a cancellation point of the C library. A C hook's real call looks at the flag, too (zp_next). */
export function on_cancel_point(f: Frame): u32 {
  const verdict = on_enter_any(f);
  if (verdict == VERDICT_HOOK) {
    const flag = load<usize>(changetype<usize>(f), FRAME_TO_PROGRAM + CANCEL_FLAG);
    store<usize>(changetype<usize>(f), flag, FRAME_CANCEL);
  }
  return verdict;
}

/** What a call needs that is ACTION_SPECIAL; answers a VERDICT_*, which is `verdict` as a rule. */
export function specialEnter(f: Frame, verdict: u32): u32 {
  const nr = <u64>(<u32>f.nr);
  if (clones(nr)) {
    if (beforeClone(f)) return VERDICT_RAW;
    f.result = -EAGAIN;
    if (verdict == VERDICT_CALL_EXIT) recordExit(f);
    return VERDICT_SKIP;
  }
  if (nr == SYS_RT_SIGRETURN) {
    if (usesTrap && readable(f.sp + UC_SIGMASK, 8)) leaveHandler(f.sp);
    return VERDICT_NOSTACK;
  }
  if (nr == SYS_RT_SIGACTION) {
    changeAction(f);
    if (verdict == VERDICT_CALL_EXIT) recordExit(f);
    return VERDICT_SKIP;
  }
  if (nr == SYS_EXECVE || nr == SYS_EXECVEAT) {
    releaseChunk();
    beforeExec(f);
    return VERDICT_CALL_EXIT;
  }
  if (nr == SYS_EXIT) {
    releaseChunk();
    retireBlock(currentThread());
    syscall6(SYS_EXIT, f.a0, 0, 0, 0, 0, 0); // from here, because the block may belong to somebody else already
  }
  if (nr == SYS_EXIT_GROUP) {
    releaseChunk();
    retireBlock(currentThread()); // a process that shares our memory goes on
    return VERDICT_CALL;
  }
  if (isAnswered(f, nr)) {
    if (verdict == VERDICT_CALL_EXIT) recordExit(f);
    return VERDICT_SKIP;
  }
  if (namesFiles(nr)) {
    if (!answerExeLink(f)) return verdict;
    if (verdict == VERDICT_CALL_EXIT) recordExit(f);
    return VERDICT_SKIP;
  }
  if (nr == SYS_PRCTL || nr == SYS_SECCOMP) {
    beforeFilter(f);
    return VERDICT_CALL_EXIT;
  }
  if (nr == SYS_MUNMAP && unmapsOwnStack(f)) {
    mappingsChanged();
    leaveStack(f);
    return VERDICT_NOSTACK;
  }
  return VERDICT_CALL_EXIT;
}

/** Whether the call has been answered, and is not to be made. */
function isAnswered(f: Frame, nr: u64): bool {
  if (nr == SYS_ARCH_PRCTL) return keepGs(f) || tellPresence(f);
  if (nr == SYS_PRCTL) return keepClock(f) || setDispatch(f);
  if (nr == SYS_IO_URING_SETUP) return refuseRing(f);
  if (takesMask(nr)) return beforeMaskCall(f, nr);
  return keepOurs(f);
}

/** A file has been mapped to [from, to): the code that was there is gone. */
function forgetCode(from: usize, to: usize): void {
  forgetSites(from, to);
  dropStubs(from, to);
}

export function specialExit(f: Frame): void {
  const nr = <u64>(<u32>f.nr);
  if (nr == SYS_EXECVE || nr == SYS_EXECVEAT) {
    afterExec(f);
    return;
  }
  if (nr == SYS_PRCTL || nr == SYS_SECCOMP) {
    afterFilter(f);
    return;
  }
  if (takesMask(nr)) {
    afterMaskCall(f, nr);
    return;
  }
  if (nr == SYS_SIGALTSTACK) {
    afterAlternateStack(f);
    if (!f.result) noteAlternateStack(f);
    return;
  }
  if (nr >= <u64>ACTION_NUMBERS) {
    if (nr & X32_BIT && <i64>f.result != -ENOSYS) recordGap(GAP_X32, nr, 0, 0);
    return;
  }
  if (failed(<i64>f.result) || namesFiles(nr)) return;
  if (nr == SYS_MMAP) {
    if (f.a3 & MAP_FIXED) mappingsChanged();
    if (!(f.a3 & MAP_ANONYMOUS)) forgetCode(<usize>f.result, <usize>(f.result + f.a1));
    if (f.a2 & PROT_EXEC) mappedExecutable(<usize>f.result, <usize>f.a1, true);
  } else if (nr == SYS_MPROTECT || nr == SYS_PKEY_MPROTECT) {
    mappingsChanged();
    if (f.a2 & PROT_EXEC) mappedExecutable(<usize>f.a0, <usize>f.a1, false);
  } else if (nr == SYS_MUNMAP) {
    mappingsChanged();
    dropStubs(<usize>f.a0, <usize>(f.a0 + f.a1));
  } else if (nr == SYS_ARCH_PRCTL) {
    hideGs(f);
  } else if (nr == SYS_IO_URING_SETUP) {
    reportRing(f);
  } else if (nr == SYS_PERSONALITY) {
    changedPersonality(f);
  } else {
    mappingsChanged();
    if (nr == SYS_SHMAT) attached(f);
    else if (nr == SYS_MADVISE) advised(f);
    else if (nr == SYS_MREMAP) remapped(f);
  }
}
