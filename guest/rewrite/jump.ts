/**
 * The `jump` patch, for a call site that must not become `call *%rax`: its function uses the red zone, or the number in
 * rax can be anything (libc's `syscall()`), and a number beyond the sled would lead nowhere.
 *
 * The window that plan.ts has found before the `syscall` begins with a near jump to a
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
import { Insn } from "./insn";
import { Entry } from "./list";
import { nearStubSize, writeNearStub } from "./near-stub";
import { WHY_CANCELLATION } from "./plan";
import { JUMP_SIZE } from "./window";

// @ts-ignore: decorator
@external("symbol", "zp_jump_entry")
declare function zp_jump_entry(): usize;
// @ts-ignore: decorator
@external("symbol", "zp_cancel_entry")
declare function zp_cancel_entry(): usize;

/** The opcode of a near jump. */
const JUMP: u64 = 0xe9;
/** Most bytes of the address of the entry and a stub behind it. */
const MOST_STUB: usize = 128;
const STUBS_SIZE: usize = 4096;
/** A near jump reaches 2 GiB; half of that leaves room for the module itself. */
const REACH: usize = 1 << 30;
/** A gap between mappings that is worth looking at; what is mapped next will as a rule be put right below a mapping. */
const GAP: usize = 1 << 23;

/** The page of stubs in use (0: none yet), and how much of it is taken. */
let stubs: usize = 0;
let taken: usize = 0;

/** Guards the page of stubs and the buffer below. Not waited for without end: a signal handler may have interrupted its owner. */
const lock: StaticArray<u32> = [0];
const LOCK_TRIES: u32 = 1 << 20;
/** The address of the entry and the stub that are written next. */
const buffer: usize = memory.data(128, 8);
const scratch: usize = memory.data(64, 8);

/**
 * Adds a jump in place of the instruction right before `site`, as planned in `entry`. False where there is no stub to be
 * had: nothing changed.
 */
export function addJump(batch: PatchBatch, maps: Maps, site: usize, entry: Entry): bool {
  for (let tries: u32 = 0; atomic.cmpxchg<u32>(changetype<usize>(lock), 0, 1); tries++) {
    if (tries > LOCK_TRIES) return false;
    pause();
  }
  const from = site - entry.before;
  const stub = makeStub(batch.text, maps, site, entry);
  atomic.store<u32>(changetype<usize>(lock), 0);
  if (!stub) return false;
  addPatch(batch, from, JUMP | (<u64>(<u32>(stub - (from + JUMP_SIZE))) << 8), JUMP_SIZE);
  return true;
}

/** Address of a new stub; 0 when there is none. */
function makeStub(text: i64, maps: Maps, site: usize, entry: Entry): usize {
  const size = (nearStubSize(entry) + 8 + 7) & ~7;
  const room = failed(text) || size > MOST_STUB ? 0 : takeRoom(maps, site, size);
  if (room) {
    if (!fillRoom(buffer, room, site, entry)) return 0;
    if (pokeText(text, room, buffer, size)) return room + 8;
  }
  // A page of its own: one where other stubs are must stay executable.
  const page = mapBelow(maps, site, PROT_READ | PROT_WRITE);
  if (!page || !fillRoom(page, page, site, entry)) return 0;
  return failed(syscall6(SYS_MPROTECT, page, STUBS_SIZE, PROT_READ | PROT_EXEC, 0, 0, 0)) ? 0 : page + 8;
}

/** Writes to `bytes` what belongs at `room`: the address of the entry, and the stub behind it. */
function fillRoom(bytes: usize, room: usize, site: usize, entry: Entry): bool {
  const atSite = entry.why == WHY_CANCELLATION && !usesTrap; // under the trap no call is made from there
  store<usize>(bytes, atSite ? zp_cancel_entry() : zp_jump_entry());
  return writeNearStub(bytes + 8, room + 8, site, entry, room, changetype<Insn>(scratch)) != 0;
}

/** `size` bytes that a near jump at `near` reaches; 0 when there are none. */
function takeRoom(maps: Maps, near: usize, size: usize): usize {
  if (!stubs || !reaches(near, stubs) || taken + size > STUBS_SIZE) {
    const page = mapBelow(maps, near, PROT_READ | PROT_EXEC);
    if (!page) return 0;
    stubs = page;
    taken = 0;
  }
  const room = stubs + taken;
  taken += size;
  return room;
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
