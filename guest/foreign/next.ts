/**
 * The original call, for the C hook: what `zp_next` (src/image/hook-stub.ts) asks about calls that need care. Runs in the
 * hook's thread, on the hook's stack; `f` is a frame made of the hook's arguments and of where the program is.
 */
import {
  ACTION_POINTERS,
  ACTION_SPECIAL,
  FRAME_SP,
  LEVEL_FRAME,
  THREAD_STACK,
  VERDICT_CALL,
  VERDICT_NOSTACK,
  VERDICT_RAW,
  VERDICT_SKIP,
} from "../../src/image/layout";
import { actionOf } from "../hook/actions";
import { specialEnter, specialExit } from "../hook/dispatch";
import { Frame } from "../hook/frame";
import { answerPageZero, mayReadPageZero } from "../hook/pointers";
import { afterClone, clones, sharesStack, throughHook } from "../process/clone";
import { currentThread } from "../process/thread";
import { gsLoad64 } from "../std/raw";
import {
  CLONE_VFORK,
  CLONE_VM,
  ENOSYS,
  failed,
  SIGCHLD,
  SYS_CLONE,
  SYS_CLONE3,
  SYS_MUNMAP,
  SYS_SIGALTSTACK,
  SYS_VFORK,
} from "../std/sys";
import { setAlternateStack } from "./signals";

/** The frame of the call that the hook was called for. */
// @ts-ignore: decorator
@inline
function hookedFrame(): usize {
  return currentThread().hookLevel + LEVEL_FRAME;
}

/** Answers a VERDICT_*. */
export function on_next(f: Frame): u32 {
  const nr = <u64>(<u32>f.nr);
  const action = actionOf(<u32>nr);
  if (action & ACTION_POINTERS && mayReadPageZero(f) && answerPageZero(f, 0)) return VERDICT_SKIP;
  if (!(action & ACTION_SPECIAL)) return VERDICT_CALL;
  if (nr == SYS_SIGALTSTACK) return setAlternateStack(f);
  if (clones(nr) && sharesStack(f) && !currentThread().hookCallSp) {
    // The child would write over the stack that the hook is on: it gets a copy of the memory instead.
    if (nr == SYS_CLONE3) return answer(f, -ENOSYS);
    f.a0 = nr == SYS_VFORK ? CLONE_VFORK | SIGCHLD : f.a0 & ~CLONE_VM;
    f.nr = SYS_CLONE;
    if (nr == SYS_VFORK) f.a1 = f.a2 = f.a3 = f.a4 = 0;
  }
  const verdict = specialEnter(f, VERDICT_CALL);
  if (verdict == VERDICT_RAW) throughHook(f);
  if (nr == SYS_MUNMAP) f.cookie = verdict == VERDICT_NOSTACK ? gsLoad64(THREAD_STACK) : 0;
  return verdict;
}

/** After the call, also in the child of a fork. */
export function on_next_exit(f: Frame): void {
  const nr = <u64>(<u32>f.nr);
  if (clones(nr)) afterClone(f);
  else if (actionOf(<u32>nr) & ACTION_SPECIAL) specialExit(f);
  // The stack of the program is gone: it goes on with another one.
  if (nr == SYS_MUNMAP && f.cookie && !failed(<i64>f.result)) store<u64>(hookedFrame(), f.cookie, FRAME_SP);
}

export function answer(f: Frame, result: i64): u32 {
  f.result = <u64>result;
  return VERDICT_SKIP;
}
