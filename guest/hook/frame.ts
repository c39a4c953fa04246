/** The frame that the entry stub builds for a hooked call (offsets: FRAME_* in src/image/layout.ts). */
import { FRAME_TO_PROGRAM } from "../../src/image/layout";

// @ts-ignore: decorator
@unmanaged
export class Frame {
  nr: u64;
  a0: u64;
  a1: u64;
  a2: u64;
  a3: u64;
  a4: u64;
  a5: u64;
  result: u64;
  flags: u64;
  tsc: u64;
  cookie: u64;
  plan0: u32;
  plan1: u32;
  plan2: u32;
  plan3: u32;
  plan4: u32;
  plan5: u32;
  /** The program's stack pointer: only after placeFrame. */
  sp: usize;
  /** Where the stub goes on. */
  next: usize;
  /** Address after the call site. */
  ip: usize;
}

/** 32 bytes of the frame for a call that is answered at once: nothing looks at them any more. */
// @ts-ignore: decorator
@inline
export function scratchOf(f: Frame): usize {
  return changetype<usize>(f) + offsetof<Frame>("cookie");
}

/** A frame that the stub has made lies below the program's stack pointer, and does not say so yet. */
// @ts-ignore: decorator
@inline
export function placeFrame(f: Frame): void {
  f.sp = changetype<usize>(f) + FRAME_TO_PROGRAM;
}

/** Argument 0…5. */
// @ts-ignore: decorator
@inline
export function argument(f: Frame, index: u32): u64 {
  return load<u64>(changetype<usize>(f) + 8 + (<usize>index << 3));
}
