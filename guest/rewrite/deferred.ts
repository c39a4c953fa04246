/**
 * Rewriting that is put off. To rewrite a C library takes longer than all the calls of a small program take by the trap. So
 * under the net nothing is rewritten at start-up, but all of it when a number of calls have trapped, before a thread is made,
 * and before a filter of system calls is set up that may not let us open files.
 *
 * Until then one thread runs: a child of vfork has a parent that waits, but it rewrites nothing. So nobody is inside of what is
 * rewritten but for whom a signal has interrupted. As long as no handler has run there is no such; afterwards only what is
 * safe at any instruction is rewritten, and what is left goes on to trap. The only other address that is gone back to is
 * that behind the call at hand; one that has just trapped goes on in the stub of its site instead.
 *
 * Who runs this: the only thread, in the handler of SIGSYS or at a hooked call. A child of fork has a copy.
 */
import { AUDIT, LIBZPHOOK, valueOf } from "../process/environment";
import { currentThread, isLent } from "../process/thread";
import { syscall6 } from "../std/raw";
import { SIG_SETMASK, SIGSET_SIZE } from "../std/signals";
import { SYS_RT_SIGPROCMASK } from "../std/sys";
import { usesTrap } from "./kinds";
import { rewriteAll, rewriteLate } from "./rewrite";
import { wayOf } from "./stubs";
import { JUMP_SIZE, WINDOW_ONE } from "./window";

// @ts-ignore: decorator
@external("symbol", "zp_handled")
declare function zp_handled(): usize;

/** So many traps take about as long as rewriting does. */
const MOST_TRAPS: u32 = 150;

/** How many traps are left before everything is rewritten; 0: it has been. */
let left: u32 = 0;
/** Meanwhile memory has become executable that the program may have written to before. */
let written: bool = false;
/**
 * While everything is rewritten: the address behind the call at hand, and whether somebody may come back elsewhere, from a
 * handler or from vfork.
 */
let returning: usize = 0;
let interrupted: bool = false;

/** All signals, and the mask of before. */
const masks: usize = memory.data<u64>([0xffffffffffffffff, 0]);

/** Start-up: rewrites everything, or puts it off. A C hook has threads as it likes; the audit log tells of all sites at once. */
export function beginRewriting(): void {
  if (usesTrap && !valueOf(AUDIT) && !valueOf(LIBZPHOOK)) left = MOST_TRAPS;
  else rewriteAll();
}

// @ts-ignore: decorator
@inline
export function isDeferred(): bool {
  return left != 0;
}

/** Memory has become executable: by mmap, or else with what the program may have written there. */
export function deferMapped(mapped: bool): void {
  if (!mapped) written = true;
}

/**
 * The call of `site` has trapped, and has not been made. Answers 0, or where in the site's stub it goes on, because it may not
 * be able to come back behind the site any more.
 */
export function countTrap(site: usize): usize {
  if (isLent(currentThread())) return 0;
  if (left > 1) {
    left--;
    return 0;
  }
  rewriteNow(0);
  return wayOf(site);
}

/** Rewrites what was put off. The call at hand, if there is one, goes on at `after`: it stays possible. */
export function rewriteNow(after: usize): void {
  if (!left) return;
  syscall6(SYS_RT_SIGPROCMASK, SIG_SETMASK, masks, masks + 8, SIGSET_SIZE, 0, 0);
  left = 0;
  returning = after;
  interrupted = load<u8>(zp_handled()) != 0 || isLent(currentThread());
  rewriteLate(!written);
  returning = 0;
  interrupted = false;
  syscall6(SYS_RT_SIGPROCMASK, SIG_SETMASK, masks + 8, 0, SIGSET_SIZE, 0, 0);
}

/** A handler of signals may run without `zp_signal`. */
export function noteHandler(): void {
  store<u8>(zp_handled(), 1);
}

/** Whether a jump at `from`, with WINDOW_* `traits`, can be put where somebody may go on. */
// @ts-ignore: decorator
@inline
export function maySwap(from: usize, traits: u32): bool {
  if (interrupted && !(traits & WINDOW_ONE)) return false;
  return returning <= from || returning >= from + JUMP_SIZE;
}
