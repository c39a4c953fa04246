/**
 * The near stubs of jump patches (near-stub.ts), one area of pages for all that are made at once: the stubs of a mapping,
 * as a rule. An area is written before it becomes executable, and never changed while it belongs to code; the list of
 * areas tells which site a stub belongs to, and the other way round. When the code is unmapped, or another file is mapped
 * over it, the area serves other code.
 *
 * Who runs this: one thread fills an area that no other thread sees before it is done; any thread reads, also in a signal
 * handler. Nothing is locked.
 */
import { STUB_AREAS } from "../../src/image/layout";
import { syscall6 } from "../std/raw";
import {
  failed,
  MAP_ANONYMOUS,
  MAP_FIXED,
  MAP_PRIVATE,
  mapPages,
  PROT_EXEC,
  PROT_READ,
  PROT_WRITE,
  SYS_MMAP,
  SYS_MPROTECT,
  unmapPages,
} from "../std/sys";
import { Insn } from "./insn";
import { Entry } from "./list";
import { nearStubSize, nearStubBehind, LEA_SIZE, SYSCALL_SIZE, writeNearStub } from "./near-stub";
import { reaches, takeNear } from "./near-memory";
import { pokeText } from "./patch";
import { JUMP_SIZE, WINDOW_RELATIVE } from "./window";

// @ts-ignore: decorator
@external("symbol", "zp_stub_areas")
declare function zp_stub_areas(): usize;
// @ts-ignore: decorator
@external("symbol", "zp_jump_entry")
declare function zp_jump_entry(): usize;
// @ts-ignore: decorator
@external("symbol", "zp_jump_known")
declare function zp_jump_known(): usize;
// @ts-ignore: decorator
@external("symbol", "zp_jump_tail")
declare function zp_jump_tail(): usize;
// @ts-ignore: decorator
@external("symbol", "zp_cancel_entry")
declare function zp_cancel_entry(): usize;

/** Pages: AreaHead, `most` Rows, the stubs in the order of their sites. */
// @ts-ignore: decorator
@unmanaged
export class Area {
  /** AREA_*. */
  state: u32;
  count: u32;
  most: u32;
  /** Bytes in use. */
  used: u32;
  start: usize;
  end: usize;
  /** What is left of the code: [low, high). Rows count from `origin`. */
  low: usize;
  high: usize;
  origin: usize;
}

const AREA_FREE: u32 = 0;
const AREA_TAKEN: u32 = 1;
const AREA_DONE: u32 = 2;

/** Where stubs go on: the pairs of writeNearStub. */
// @ts-ignore: decorator
@unmanaged
class AreaHead {
  entry: usize;
  tail: usize;
  cancelEntry: usize;
  cancelTail: usize;
  /** For stubs without a tail. */
  knownEntry: usize;
  unused: usize;
}

// @ts-ignore: decorator
@unmanaged
class Row {
  /** Of the `syscall`, from `origin`. */
  site: u32;
  /** From the start of the area. */
  stub: u32;
}
// In the top byte of `stub`: how far before the site the jump stands, and whether what is behind may have another length.
const STUB_MASK: u32 = (1 << 24) - 1;
const BEFORE_SHIFT: u32 = 24;
const BEFORE_MASK: u32 = 127;
const OTHER_LENGTH: u32 = <u32>1 << 31;

// @ts-ignore: decorator
@inline
function beforeOf(row: Row): u32 {
  return (row.stub >> BEFORE_SHIFT) & BEFORE_MASK;
}

const STUB_ALIGN: usize = 16;
const PAGE: usize = 4096;
const MOST_BYTES: usize = 1 << 24;

const countWord: StaticArray<u32> = [0];

// @ts-ignore: decorator
@inline
function areaCount(): u32 {
  const count = atomic.load<u32>(changetype<usize>(countWord));
  return count < <u32>STUB_AREAS ? count : <u32>STUB_AREAS;
}

// @ts-ignore: decorator
@inline
function areaAt(index: u32): Area {
  return changetype<Area>(zp_stub_areas() + <usize>index * offsetof<Area>());
}

// @ts-ignore: decorator
@inline
function stateOf(area: Area): usize {
  return changetype<usize>(area) + offsetof<Area>("state");
}

function rowAt(area: Area, index: u32): Row {
  return changetype<Row>(area.start + offsetof<AreaHead>() + <usize>index * offsetof<Row>());
}

/** Bytes that the stub takes in an area. */
export function stubBytes(entry: Entry): usize {
  return ((nearStubSize(entry) + STUB_ALIGN - 1) & ~(STUB_ALIGN - 1)) + offsetof<Row>();
}

/**
 * A writable area for at most `most` stubs of [low, high), whose stubBytes are `bytes` in all. 0 when there is none to be
 * had.
 */
export function openArea(low: usize, high: usize, most: u32, bytes: usize): usize {
  const size = (offsetof<AreaHead>() + bytes + STUB_ALIGN + PAGE - 1) & ~(PAGE - 1);
  if (size > MOST_BYTES || high - low > <usize>u32.MAX_VALUE) return 0;
  const found = takeArea(low, high, size);
  if (!found) return 0;
  const area = changetype<Area>(found);
  if (!area.start) {
    area.start = takeNear(low, high, size);
    area.end = area.start ? area.start + size : 0;
  }
  if (!area.start || !mapPagesOf(area, PROT_READ | PROT_WRITE)) {
    atomic.store<u32>(stateOf(area), AREA_FREE);
    return 0;
  }
  area.low = area.origin = low;
  area.high = high;
  area.most = most;
  area.count = 0;
  area.used = <u32>((offsetof<AreaHead>() + <usize>most * offsetof<Row>() + STUB_ALIGN - 1) & ~(STUB_ALIGN - 1));
  const head = changetype<AreaHead>(area.start);
  head.entry = zp_jump_entry();
  head.tail = zp_jump_tail();
  head.knownEntry = zp_jump_known();
  head.cancelEntry = head.cancelTail = zp_cancel_entry();
  return found;
}

/** One that serves no code any more, or one without pages yet. */
function takeArea(low: usize, high: usize, size: usize): usize {
  const count = areaCount();
  for (let i: u32 = 0; i < count; i++) {
    const area = areaAt(i);
    if (area.state != AREA_FREE) continue;
    const fits = !area.start || (area.end - area.start >= size && reaches(area.start, area.end, low, high));
    if (fits && atomic.cmpxchg<u32>(stateOf(area), AREA_FREE, AREA_TAKEN) == AREA_FREE) return changetype<usize>(area);
  }
  const index = atomic.add<u32>(changetype<usize>(countWord), 1);
  if (index >= <u32>STUB_AREAS) return 0;
  const area = areaAt(index);
  return atomic.cmpxchg<u32>(stateOf(area), AREA_FREE, AREA_TAKEN) == AREA_FREE ? changetype<usize>(area) : 0;
}

/** `mov $imm32, %eax` */
const MOV_EAX: u8 = 0xb8;
const MOV_EAX_SIZE: u8 = 5;
/** Linux has no greater number on x86-64. */
const KNOWN_NUMBERS: u32 = 512;

/** Whether all that is moved is an instruction that loads a number for zp_jump_known. */
function isNumberKnown(site: usize, entry: Entry): bool {
  if (entry.before != MOV_EAX_SIZE || entry.after) return false;
  return load<u8>(site - 5) == MOV_EAX && load<u32>(site - 4) < KNOWN_NUMBERS;
}

/** Makes the stub of `site`, which lies behind all that the area has. False: it cannot be; the area is as before. */
export function addStub(area: Area, site: usize, entry: Entry, cancellable: bool, insn: Insn): bool {
  const stub = area.start + area.used;
  if (area.count == area.most || stub + nearStubSize(entry) > area.end) return false;
  let entries = area.start;
  if (cancellable) entries += offsetof<AreaHead>("cancelEntry");
  else if (isNumberKnown(site, entry)) entries += offsetof<AreaHead>("knownEntry");
  const length = writeNearStub(stub, stub, site, entry, entries, insn);
  if (!length) return false;
  const row = rowAt(area, area.count++);
  row.site = <u32>(site - area.origin);
  const relative = entry.traits & WINDOW_RELATIVE ? OTHER_LENGTH : 0;
  row.stub = area.used | (<u32>entry.before << BEFORE_SHIFT) | relative;
  area.used = <u32>((<usize>area.used + length + STUB_ALIGN - 1) & ~(STUB_ALIGN - 1));
  return true;
}

/** The stubs can be jumped to from now on. False: they never can. `text` is from openText. */
export function closeArea(area: Area, text: i64): bool {
  const closed = area.count != 0 && (makeExecutable(area) || mapExecutable(area, text));
  atomic.store<u32>(stateOf(area), closed ? AREA_DONE : AREA_FREE);
  return closed;
}

/** Where memory that was written may not become executable (PR_SET_MDWE): /proc/self/mem writes to what is so from the start. */
function mapExecutable(area: Area, text: i64): bool {
  const size = area.end - area.start;
  const copy = mapPages(size);
  if (failed(copy)) return false;
  memory.copy(<usize>copy, area.start, size);
  const written = mapPagesOf(area, PROT_READ | PROT_EXEC) && pokeText(text, area.start, <usize>copy, size);
  unmapPages(<usize>copy, size);
  return written;
}

function makeExecutable(area: Area): bool {
  return !failed(syscall6(SYS_MPROTECT, area.start, area.end - area.start, PROT_READ | PROT_EXEC, 0, 0, 0));
}

/** Fresh pages in the place of those that the area has. */
function mapPagesOf(area: Area, protection: u64): bool {
  const flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;
  return !failed(syscall6(SYS_MMAP, area.start, area.end - area.start, protection, flags, <u64>-1, 0));
}

/** Whether row `index` of the area `found` is that of `site`. */
export function hasRow(found: usize, index: u32, site: usize): bool {
  const area = changetype<Area>(found);
  return index < area.count && area.origin + rowAt(area, index).site == site;
}

export function stubOfRow(area: Area, index: u32): usize {
  return area.start + (rowAt(area, index).stub & STUB_MASK);
}

const JUMP: u8 = 0xe9;

/** Whether a jump to the stub of `site` stands before it. */
export function isJumpPatched(site: usize): bool {
  return wayOf(site) != 0;
}

/** Where the stub of `site` is when it has done what stands before the site; 0 when no jump leads to one. */
export function wayOf(site: usize): usize {
  const count = areaCount();
  for (let i: u32 = 0; i < count; i++) {
    const area = areaAt(i);
    if (atomic.load<u32>(stateOf(area)) != AREA_DONE || site < area.low || site >= area.high) continue;
    const index = lastRow(area, <u32>(site - area.origin), 0);
    if (!hasRow(changetype<usize>(area), index, site)) continue;
    const before = <usize>beforeOf(rowAt(area, index));
    const at = site - before;
    const target = at + JUMP_SIZE + <isize>load<i32>(at, 1);
    if (load<u8>(at) == JUMP && target == stubOfRow(area, index)) return target + before;
  }
  return 0;
}

/**
 * The instruction of the program whose copy, in a stub, `address` lies in; the `syscall`, or what is behind it, where that is
 * not known. 0 outside of all stubs.
 */
export function programAddress(address: usize): usize {
  const count = areaCount();
  for (let i: u32 = 0; i < count; i++) {
    const area = areaAt(i);
    if (atomic.load<u32>(stateOf(area)) != AREA_DONE || address < area.start || address >= area.end) continue;
    const offset = <u32>(address - area.start);
    const index = lastRow(area, offset, STUB_MASK);
    if (index < area.count && offset < area.used) return placeInStub(area, rowAt(area, index), offset);
  }
  return 0;
}

function placeInStub(area: Area, row: Row, offset: u32): usize {
  const site = area.origin + row.site;
  const before = beforeOf(row);
  const stub = row.stub & STUB_MASK;
  const at = offset - stub;
  if (at <= before) return site - before + at;
  const behind = nearStubBehind(area.start + stub, before);
  if (at < behind) return at < behind - LEA_SIZE ? site : site + SYSCALL_SIZE;
  return site + SYSCALL_SIZE + (row.stub & OTHER_LENGTH ? 0 : at - behind);
}

/** The last row that is not beyond `key`: by place of the site, or with a mask by that of the stub. None: a great number. */
function lastRow(area: Area, key: u32, mask: u32): u32 {
  let low: u32 = 0;
  let high = area.count;
  while (low < high) {
    const middle = (low + high) >> 1;
    const row = rowAt(area, middle);
    if ((mask ? row.stub & mask : row.site) <= key) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

/** The code in [from, to) is gone. Threads that are still in a stub of it would not have come back to it natively either. */
export function dropStubs(from: usize, to: usize): void {
  const count = areaCount();
  for (let i: u32 = 0; i < count; i++) {
    const area = areaAt(i);
    if (atomic.load<u32>(stateOf(area)) != AREA_DONE || from >= area.high || to <= area.low) continue;
    if (from <= area.low) area.low = to;
    else if (to >= area.high) area.high = from;
    if (area.low >= area.high) atomic.cmpxchg<u32>(stateOf(area), AREA_DONE, AREA_FREE);
  }
}
