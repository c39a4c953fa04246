/**
 * Signal masks of the program under the trap: SIGSYS is not blocked really (sigsys.ts), so its bit is taken out of the masks
 * that the kernel gets, and put into those that it tells.
 *
 * Who runs this: any thread at a hooked call; a mask for the kernel lies in the words of the frame from FRAME_PLAN on.
 */
import { FRAME_PLAN } from "../../src/image/layout";
import { Frame } from "../hook/frame";
import { currentThread, ThreadBlock } from "../process/thread";
import { readable } from "../record/memory";
import { syscall6 } from "../std/raw";
import {
  SIG_BLOCK,
  SIG_SETMASK,
  SIG_UNBLOCK,
  SIGSET_SIZE,
  SIGSYS_BIT,
} from "../std/signals";
import {
  EINTR,
  SYS_EPOLL_PWAIT,
  SYS_EPOLL_PWAIT2,
  SYS_PPOLL,
  SYS_PSELECT6,
  SYS_RT_SIGPENDING,
  SYS_RT_SIGPROCMASK,
  SYS_RT_SIGSUSPEND,
  SYS_RT_SIGTIMEDWAIT,
} from "../std/sys";
import { handlesSigsys, isSigsysPending, sendPending } from "./sigsys";

/** The calls that are ACTION_SPECIAL for their masks. */
export const MASK_CALLS: StaticArray<u64> = [
  SYS_RT_SIGPROCMASK,
  SYS_RT_SIGPENDING,
  SYS_RT_SIGSUSPEND,
  SYS_RT_SIGTIMEDWAIT,
  SYS_PPOLL,
  SYS_PSELECT6,
  SYS_EPOLL_PWAIT,
  SYS_EPOLL_PWAIT2,
];
export const MASK_CALL_COUNT: u32 = 8;

export function takesMask(nr: u64): bool {
  for (let i: u32 = 0; i < MASK_CALL_COUNT; i++) {
    if (unchecked(MASK_CALLS[i]) == nr) return true;
  }
  return false;
}

/** Whether the call has been answered. */
export function beforeMaskCall(f: Frame, nr: u64): bool {
  f.cookie = 0;
  if (nr == SYS_RT_SIGPROCMASK) changeMask(f);
  else if (nr == SYS_RT_SIGTIMEDWAIT) awaitSignal(f);
  else if (nr != SYS_RT_SIGPENDING) return swapMask(f, nr);
  return false;
}

export function afterMaskCall(f: Frame, nr: u64): void {
  const thread = currentThread();
  if (nr == SYS_RT_SIGPROCMASK) {
    if (f.cookie) f.a1 = f.cookie;
    if (f.result == 0 && f.a2) tellBit(<usize>f.a2, f.plan2 != 0);
  } else if (nr == SYS_RT_SIGPENDING) {
    if (f.result == 0 && f.a1 == SIGSET_SIZE && thread.blocksSigsys && isSigsysPending(thread)) tellBit(<usize>f.a0, true);
  } else if (nr == SYS_RT_SIGTIMEDWAIT) {
    thread.awaitsSigsys = 0;
    if (f.cookie) syscall6(SYS_RT_SIGPROCMASK, SIG_UNBLOCK, copyOf(f), 0, SIGSET_SIZE, 0, 0);
  } else {
    unswapMask(f, nr);
  }
  if (!thread.blocksSigsys) sendPending(thread);
}

// @ts-ignore: decorator
@inline
function copyOf(f: Frame): usize {
  return changetype<usize>(f) + FRAME_PLAN;
}

function tellBit(mask: usize, blocked: bool): void {
  const told = load<u64>(mask) & ~SIGSYS_BIT;
  store<u64>(mask, blocked ? told | SIGSYS_BIT : told);
}

/** What the kernel still has to refuse has no effect: it changes the mask before it tells the old one. */
function changeMask(f: Frame): void {
  const thread = currentThread();
  f.plan2 = thread.blocksSigsys;
  const how = <u32>f.a0;
  if (!f.a1 || f.a3 != SIGSET_SIZE || how > <u32>SIG_SETMASK || !readable(<usize>f.a1, 8)) return;
  const mask = load<u64>(<usize>f.a1);
  if (how == <u32>SIG_UNBLOCK) {
    if (mask & SIGSYS_BIT) thread.blocksSigsys = 0;
    return;
  }
  if (mask & SIGSYS_BIT) thread.blocksSigsys = 1;
  else if (how == <u32>SIG_SETMASK) thread.blocksSigsys = 0;
  store<u64>(copyOf(f), mask & ~SIGSYS_BIT);
  f.cookie = f.a1;
  f.a1 = copyOf(f);
}

/**
 * rt_sigtimedwait: the kernel gives the waiting thread a signal that is not blocked, too. What is pending here becomes
 * pending there, while SIGSYS is really blocked; the call takes it, or on its way back the handler of SIGSYS keeps it again.
 */
function awaitSignal(f: Frame): void {
  const thread = currentThread();
  if (f.a3 != SIGSET_SIZE || !readable(<usize>f.a0, 8) || !(load<u64>(<usize>f.a0) & SIGSYS_BIT)) return;
  thread.awaitsSigsys = 1;
  if (!isSigsysPending(thread)) return;
  const only = copyOf(f);
  store<u64>(only, SIGSYS_BIT);
  f.cookie = 1;
  syscall6(SYS_RT_SIGPROCMASK, SIG_BLOCK, only, 0, SIGSET_SIZE, 0, 0);
  sendPending(thread);
}

// ── Calls with a mask that holds while they wait ─────────────────────────────────────────────────────────────────────

/** The argument (0…5) that is the mask, or for pselect6 points to its address and size. */
function maskArgument(nr: u64): u32 {
  if (nr == SYS_RT_SIGSUSPEND) return 0;
  if (nr == SYS_PPOLL) return 3;
  return nr == SYS_PSELECT6 ? 5 : 4;
}

// @ts-ignore: decorator
@inline
function argumentAt(f: Frame, nr: u64): usize {
  return changetype<usize>(f) + offsetof<Frame>("a0") + (<usize>maskArgument(nr) << 3);
}

/** Whether the call has been answered: a SIGSYS was pending that its mask lets through. */
function swapMask(f: Frame, nr: u64): bool {
  const thread = currentThread();
  const slot = argumentAt(f, nr);
  const given = load<usize>(slot);
  if (!given || (nr == SYS_PSELECT6 && !readable(given, 16))) return false;
  const at = nr == SYS_PSELECT6 ? load<usize>(given) : given;
  const size = load<u64>(nr == SYS_PSELECT6 ? given : slot, 8);
  if (!at || size != SIGSET_SIZE || !readable(at, 8)) return false;
  const mask = load<u64>(at);
  if (!(mask & SIGSYS_BIT)) {
    if (!thread.blocksSigsys) return false;
    return letThrough(f, thread);
  }
  thread.swappedSigsys = 1 + thread.blocksSigsys;
  thread.blocksSigsys = 1;
  const copy = copyOf(f);
  store<u64>(copy, mask & ~SIGSYS_BIT);
  if (nr == SYS_PSELECT6) {
    store<usize>(copy, copy, 8);
    store<u64>(copy, SIGSET_SIZE, 16);
  }
  f.cookie = given;
  store<usize>(slot, nr == SYS_PSELECT6 ? copy + 8 : copy);
  return false;
}

function letThrough(f: Frame, thread: ThreadBlock): bool {
  thread.swappedSigsys = 2;
  thread.blocksSigsys = 0;
  const comes = isSigsysPending(thread) && handlesSigsys(thread);
  sendPending(thread); // its handler runs here
  if (!comes) return false;
  unswap(thread);
  f.result = -EINTR;
  return true;
}

function unswapMask(f: Frame, nr: u64): void {
  if (f.cookie) store<u64>(argumentAt(f, nr), f.cookie);
  unswap(currentThread());
}

/** Unless a handler has ended the call, and the thread has had its mask back since. */
function unswap(thread: ThreadBlock): void {
  if (!thread.swappedSigsys) return;
  thread.blocksSigsys = thread.swappedSigsys - 1;
  thread.swappedSigsys = 0;
}
