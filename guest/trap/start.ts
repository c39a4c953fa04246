/** The trap from our start-up on, and in new threads and processes. */
import { GAP_NO_TRAP, RING_H_ROOT } from "../../src/image/layout";
import { Frame } from "../hook/frame";
import { AT_MINSIGSTKSZ, auxiliary, inSession } from "../process/environment";
import { currentThread, isLent } from "../process/thread";
import { recordGap } from "../record/record";
import { ring } from "../record/ring";
import { usesTrap, withoutTrap } from "../rewrite/kinds";
import { cstr } from "../std/cstr";
import { rewriteNow } from "../rewrite/deferred";
import { refuse } from "../std/log";
import { AlternateStack, SS_DISABLE } from "../std/signals";
import { CLONE_CLEAR_SIGHAND } from "../std/sys";
import { installSigsys, leaveAlternateStacks, takeSigsys } from "../signal/sigsys";
import { arm } from "./arm";

/** What the handler needs below the kernel's frame (a test compares). */
export const HANDLER_STACK: usize = 1280;
/** Where the kernel does not tell: with AVX-512. */
const MOST_FRAME: u64 = 4096;

/** Start-up: one thread, and from here on nothing runs but our own text until the program goes on. */
export function startTrap(): void {
  if (!usesTrap) return;
  const errno = -arm();
  if (!errno) {
    takeSigsys();
    return;
  }
  withoutTrap();
  const what = cstr("this process cannot trap system calls");
  if ((inSession() && !ring) || (ring && load<u32>(ring + RING_H_ROOT))) {
    recordGap(GAP_NO_TRAP, errno, cstr("prctl(PR_SET_SYSCALL_USER_DISPATCH)"), 35);
    return;
  }
  const cause = cstr("the kernel has no Syscall User Dispatch (Linux 5.11), or a seccomp filter forbids it");
  refuse(cstr("NO_TRAP"), what, cause, cstr("choose another kind of patch: auto, jump or zero"));
}

/**
 * After a sigaltstack of the program. One with too little room for our handler would be the end at the next trap: then traps
 * come on the stack that the thread is on, in all threads.
 */
export function afterAlternateStack(f: Frame): void {
  const stack = changetype<AlternateStack>(<usize>f.a0);
  if (!usesTrap || !f.a0 || f.result || stack.flags & SS_DISABLE) return;
  const frame = auxiliary(AT_MINSIGSTKSZ);
  const needed = <usize>(frame ? frame : MOST_FRAME) + HANDLER_STACK;
  if (stack.size < needed) leaveAlternateStacks();
  if (stack.size < needed * FRAMES_AT_ONCE && !isLent(currentThread())) rewriteNow(f.ip);
}

/**
 * A handler on an alternate stack with room for so many frames can trap and have all the stack that it wants, as a rule. On
 * one with less (8 KiB are usual) nothing should trap that can be rewritten.
 */
const FRAMES_AT_ONCE: usize = 4;

/** The first thing in a new thread or process that was made with these clone flags. */
export function armChild(flags: u64): void {
  if (!usesTrap) return;
  if (flags & CLONE_CLEAR_SIGHAND) installSigsys();
  const errno = -arm();
  if (errno) recordGap(GAP_NO_TRAP, errno, cstr("prctl(PR_SET_SYSCALL_USER_DISPATCH)"), 35);
}
