/**
 * The `jump` patch, for a call site that must not become `call *%rax`: its function uses the red zone, or the number in
 * rax can be anything (libc's `syscall()`), and a number beyond the sled would lead nowhere.
 *
 * The instruction right before the `syscall`, of five bytes or more (a `mov` as a rule), is replaced by a near jump to a
 * stub of the site's own, which holds a copy of it and does not touch the stack. The `syscall` stays where it is; nothing
 * leads to it any more, because no branch of the function enters between the two (plan.ts has checked that). But at a
 * cancellation point the stub goes back to it.
 *
 * Who runs this: as rewrite.ts says. A page of stubs is never writable and executable: as a rule it is
 * filled through /proc/self/mem.
 */
import { own } from "../process/own";
import { pause, syscall6 } from "../std/raw";
import {
  failed,
  MAP_ANONYMOUS,
  MAP_FIXED_NOREPLACE,
  MAP_PRIVATE,
  PROT_EXEC,
  PROT_READ,
  PROT_WRITE,
  SYS_MMAP,
  SYS_MPROTECT,
} from "../std/sys";
import { usesTrap } from "./kinds";
import { mappingAt, Maps } from "./maps";
import { addPatch, PatchBatch, pokeText } from "./patch";
import { Entry, whyOf } from "./list";
import { JUMP_SIZE, WHY_CANCELLATION } from "./plan";

// @ts-ignore: decorator
@external("symbol", "zp_jump_entry")
declare function zp_jump_entry(): usize;
// @ts-ignore: decorator
@external("symbol", "zp_cancel_entry")
declare function zp_cancel_entry(): usize;

/** The opcode of a near jump. */
const JUMP: u64 = 0xe9;
const STUB_SIZE: usize = 40;
/** Where the address of the entry stub stands in a stub: behind at most 15 and 13 bytes, and aligned. */
const ENTRY_AT: usize = 32;
const STUBS_SIZE: usize = 4096;
/** A near jump reaches 2 GiB; half of that leaves room for the module itself. */
const REACH: usize = 1 << 30;
/** A gap between mappings that is worth looking at; what is mapped next will as a rule be put right below a mapping. */
const GAP: usize = 1 << 21;

/** The page of stubs in use (0: none yet), and how much of it is taken. */
let stubs: usize = 0;
let taken: usize = 0;

/** Guards the page of stubs and the buffer below. Not waited for without end: a signal handler may have interrupted its owner. */
const lock: StaticArray<u32> = [0];
const LOCK_TRIES: u32 = 1 << 20;
/** The stub that is written next. */
const buffer: StaticArray<u64> = [0, 0, 0, 0, 0];

/**
 * Adds a jump in place of the instruction right before `site`, as planned in `entry`. False where there is no stub to be
 * had: nothing changed.
 */
export function addJump(batch: PatchBatch, maps: Maps, site: usize, entry: Entry): bool {
  for (let tries: u32 = 0; atomic.cmpxchg<u32>(changetype<usize>(lock), 0, 1); tries++) {
    if (tries > LOCK_TRIES) return false;
    pause();
  }
  const moved = site - entry.detail;
  const stub = makeStub(batch.text, maps, moved, entry);
  atomic.store<u32>(changetype<usize>(lock), 0);
  if (!stub) return false;
  addPatch(batch, moved, JUMP | (<u64>(<u32>(stub - (moved + JUMP_SIZE))) << 8), JUMP_SIZE);
  return true;
}

/** Address of a new stub; 0 when there is none. */
function makeStub(text: i64, maps: Maps, moved: usize, entry: Entry): usize {
  const bytes = changetype<usize>(buffer);
  const stub = failed(text) ? 0 : takeStub(maps, moved);
  if (stub) {
    fillStub(bytes, stub, moved, entry);
    if (pokeText(text, stub, bytes, STUB_SIZE)) return stub;
  }
  // A page of its own: one where other stubs are must stay executable.
  const page = mapBelow(maps, moved, PROT_READ | PROT_WRITE);
  if (!page) return 0;
  fillStub(page, page, moved, entry);
  return failed(syscall6(SYS_MPROTECT, page, STUBS_SIZE, PROT_READ | PROT_EXEC, 0, 0, 0)) ? 0 : page;
}

/**
 * Writes to `bytes` what belongs at `stub`:
 *
 *     …                the moved instruction
 *     48 8d 0d AFTER   lea AFTER(%rip), %rcx
 *     ff 25 ENTRY_AT   jmp *ENTRY_AT(%rip)
 *     …
 *     ENTRY            at ENTRY_AT: the entry stub
 */
function fillStub(bytes: usize, stub: usize, moved: usize, entry: Entry): void {
  const length: usize = entry.detail;
  memory.copy(bytes, moved, length);
  const tail = bytes + length;
  const after = moved + length + 2;
  store<u32>(tail, 0x0d8d48);
  store<u32>(tail, <u32>(after - (stub + length + 7)), 3);
  store<u16>(tail, 0x25ff, 7);
  store<u32>(tail, <u32>(ENTRY_AT - (length + 13)), 9);
  const atSite = whyOf(entry) == WHY_CANCELLATION && !usesTrap; // under the trap no call is made from there
  store<usize>(bytes + ENTRY_AT, atSite ? zp_cancel_entry() : zp_jump_entry());
}

/** Room for one stub that a near jump at `near` reaches; 0 when there is none. */
function takeStub(maps: Maps, near: usize): usize {
  if (!stubs || !reaches(near, stubs) || taken + STUB_SIZE > STUBS_SIZE) {
    const page = mapBelow(maps, near, PROT_READ | PROT_EXEC);
    if (!page) return 0;
    stubs = page;
    taken = 0;
  }
  const stub = stubs + taken;
  taken += STUB_SIZE;
  return stub;
}

function reaches(a: usize, b: usize): bool {
  return (a > b ? a - b : b - a) < REACH;
}

/** Pages tried in one gap. */
const MOST_PAGES: usize = 64;

/**
 * A page in a gap between mappings below `near`: near the end of the gap, so that what grows upwards (brk) meets it last.
 * What the list does not have, our own stubs of before and what other threads map, is not replaced: then the next page, or
 * the next gap, serves.
 */
function mapBelow(maps: Maps, near: usize, protection: u64): usize {
  const flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE;
  for (let i = maps.count; i > 1; i--) {
    const end = mappingAt(maps, i - 1).start;
    if (end > near || mappingAt(maps, i - 2).end + GAP > end) continue;
    for (let n: usize = 0; n < MOST_PAGES; n++) {
      const address = end - GAP + n * STUBS_SIZE;
      if (!reaches(near, address)) return 0;
      const page = syscall6(SYS_MMAP, address, STUBS_SIZE, protection, flags, <u64>-1, 0);
      if (failed(page)) continue;
      own(<usize>page, STUBS_SIZE);
      return <usize>page;
    }
  }
  return 0;
}
