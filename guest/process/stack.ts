/**
 * A thread that unmaps the stack that it stands on, and then ends (musl's detached threads do). Its last system calls are
 * made without a stack; a rewritten site needs one. So the thread gets another one from us.
 */
import { FRAME_TO_PROGRAM, THREAD_RETURN, THREAD_STACK } from "../../src/image/layout";
import { Frame } from "../hook/frame";
import { gsLoad64, gsStore64 } from "../std/raw";
import { own } from "./own";
import { failed, mapPages } from "../std/sys";

/** A word of the thread block: end of the stack that it has for this, kept for the next thread. 0: not mapped yet. */
const SPARE_STACK: u32 = 4088;
const SPARE_SIZE: usize = 16384;

/** Whether a munmap takes away memory that the stub itself stands on. */
export function unmapsOwnStack(f: Frame): bool {
  return hasStack(f, <usize>f.a0, <usize>(f.a0 + f.a1));
}

/** Whether [start, end) has a part of that memory. */
export function hasStack(f: Frame, start: usize, end: usize): bool {
  return start < f.sp && end > f.sp - FRAME_TO_PROGRAM;
}

/**
 * Says where the program goes on after such a munmap, and on which stack: its own, where only what lies below its stack
 * pointer goes, or when there is no memory.
 */
export function leaveStack(f: Frame): void {
  gsStore64(THREAD_RETURN, f.next);
  gsStore64(THREAD_STACK, f.sp);
  if (f.a0 + f.a1 <= <u64>f.sp) return;
  if (!gsLoad64(SPARE_STACK)) {
    const pages = mapPages(SPARE_SIZE);
    if (failed(pages)) return;
    own(<usize>pages, SPARE_SIZE);
    gsStore64(SPARE_STACK, <u64>pages + SPARE_SIZE);
  }
  gsStore64(THREAD_STACK, gsLoad64(SPARE_STACK));
}
