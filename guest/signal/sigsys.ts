/**
 * SIGSYS of the program, while the kernel's SIGSYS is the trap's (../trap). The kernel must neither block nor ignore it: a
 * system call that traps would kill the process. So what the program has to say of it is kept here: whether a thread has it
 * blocked (in its thread block), what is pending meanwhile, and the action, an interned one that the kernel keeps as the
 * restorer of the trap's handler, as it does for all handlers of the program (action.ts).
 *
 * Who runs this: any thread at a hooked call, or in the handler of SIGSYS or of another signal. Nothing is locked. What is
 * pending belongs to one thread, or to the process: then it has one place, and the first of two that come at once stays.
 */
import { SYS_USER_DISPATCH } from "../../src/image/layout";
import { currentThread, nextThread, pendingInfo, signalScratch, ThreadBlock } from "../process/thread";
import { usesTrap } from "../rewrite/kinds";
import { syscall6 } from "../std/raw";
import {
  Action,
  SA_NODEFER,
  SA_ONSTACK,
  SA_RESETHAND,
  SA_RESTART,
  SA_RESTORER,
  SA_SIGINFO,
  SI_CODE,
  SI_ERRNO,
  SI_TKILL,
  SIG_BLOCK,
  SIG_DFL,
  SIG_IGN,
  SIG_SETMASK,
  SIG_UNBLOCK,
  SIGINFO_SIZE,
  SIGSET_SIZE,
  SIGSYS,
  SIGSYS_BIT,
  SYS_SECCOMP,
  UC_SIGMASK,
} from "../std/signals";
import { SYS_RT_SIGACTION, SYS_RT_SIGPROCMASK, SYS_RT_TGSIGQUEUEINFO, SYS_TGKILL } from "../std/sys";
import { internWhole } from "./action";
import { Interned } from "./interned";

// @ts-ignore: decorator
@external("symbol", "zp_sigsys")
declare function zp_sigsys(): usize;
// @ts-ignore: decorator
@external("symbol", "zp_every_signal")
declare function zp_every_signal(): usize;

/** Only SIGSYS. */
const onlySigsys: usize = memory.data<u64>([SIGSYS_BIT]);
/** Pending for a process: its id when there is one, and the siginfo_t. (A child of vfork is another process in this memory.) */
const processPending: usize = memory.data(136, 8);

/** Whether the action of SIGSYS, as the kernel has it, is the trap's. */
export function isTrapAction(action: Action): bool {
  return action.handler == zp_sigsys();
}

/** The action in the words of rt_sigaction, with `interned` in it. */
function kernelAction(action: Action, interned: usize): void {
  const program = changetype<Interned>(interned);
  action.handler = zp_sigsys();
  action.restorer = interned;
  action.mask = <u64>-1;
  const asked = program.handler > SIG_IGN ? program.flags & (SA_ONSTACK | SA_RESTART) : SA_ONSTACK | SA_RESTART;
  action.flags = SA_SIGINFO | SA_RESTORER | (roomOnStacks ? asked : asked & ~SA_ONSTACK);
}

/** Whether every alternate stack of the program has had room for the handler of SIGSYS. */
let roomOnStacks: bool = true;

/** What the program's action becomes in the kernel; false when there is no memory. `action` is changed. */
export function setSigsys(action: Action): bool {
  const interned = internWhole(action);
  if (!interned) return false;
  kernelAction(action, interned);
  return true;
}

/** The kernel's action becomes `handler` (SIG_DFL or SIG_IGN) of the program. `action` is scratch memory. */
function resetTo(handler: usize, action: Action): void {
  action.handler = handler;
  action.flags = 0;
  action.restorer = 0;
  action.mask = 0;
  if (setSigsys(action)) syscall6(SYS_RT_SIGACTION, SIGSYS, changetype<usize>(action), 0, SIGSET_SIZE, 0, 0);
}

/** The action as the kernel tells it. */
function told(thread: ThreadBlock): Action {
  const action = changetype<Action>(signalScratch(thread));
  syscall6(SYS_RT_SIGACTION, SIGSYS, 0, changetype<usize>(action), SIGSET_SIZE, 0, 0);
  return action;
}

/** At start-up, before the thread is armed: from here on SIGSYS is the trap's. The parent's choice stays. */
export function takeSigsys(): void {
  const thread = currentThread();
  installSigsys();
  const mask = signalScratch(thread);
  syscall6(SYS_RT_SIGPROCMASK, SIG_UNBLOCK, 0, mask, SIGSET_SIZE, 0, 0);
  if (load<u64>(mask) & SIGSYS_BIT) thread.blocksSigsys = 1;
  store<u8>(zp_every_signal(), 1);
  syscall6(SYS_RT_SIGPROCMASK, SIG_UNBLOCK, onlySigsys, 0, SIGSET_SIZE, 0, 0); // one that is pending comes here
}

/** Also in a child whose handlers were cleared. */
export function installSigsys(): void {
  const action = told(currentThread());
  resetTo(action.handler == SIG_IGN ? SIG_IGN : SIG_DFL, action);
}

/** From here on traps come on the stack that the thread is on: an alternate stack has no room for them. */
export function leaveAlternateStacks(): void {
  roomOnStacks = false;
  const action = told(currentThread());
  if (!isTrapAction(action)) return;
  action.flags &= ~SA_ONSTACK;
  syscall6(SYS_RT_SIGACTION, SIGSYS, changetype<usize>(action), 0, SIGSET_SIZE, 0, 0);
}

// ── Delivery ─────────────────────────────────────────────────────────────────────────────────────────────────────────

/**
 * A SIGSYS that is no trap, in the handler of SIGSYS: all signals are blocked. Whether the program's handler is to be called
 * (by zp_signal) in our place, with the signals blocked that it wants.
 */
export function programSigsys(info: usize, context: usize): bool {
  const thread = currentThread();
  const action = changetype<Interned>(load<usize>(context - 8)); // nobody else sets the action of SIGSYS
  const code = <i32>load<u32>(info, SI_CODE);
  const isMadeUp = <u32>code == SYS_USER_DISPATCH;
  if (isMadeUp) store<i32>(info, 0, SI_ERRNO);
  const isForced = isMadeUp || <u32>code == SYS_SECCOMP;
  if (thread.blocksSigsys && !isForced) {
    keep(thread, info, code);
    return false;
  }
  if (action.handler <= SIG_IGN) {
    if (action.handler == SIG_DFL || isForced) die(thread);
    return false;
  }
  if (thread.blocksSigsys) {
    die(thread);
    return false;
  }
  const scratch = signalScratch(thread) + offsetof<Action>();
  if (action.flags & SA_RESETHAND) resetTo(SIG_DFL, changetype<Action>(scratch));
  store<u64>(scratch, (load<u64>(context, UC_SIGMASK) | action.mask) & ~SIGSYS_BIT);
  syscall6(SYS_RT_SIGPROCMASK, SIG_SETMASK, scratch, 0, SIGSET_SIZE, 0, 0);
  return true;
}

/** It is blocked until the handler returns; then it kills. */
function die(thread: ThreadBlock): void {
  const scratch = signalScratch(thread) + offsetof<Action>();
  memory.fill(scratch, 0, offsetof<Action>());
  syscall6(SYS_RT_SIGACTION, SIGSYS, scratch, 0, SIGSET_SIZE, 0, 0);
  syscall6(SYS_TGKILL, thread.pid, thread.tid, SIGSYS, 0, 0, 0);
}

/** Sent to the process, it goes to a thread that takes it, as from the kernel. */
function keep(thread: ThreadBlock, info: usize, code: i32): void {
  if (code == SI_TKILL) {
    if (thread.pendingSigsys) return;
    memory.copy(pendingInfo(thread), info, SIGINFO_SIZE);
    thread.pendingSigsys = 1;
    return;
  }
  for (let p = nextThread(0); p; p = nextThread(p)) {
    const other = changetype<ThreadBlock>(p);
    if (p == changetype<usize>(thread) || other.pid != thread.pid) continue;
    if (other.blocksSigsys && !other.awaitsSigsys) continue;
    if (send(other, info)) return;
  }
  if (load<u64>(processPending)) return;
  memory.copy(processPending + 8, info, SIGINFO_SIZE);
  atomic.store<u64>(processPending, thread.pid);
}

function send(thread: ThreadBlock, info: usize): bool {
  return syscall6(SYS_RT_TGSIGQUEUEINFO, thread.pid, thread.tid, SIGSYS, info, 0, 0) == 0;
}

/** Whether one waits until the thread unblocks it. */
export function isSigsysPending(thread: ThreadBlock): bool {
  return thread.pendingSigsys != 0 || load<u64>(processPending) == <u64>thread.pid;
}

/** Sends the thread what waits for it: it comes at once. Whether there was something. */
export function sendPending(thread: ThreadBlock): bool {
  if (thread.pendingSigsys) {
    thread.pendingSigsys = 0;
    return send(thread, pendingInfo(thread));
  }
  if (atomic.cmpxchg<u64>(processPending, thread.pid, 0) != thread.pid) return false;
  return send(thread, processPending + 8);
}

/** Whether SIGSYS has a handler of the program. */
export function handlesSigsys(thread: ThreadBlock): bool {
  const action = told(thread);
  return isTrapAction(action) && changetype<Interned>(action.restorer).handler > SIG_IGN;
}

/** In a child of fork, for which nothing is pending. */
export function dropPending(): void {
  currentThread().pendingSigsys = 0;
  store<u64>(processPending, 0);
}

// ── Handlers of the program, of any signal ───────────────────────────────────────────────────────────────────────────

/**
 * A handler is about to be called: its context says whether SIGSYS was blocked, and its own mask holds. A call with a mask of
 * its own (ppoll and its like) is over by this: the context has the mask from before it.
 */
export function enterHandler(context: usize, signal: u32, action: Interned): void {
  const thread = currentThread();
  const mask = load<u64>(context, UC_SIGMASK);
  if (mask & SIGSYS_BIT) syscall6(SYS_RT_SIGPROCMASK, SIG_UNBLOCK, onlySigsys, 0, SIGSET_SIZE, 0, 0);
  const blocked = thread.swappedSigsys ? thread.swappedSigsys - 1 : thread.blocksSigsys;
  thread.swappedSigsys = 0;
  store<u64>(context, blocked ? mask | SIGSYS_BIT : mask & ~SIGSYS_BIT, UC_SIGMASK);
  const defers = signal == SIGSYS && !(action.flags & SA_NODEFER);
  if (action.mask & SIGSYS_BIT || defers) thread.blocksSigsys = 1;
}

/** rt_sigreturn, before it is made, from the context at `context`: the kernel gets its mask without SIGSYS. */
export function leaveHandler(context: usize): void {
  const thread = currentThread();
  const mask = load<u64>(context, UC_SIGMASK);
  store<u64>(context, mask & ~SIGSYS_BIT, UC_SIGMASK);
  thread.blocksSigsys = mask & SIGSYS_BIT ? 1 : 0;
  if (!thread.blocksSigsys) sendPending(thread);
}

// ── exec ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

/**
 * The next image gets the thread's mask, and what is pending, in the kernel's own terms. Until then nothing runs but our own text.
 * That SIGSYS is ignored is handed on by a process with one thread: another one could trap meanwhile.
 */
export function beforeExecSigsys(): void {
  if (!usesTrap) return;
  const thread = currentThread();
  if (thread.blocksSigsys) {
    syscall6(SYS_RT_SIGPROCMASK, SIG_BLOCK, onlySigsys, 0, SIGSET_SIZE, 0, 0);
    sendPending(thread);
  }
  const action = told(thread);
  if (!isTrapAction(action) || changetype<Interned>(action.restorer).handler != SIG_IGN || !isAlone(thread)) return;
  action.handler = SIG_IGN;
  syscall6(SYS_RT_SIGACTION, SIGSYS, changetype<usize>(action), 0, SIGSET_SIZE, 0, 0);
}

function isAlone(thread: ThreadBlock): bool {
  for (let p = nextThread(0); p; p = nextThread(p)) {
    if (p != changetype<usize>(thread) && changetype<ThreadBlock>(p).pid == thread.pid) return false;
  }
  return true;
}

/** The call came back: it failed. */
export function afterExecSigsys(): void {
  if (!usesTrap) return;
  const action = told(currentThread());
  if (!isTrapAction(action)) resetTo(SIG_IGN, action);
  syscall6(SYS_RT_SIGPROCMASK, SIG_UNBLOCK, onlySigsys, 0, SIGSET_SIZE, 0, 0);
}
