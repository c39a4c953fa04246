/**
 * An exec of a program that the loader door has loaded: the next one is loaded by it, too. What cannot be is left to the
 * kernel, and reported.
 *
 * Who runs this: any thread, also a child of vfork, which shares the memory of its parent.
 */
import { GAP_EXEC_UNHOOKED, GAP_NO_VA0 } from "../../src/image/layout";
import { Frame } from "../hook/frame";
import { environmentArgument, pathArgument, pathLength, scratchOf } from "../process/exec";
import { mayMapZero } from "../process/privileges";
import { recordGap } from "../record/record";
import { releaseChunk } from "../record/ring";
import { usesZero } from "../rewrite/kinds";
import { AT_FDCWD, E2BIG, EAGAIN, EFAULT, SYS_EXECVEAT } from "../std/sys";
import { EXEC_FAILS, execThroughDoor } from "./exec";

/** Comes back where the call has to be made as the program wants it. */
export function followExec(f: Frame): void {
  const at = <u32>f.nr == <u32>SYS_EXECVEAT;
  const directory: i64 = at ? <i64>(<i32>f.a0) : <i64>AT_FDCWD;
  const argv = <usize>(at ? f.a2 : f.a1);
  const flags: u64 = at ? <u64>(<u32>f.a4) : 0;
  if (usesZero && !mayMapZero(scratchOf(f))) {
    leave(f, GAP_NO_VA0);
    return;
  }
  const result = execThroughDoor(directory, pathArgument(f), argv, <usize>environmentArgument(f), flags);
  // Else the kernel will refuse it for the same reason.
  if (result != EXEC_FAILS && result != -E2BIG && result != -EFAULT && result != -EAGAIN) leave(f, GAP_EXEC_UNHOOKED);
}

function leave(f: Frame, gap: u32): void {
  recordGap(gap, 0, pathArgument(f), pathLength(f));
  releaseChunk();
}
