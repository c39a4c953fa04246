/** The frame that the entry stub builds for a hooked call (offsets: FRAME_* in src/image/layout.ts). */

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
  /** The program's stack pointer. */
  sp: usize;
  /** Address after the call site. */
  ip: usize;
}

/** 32 bytes of the frame for a call that is answered at once: nothing looks at them any more. */
// @ts-ignore: decorator
@inline
export function scratchOf(f: Frame): usize {
  return changetype<usize>(f) + offsetof<Frame>("cookie");
}

/** Argument 0…5. */
// @ts-ignore: decorator
@inline
export function argument(f: Frame, index: u32): u64 {
  return load<u64>(changetype<usize>(f) + 8 + (<usize>index << 3));
}
