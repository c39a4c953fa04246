/** SIGSYS is never blocked while the thread is armed: a trap would kill the process. The program's masks lose that bit. */
import { FRAME_PLAN, SIGSYS } from "../../src/image/layout";
import { Frame } from "../hook/frame";
import { readable } from "../record/memory";
import { usesTrap } from "../rewrite/kinds";

const SIGSYS_BIT: u64 = 1 << (SIGSYS - 1);
const SIG_UNBLOCK: u32 = 1;

/** Before rt_sigprocmask: the kernel gets a copy of the mask, in the frame. */
export function beforeMask(f: Frame): void {
  f.cookie = 0;
  if (!usesTrap || <u32>f.a0 == SIG_UNBLOCK || f.a3 != 8 || !f.a1 || !readable(<usize>f.a1, 8)) return;
  const copy = changetype<usize>(f) + FRAME_PLAN;
  store<u64>(copy, load<u64>(<usize>f.a1) & ~SIGSYS_BIT);
  f.cookie = f.a1;
  f.a1 = copy;
}

export function afterMask(f: Frame): void {
  if (f.cookie) f.a1 = f.cookie;
}
