/**
 * The original call, for the C hook: what `zp_next` (src/image/hook-stub.ts) asks about calls that need care. Runs in the
 * hook's thread, on the hook's stack; `f` is a frame made of the hook's arguments and of where the program is.
 */
import { VERDICT_CALL, VERDICT_RAW, VERDICT_SKIP } from "../../src/image/layout";
import { specialEnter, specialExit } from "../hook/dispatch";
import { Frame } from "../hook/frame";
import { afterClone, sharesStack, throughHook } from "../process/clone";
import { currentThread } from "../process/thread";
import {
  CLONE_VFORK,
  CLONE_VM,
  ENOSYS,
  SIGCHLD,
  SYS_CLONE,
  SYS_CLONE3,
  SYS_FORK,
  SYS_RT_SIGACTION,
  SYS_SIGALTSTACK,
  SYS_VFORK,
} from "../std/sys";
import { setAction, setAlternateStack } from "./signals";

/** Answers a VERDICT_*. */
export function on_next(f: Frame): u32 {
  const nr = <u64>(<u32>f.nr);
  if (nr == SYS_RT_SIGACTION) return setAction(f);
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
  return verdict;
}

/** After the call, also in the child of a fork. */
export function on_next_exit(f: Frame): void {
  if (clones(<u64>(<u32>f.nr))) afterClone(f);
  else specialExit(f);
}

export function answer(f: Frame, result: i64): u32 {
  f.result = <u64>result;
  return VERDICT_SKIP;
}

function clones(nr: u64): bool {
  return nr == SYS_CLONE || nr == SYS_CLONE3 || nr == SYS_FORK || nr == SYS_VFORK;
}
