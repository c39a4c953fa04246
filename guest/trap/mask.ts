/** SIGSYS is never blocked while the thread is armed: a trap would kill the process. The program's masks lose that bit. */
import { FRAME_PLAN, SIGSYS } from "../../src/image/layout";
import { Frame } from "../hook/frame";
import { readable } from "../record/memory";
import { usesTrap } from "../rewrite/kinds";
import { syscall6 } from "../std/raw";
import { failed, mapPages, SYS_RT_SIGACTION, unmapPages } from "../std/sys";

/** struct kernel_sigaction (linux/signal.h), and where its mask is. */
const ACTION_SIZE: usize = 32;
const ACTION_MASK: usize = 24;
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

/** rt_sigaction: whether it has been answered here. That of SIGSYS stays ours, and no handler's mask has its bit. */
export function keepAction(f: Frame): bool {
  if (!usesTrap) return false;
  if (<u32>f.a0 == <u32>SIGSYS) {
    if (f.a2 && readable(<usize>f.a2, ACTION_SIZE)) memory.fill(<usize>f.a2, 0, ACTION_SIZE);
    f.result = 0;
    return true;
  }
  if (f.a3 != 8 || !f.a1 || !readable(<usize>f.a1, ACTION_SIZE)) return false;
  const mask = load<u64>(<usize>f.a1, ACTION_MASK);
  if (!(mask & SIGSYS_BIT)) return false;
  const page = mapPages(4096);
  if (failed(page)) return false;
  memory.copy(<usize>page, <usize>f.a1, ACTION_SIZE);
  store<u64>(<usize>page, mask & ~SIGSYS_BIT, ACTION_MASK);
  f.result = syscall6(SYS_RT_SIGACTION, f.a0, page, f.a2, f.a3, 0, 0);
  unmapPages(<usize>page, 4096);
  return true;
}
