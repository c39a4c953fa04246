/**
 * Programs of Go make calls on stacks with little room: a goroutine begins with 2 KiB, and its functions promise those that
 * check nothing (as the one with the `syscall`) 800 bytes, callers included. The frame and the way here take 350 bytes, what
 * records a call as much again, and below lies what belongs to others. So in such a program guest code goes on on a stack of
 * the thread's own, unless the thread is on one of which it is known that it has room.
 *
 * Only there: a handler that interrupts guest code on this stack and goes on with another coroutine would find it used again.
 * Go's handlers run on an alternate stack, and return.
 *
 * Who runs this: any thread, at a hooked call, also in a signal handler.
 */
import { THREAD_ROOM, THREAD_ROOM_BUSY } from "../../src/image/layout";
import { Frame } from "../hook/frame";
import { readable } from "../record/memory";
import { call4, gsLoad64, gsStore64 } from "../std/raw";
import { failed, mapPages } from "../std/sys";
import { AT_PHDR, AT_PHNUM, auxiliary, LIBZPHOOK, valueOf } from "./environment";
import { own } from "./own";
import { currentThread, setStack } from "./thread";

// @ts-ignore: decorator
@external("symbol", "zp_elsewhere")
declare function zp_elsewhere(): usize;

const ROOM_SIZE: usize = 32768;
/** Of every stack that a thread begins on so much is there: Go's own of 16 KiB among them. */
const SURE: usize = 8192;

// Program headers and notes (elf(5)).
const PHDR_SIZE: usize = 56;
const PT_LOAD: u32 = 1;
const PT_NOTE: u32 = 4;
const MOST_NOTE: usize = 4096;
/** `Go` with its NULs. */
const GO: u32 = 0x6f47;

// stack_t (asm/signal.h).
const SS_FLAGS: usize = 8;
const SS_SIZE: usize = 16;
const SS_DISABLE: u32 = 2;

/** Whether this is such a program. Decided at start-up. */
export let hasGoroutines: bool = false;

/** Start-up. `stack`: an address near the end of the initial stack. A C hook has a stack of its own in any case. */
export function lookForGoroutines(stack: usize): void {
  const hook = valueOf(LIBZPHOOK);
  if (hook && load<u8>(hook)) return;
  hasGoroutines = hasGoNote(<usize>auxiliary(AT_PHDR), <usize>auxiliary(AT_PHNUM));
  if (hasGoroutines) setStack(currentThread(), stack);
}

function hasGoNote(headers: usize, count: usize): bool {
  const bias = biasOf(headers, count);
  for (let i: usize = 0; i < count; i++) {
    const header = headers + i * PHDR_SIZE;
    const size = load<usize>(header, 32);
    let note = bias + load<usize>(header, 16);
    if (load<u32>(header) != PT_NOTE || size > MOST_NOTE || !readable(note, size)) continue;
    for (const end = note + size; note + 16 <= end; ) {
      if (load<u32>(note) == 4 && load<u32>(note, 12) == GO) return true;
      note += 12 + ((<usize>load<u32>(note) + 3) & ~3) + ((<usize>load<u32>(note, 4) + 3) & ~3);
    }
  }
  return false;
}

/** The headers lie in the first page of the file, which the first segment shows. */
function biasOf(headers: usize, count: usize): usize {
  for (let i: usize = 0; i < count; i++) {
    const header = headers + i * PHDR_SIZE;
    if (load<u32>(header) == PT_LOAD && load<usize>(header, 8) == 0) return (headers & ~4095) - load<usize>(header, 16);
  }
  return 0;
}

/** After a sigaltstack that succeeded. */
export function noteAlternateStack(f: Frame): void {
  const stack = <usize>f.a0;
  if (!hasGoroutines || !stack) return;
  const thread = currentThread();
  thread.alternateLow = load<usize>(stack);
  thread.alternateSize = load<u32>(stack, SS_FLAGS) & SS_DISABLE ? 0 : load<usize>(stack, SS_SIZE);
}

/** Whether guest code for the call of `f` must not go on where it is. */
export function isCramped(f: Frame): bool {
  if (gsLoad64(THREAD_ROOM_BUSY)) return false;
  const thread = currentThread();
  const at = changetype<usize>(f);
  if (thread.stackHigh - at < SURE || at - thread.alternateLow < thread.alternateSize) return false;
  if (gsLoad64(THREAD_ROOM)) return true;
  const pages = mapPages(ROOM_SIZE);
  if (failed(pages)) return false;
  own(<usize>pages, ROOM_SIZE);
  gsStore64(THREAD_ROOM, <u64>pages + ROOM_SIZE);
  return true;
}

/** Calls the function `fn` of the image with `f` and `action`, on the thread's own stack. */
export function elsewhere(fn: usize, f: Frame, action: u32): u32 {
  gsStore64(THREAD_ROOM_BUSY, 1);
  const result = call4(zp_elsewhere(), fn, changetype<usize>(f), action, gsLoad64(THREAD_ROOM));
  gsStore64(THREAD_ROOM_BUSY, 0);
  return <u32>result;
}
