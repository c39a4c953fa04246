/**
 * Sites that trap although all has been rewritten. What was not known to be an instruction is known to be one now: where what
 * stands before it can be proved, too, and one word makes the jump (jump.ts), it gets one. Each site is tried once.
 *
 * Who runs this: any thread, in the handler of SIGSYS, all signals blocked, while others may be running the code. One of them
 * at a time; a site that another thread brings meanwhile goes on to trap, as all do in a child of fork whose parent was in
 * here.
 */
import { currentThread, isLent } from "../process/thread";
import { prefersJump } from "./kinds";
import { rewriteSite } from "./rewrite";

/** Each costs as much as hundreds of traps, and code that is made at run time may have any number of sites. */
const MOST_TRIES: u32 = 64;

let tries: u32 = 0;
const busy: StaticArray<u32> = [0];

/** The `syscall` at `site` has trapped for the first time. */
export function learnSite(site: usize): void {
  if (!prefersJump || tries >= MOST_TRIES || isLent(currentThread())) return;
  if (atomic.cmpxchg<u32>(changetype<usize>(busy), 0, 1)) return;
  tries++;
  rewriteSite(site);
  atomic.store<u32>(changetype<usize>(busy), 0);
}

/** Calls that this makes may be forbidden from now on. */
export function stopLearning(): void {
  tries = MOST_TRIES;
}
