/**
 * The way into a C hook, and out: whether it is called at all, and on which stack.
 *
 * The hook is code that we know nothing of: it may need any amount of stack, and it may hold locks. So it runs on a stack
 * of the thread's own, and never while the thread is in it already: a call that the hook makes itself (through ld.so,
 * which it shares with the program; in musl through libc), or a handler of the program that has interrupted it, goes
 * straight on; that is reported once. A hook that can be entered again says so. While the hook waits for a real call it is
 * not "in": handlers that run meanwhile are hooked, on the program's stack.
 */
import {
  ACTION_NOOP,
  ACTION_RECORD,
  ACTION_SPECIAL,
  FRAME_CANCEL,
  FRAME_PLAN,
  FRAME_TO_PROGRAM,
  GAP_HOOK_REENTERED,
  HOOK_STACK_SIZE,
  VERDICT_CALL,
  VERDICT_DISPATCH,
  VERDICT_HOOK,
} from "../../src/image/layout";
import { specialEnter } from "../hook/dispatch";
import { Frame, placeFrame } from "../hook/frame";
import { currentThread, ThreadBlock } from "../process/thread";
import { recordEnter, recordExit, recordGap } from "../record/record";
import { usesTrap } from "../rewrite/kinds";
import { cstr } from "../std/cstr";
import { rdfsbase, syscall6 } from "../std/raw";
import { SYS_CLONE, SYS_CLONE3, SYS_FORK, SYS_GETTID, SYS_MMAP, SYS_MPROTECT } from "../std/sys";
import { dispatching, isDispatched } from "../trap/user-dispatch";
import { isHookCode, isLoaderCode, sharesLibrary } from "./load";
import { onAlternateStack, prepareThread } from "./stack";

/** Whether the fs base can be read by an instruction (set at start-up). */
let readsFsBase: bool = false;
/** Whether the hook has said (`int zpoline_reentrant = 1`) that handlers that interrupt it may enter it again. */
let reentrant: bool = false;
let reported: bool = false;

export function allowReentry(): void {
  reentrant = true;
}

export function useFsBase(): void {
  readsFsBase = true;
}

/** Called by the stub for every number that the C hook gets, in place of on_enter; answers VERDICT_HOOK with the stack to use in the frame. */
export function on_hook_enter(f: Frame, action: u32): u32 {
  placeFrame(f);
  f.tsc = 0;
  if (action & ACTION_NOOP && dispatching && !currentThread().hookIn && isDispatched(f)) return VERDICT_DISPATCH;
  if (usesTrap && action & ACTION_SPECIAL && isHookCode(f.ip)) return withoutHook(f, action);
  const thread = currentThread();
  if (readsFsBase && <usize>rdfsbase() != thread.fsBase && !isOurThread(thread)) return VERDICT_CALL;
  if (thread.hookIn && !isAbandoned(thread, f)) {
    if (!reentrant || sharesLibrary || isLoaderCode(f.ip)) return reenter(f, action);
  }
  if (!thread.hookReady) prepareThread(thread);
  if (action & ACTION_RECORD) recordEnter(f);
  const frame = changetype<usize>(f);
  const own = thread.hookTop;
  if (own && f.sp - (own - HOOK_STACK_SIZE) > <usize>HOOK_STACK_SIZE && isFree(thread, f)) {
    f.cookie = own;
    setCallSp(f, frame);
  } else {
    f.cookie = frame & ~63;
    setCallSp(f, 0);
  }
  return VERDICT_HOOK;
}

// @ts-ignore: decorator
@inline
function setCallSp(f: Frame, value: usize): void {
  store<usize>(changetype<usize>(f), value, FRAME_PLAN);
  store<usize>(changetype<usize>(f), 0, FRAME_CANCEL);
}

/** Called by the stub after the hook, for a call that is recorded. */
export function on_hook_exit(f: Frame): void {
  const nr = <u64>(<u32>f.nr);
  const forks = nr == SYS_FORK || nr == SYS_CLONE || nr == SYS_CLONE3;
  if (f.result || !forks) recordExit(f); // a child does not return from what its parent has called
}

/**
 * Whether the thread's own hook stack can be used: not by a hook that waits for a real call, and not on the program's
 * alternate signal stack: the kernel takes that as free when the stack pointer is elsewhere.
 */
function isFree(thread: ThreadBlock, f: Frame): bool {
  if (onAlternateStack(thread, f.sp)) return false;
  const owner = thread.hookOwner;
  if (!owner) return true;
  // A handler has jumped out of that call, if the stack has since been unwound beyond it.
  const high = thread.stackHigh;
  if (f.sp <= owner + FRAME_TO_PROGRAM || f.sp > high || owner > high || high - owner > KNOWN_STACK) return false;
  thread.hookOwner = 0;
  return true;
}

/** Whatever lies so far below the end of the stack that a thread began on belongs to it. */
const KNOWN_STACK: usize = 1 << 18;

/**
 * Whether a handler has jumped out of the hook: the thread is in it by our word, but the stack pointer is elsewhere. (A
 * handler on the alternate stack may have interrupted it.)
 */
function isAbandoned(thread: ThreadBlock, f: Frame): bool {
  const own = thread.hookTop;
  const level = thread.hookLevel;
  const onOwn = level <= own && own - level < <usize>HOOK_STACK_SIZE;
  const there = onOwn ? own - f.sp < <usize>HOOK_STACK_SIZE : f.sp < level;
  if (there || onAlternateStack(thread, f.sp)) return false;
  thread.hookIn = 0;
  thread.hookOwner = 0;
  return true;
}

/** The call is made without the hook. What maps code for the hook must leave that code alone. */
function reenter(f: Frame, action: u32): u32 {
  if (!sharesLibrary && !isLoaderCode(f.ip) && !reported) {
    reported = true;
    recordGap(GAP_HOOK_REENTERED, f.nr, cstr("a call inside of the hook"), 25);
  }
  return withoutHook(f, action);
}

function withoutHook(f: Frame, action: u32): u32 {
  const nr = <u64>(<u32>f.nr);
  if (!(action & ACTION_SPECIAL) || nr == SYS_MMAP || nr == SYS_MPROTECT) return VERDICT_CALL;
  return specialEnter(f, VERDICT_CALL);
}

/**
 * A thread that the hook has made with its own libc has no block: it came with the gs base of its maker. It is known by its
 * fs base, or, where a program changes that, by its id.
 */
function isOurThread(thread: ThreadBlock): bool {
  if (syscall6(SYS_GETTID, 0, 0, 0, 0, 0, 0) != <i64>thread.tid) return false;
  thread.fsBase = <usize>rdfsbase();
  return true;
}
