/**
 * The trampoline of the `zero` patch: `call *%rax` lands in page 0 at the offset of the system call number. Geometry:
 * SLED_* in src/image/layout.ts.
 *
 * Runs once, before the program has threads. No page is ever writable and executable.
 */
import {
  LANDING_SLOT,
  LANDING_TO_SP,
  SLED_JUMP,
  SLED_NOP,
  SLED_SIZE,
  SLED_STEP,
  SLOT_PAD_SIZE,
  SLOTS_ENTRY,
  SLOTS_LOW,
  SLOTS_PADS,
  SLOTS_SIZE,
} from "../../src/image/layout";
import { own } from "../process/own";
import { syscall6 } from "../std/raw";
import {
  failed,
  MAP_ANONYMOUS,
  MAP_FIXED_NOREPLACE,
  MAP_POPULATE,
  MAP_PRIVATE,
  PROT_EXEC,
  PROT_READ,
  PROT_WRITE,
  SYS_MMAP,
  SYS_MPROTECT,
} from "../std/sys";

// @ts-ignore: decorator
@external("symbol", "zp_entry")
declare function zp_entry(): usize;

/** Bytes that a near jump ignores as a prefix: segment overrides, address size, REX. Each gives other slot addresses. */
const PREFIXES: StaticArray<u8> = [0x65, 0x64, 0x67, 0x4f, 0x3e, 0x36, 0x2e, 0x26];
const PREFIX_COUNT: u32 = 8;
const PAGE_MASK: usize = ~(<usize>4095);

/** 0, or -errno of the mapping that failed. */
export function mapSled(): i64 {
  const page = mapWritable(0, SLED_SIZE);
  if (failed(page)) return page;
  let prefix: u8 = 0;
  let slots: i64 = -1;
  for (let i: u32 = 0; i < PREFIX_COUNT && failed(slots); i++) {
    prefix = unchecked(PREFIXES[i]);
    slots = mapWritable(slotAddress(prefix) & PAGE_MASK, SLOTS_SIZE);
  }
  if (failed(slots)) return slots;
  own(0, SLED_SIZE);
  own(<usize>slots, SLOTS_SIZE);
  fillSled(prefix);
  fillSlots(slotAddress(prefix), <usize>slots);
  // Execute-only where the processor has protection keys, so that reading through NULL still faults there.
  const closed = protect(0, SLED_SIZE, PROT_EXEC);
  return failed(closed) ? closed : protect(<usize>slots, SLOTS_SIZE, PROT_READ | PROT_EXEC);
}

function mapWritable(address: usize, size: usize): i64 {
  const flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE | MAP_POPULATE;
  return syscall6(SYS_MMAP, address, size, PROT_READ | PROT_WRITE, flags, <u64>-1, 0);
}

function protect(address: usize, size: usize, protection: u64): i64 {
  return syscall6(SYS_MPROTECT, address, size, protection, 0, 0, 0);
}

// @ts-ignore: decorator
@inline
function slotAddress(prefix: u8): usize {
  return (<usize>prefix << 24) | SLOTS_LOW;
}

function fillSled(prefix: u8): void {
  for (let p: usize = 0; p < <usize>SLED_SIZE; p += SLED_STEP) {
    store<u8>(p, SLED_JUMP);
    for (let i: usize = 1; i < <usize>SLED_STEP - 1 && p + i < <usize>SLED_SIZE; i++) store<u8>(p + i, SLED_NOP);
    if (p + SLED_STEP - 1 < <usize>SLED_SIZE) store<u8>(p + SLED_STEP - 1, prefix);
  }
}

/**
 * Every slot jumps to its pad:
 *
 *     c7 84 24 PLACE SLOT   movl $SLOT, PLACE(%rsp)   LANDING_SLOT of the landing that may follow
 *     ff 25 ENTRY           jmp *ENTRY(%rip)          the entry stub, anywhere in the address space
 *
 * All that is read and written is aligned: the program may have asked for alignment checks (AC).
 */
function fillSlots(slot: usize, pages: usize): void {
  const entry = pages + SLOTS_ENTRY;
  store<usize>(entry, zp_entry());
  let pad = pages + SLOTS_PADS;
  for (let n: u32 = 0; n * <u32>SLED_STEP < <u32>SLED_SIZE; n++) {
    store<u8>(slot, SLED_JUMP);
    store<u32>(slot + 1, <u32>(pad - (slot + SLED_STEP)));
    store<u32>(pad, 0x2484c7);
    store<u32>(pad + 3, <u32>(LANDING_SLOT - LANDING_TO_SP));
    store<u32>(pad + 7, n);
    store<u16>(pad + 11, 0x25ff);
    store<u32>(pad + 13, <u32>(entry - (pad + 17)));
    slot += SLED_STEP;
    pad += SLOT_PAD_SIZE;
  }
}
