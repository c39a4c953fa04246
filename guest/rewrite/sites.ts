/**
 * Finds the system call instructions of a mapped text: searches for their bytes, then tells for each find whether it is
 * an instruction. What cannot be told is reported as such and never dropped.
 */
import { COMMON_LENGTH, COMMON_READ, commonInsn } from "./common";
import { decode } from "./decode";
import { Image } from "./elf";
import { beginsAt, coveringInsn, Flow, flowCapacity, MOST_EXITS, previousBegin, traceFlow } from "./flow";
import { Extent } from "./frames";
import { functionAt, needsSymbols } from "./functions";
import { HAS_MODRM, Insn, MAP_ONE, SYSCALL, SYSENTER } from "./insn";
import { RED_ZONE_UNKNOWN, redZone } from "./redzone";
import { nextPair } from "./scan";

export const VERDICT_SITE: u8 = 1;
/** The bytes are part of another instruction, or of data. */
export const VERDICT_NOT: u8 = 2;
export const VERDICT_UNSURE: u8 = 3;

// How a verdict was reached.
/** Control flow from the start of the function reaches the instruction (or the one that it is part of). */
export const REASON_FLOW: u8 = 1;
/** Not reached by branches; decoding from the end of the reached code before it tells. */
export const REASON_SWEEP: u8 = 2;
/** Unsure: no boundary is known before it, or it is too far away. */
export const REASON_NO_BOUNDARY: u8 = 3;
/** Unsure: control flow is not known to reach it. */
export const REASON_UNREACHED: u8 = 4;
/** As REASON_UNREACHED, and there are bytes before it that are no instructions: most likely data. */
export const REASON_DATA: u8 = 7;
/** Unsure: two reached instructions overlap here. */
export const REASON_OVERLAP: u8 = 5;
/** Unsure: an instruction with needless prefixes; `address` is that of its opcode. */
export const REASON_PREFIX: u8 = 6;

/** A place where the bytes 0f 05 or 0f 34 stand. */
// @ts-ignore: decorator
@unmanaged
export class Site {
  address: usize;
  /** Start and end of the function, as far as it was followed; 0 when none is known. */
  start: usize;
  end: usize;
  /** The system call number, where the instruction before sets rax to a constant; -1 elsewhere. */
  number: i32;
  verdict: u8;
  reason: u8;
  /** RED_ZONE_*: whether the function keeps data below rsp. */
  redZone: u8;
  /** 0 for `syscall`, 1 for `sysenter`. */
  sysenter: u8;
}

/** Numbers below this are believed to be system calls (the greatest one of Linux 6.18 is 471). */
const PLAUSIBLE_NUMBERS: u32 = 1024;
/** Decoding that has lost its way finds back to the true instructions within far fewer instructions than this. */
const RESYNCHRONISED: u32 = 32;

/** How far before a find a sweep begins when the whole way is longer than twice this: hundreds of instructions. */
const NEARBY: usize = 4096;

/** State of a search, in the caller's scratch memory. */
// @ts-ignore: decorator
@unmanaged
export class Search {
  image: Image;
  /** The next find is searched for from here on. */
  at: usize;
  textStart: usize;
  textEnd: usize;
  insn: Insn;
  extent: Extent;
  /** Where the last window ends (window.ts): what lies before is taken. */
  taken: usize;
  /** The address that `extent` was looked up for. */
  lookedUp: usize;
  flow: Flow;
  /** The whole function has been traced; findTargets is done; its red zone. */
  whole: bool;
  targets: bool;
  redZone: u8;
  bitmaps: usize;
  bitmapsSize: usize;
  /** Linear decoding: where it began and stands, the instruction before (0: none), instructions and failures so far. */
  sweepFrom: usize;
  sweepAt: usize;
  sweepPrevious: usize;
  sweepClean: u32;
  sweepFailures: u32;
}

/** Most instructions before a site that a window is looked for in. */
export const MOST_STEPS: u32 = 16;

// What the scratch memory holds, each 8-byte aligned: the search, its parts, the bitmaps.
const INSN_AT: usize = (offsetof<Search>() + 7) & ~7;
const EXTENT_AT: usize = (INSN_AT + offsetof<Insn>() + 7) & ~7;
const FLOW_AT: usize = (EXTENT_AT + offsetof<Extent>() + 7) & ~7;
const STEPS_AT: usize = (FLOW_AT + offsetof<Flow>() + 7) & ~7;
const OUTSIDE_AT: usize = STEPS_AT + <usize>MOST_STEPS * 8;
const EXITS_AT: usize = (OUTSIDE_AT + offsetof<Extent>() + 7) & ~7;
const BITMAPS_AT: usize = EXITS_AT + <usize>MOST_EXITS * 8;

/** Where the instructions before a site begin, the nearest first (window.ts). */
// @ts-ignore: decorator
@inline
export function stepAt(search: Search, index: u32): usize {
  return changetype<usize>(search) + STEPS_AT + <usize>index * sizeof<usize>();
}

/** Room for a look at other functions than that of the site (targets.ts). */
// @ts-ignore: decorator
@inline
export function outsideExtent(search: Search): Extent {
  return changetype<Extent>(changetype<usize>(search) + OUTSIDE_AT);
}

/**
 * Begins a search of [textStart, textEnd) for nextSite. `image` comes from openImage and the text belongs to it; `scratch`
 * (8-byte aligned), where the search is kept, bounds the size of the functions that are followed: 2 bytes of code a byte,
 * 128 KiB serve all functions of usual libraries.
 */
export function beginSearch(image: Image, textStart: usize, textEnd: usize, scratch: usize, scratchSize: usize): Search {
  const search = changetype<Search>(scratch);
  memory.fill(scratch, 0, BITMAPS_AT);
  search.image = image;
  search.textStart = textStart;
  search.textEnd = textEnd;
  search.insn = changetype<Insn>(scratch + INSN_AT);
  search.extent = changetype<Extent>(scratch + EXTENT_AT);
  search.flow = changetype<Flow>(scratch + FLOW_AT);
  search.flow.exits = scratch + EXITS_AT;
  search.bitmaps = scratch + BITMAPS_AT;
  search.bitmapsSize = scratchSize - BITMAPS_AT;
  search.at = textStart;
  return search;
}

/** Fills `site` with the next find, in order of address; false when there is none. */
export function nextSite(search: Search, site: Site): bool {
  const address = nextPair(search.at, search.textEnd);
  if (!address) return false;
  judge(search, address, site);
  search.at = address + 1;
  return true;
}

/** Fills `out` with the finds as far as they fit, `most` Sites, and returns how many there are. */
export function findSites(
  image: Image,
  textStart: usize,
  textEnd: usize,
  out: usize,
  most: u32,
  scratch: usize,
  scratchSize: usize,
): u32 {
  const search = beginSearch(image, textStart, textEnd, scratch, scratchSize);
  let count: u32 = 0;
  while (count < most && nextSite(search, changetype<Site>(out + <usize>count * offsetof<Site>()))) count++;
  return count;
}

/** Fills `site` with what is known of the find at `address`. */
export function judge(search: Search, address: usize, site: Site): void {
  site.address = address;
  site.number = -1;
  site.redZone = RED_ZONE_UNKNOWN;
  site.sysenter = load<u8>(address, 1) == 0x34 ? 1 : 0;
  const traced = lookUp(search, address);
  site.start = search.extent.start;
  site.end = traced ? search.flow.end : 0;
  if (!traced) {
    const extent = search.extent;
    const from = !site.start ? search.textStart : address < extent.end ? extent.start : extent.end;
    judgeBySweep(search, address, site, from, REASON_NO_BOUNDARY);
    return;
  }
  const flow = search.flow;
  const insn = search.insn;
  if (search.whole) site.redZone = search.redZone;
  const covering = coveringInsn(flow, insn, address);
  site.reason = REASON_FLOW;
  if (beginsAt(flow, address)) {
    site.verdict = covering ? VERDICT_UNSURE : VERDICT_SITE;
    if (covering) site.reason = REASON_OVERLAP;
    const previous = previousBegin(flow, address);
    if (previous) site.number = numberSetBy(insn, previous, address);
  } else if (covering) {
    judgeCovered(insn, site);
  } else {
    const previous = previousBegin(flow, address);
    const from = previous ? previous + decode(insn, previous, flow.end) : flow.start;
    judgeBySweep(search, address, site, from, REASON_UNREACHED);
  }
}

/** Looks up and traces the function of `address`; false when there is none, or none that fits the scratch memory. */
function lookUp(search: Search, address: usize): bool {
  const extent = search.extent;
  const described = address < extent.end;
  // Between the address of the last look-up and `next` there is no other boundary.
  const known = extent.start && (described || (search.lookedUp >= extent.end && address < extent.next));
  if (!known) functionAt(search.image, address, search.textStart, search.textEnd, extent);
  search.lookedUp = address;
  if (!extent.start) return false;
  const end = address < extent.end ? extent.end : extent.next;
  const capacity = flowCapacity(search.bitmapsSize);
  const fits = end - extent.start <= capacity;
  const traceEnd = fits ? end : extent.start + capacity;
  if (address + 2 > traceEnd) return false;
  const flow = search.flow;
  if (flow.start == extent.start && flow.end == traceEnd) return true;
  traceFlow(flow, search.insn, extent.start, traceEnd, search.textEnd, search.bitmaps);
  search.whole = fits;
  search.targets = false;
  if (fits) search.redZone = redZone(flow, search.insn);
  return true;
}

/** The instruction in `insn` begins before the find and extends over it. */
function judgeCovered(insn: Insn, site: Site): void {
  site.verdict = VERDICT_NOT;
  if (insn.flags & (SYSCALL | SYSENTER)) {
    site.verdict = VERDICT_UNSURE;
    site.reason = REASON_PREFIX;
  }
}

/** Decides by decoding one instruction after the other from `from` on. */
function judgeBySweep(search: Search, address: usize, site: Site, from: usize, doubt: u8): void {
  const stands = search.sweepFrom == from && search.sweepAt <= address ? search.sweepAt : from;
  if (address - stands > 2 * NEARBY && !followsNumber(address, from) && isCoveredNearby(search, address, site)) return;
  sweepTo(search, address, from);
  site.verdict = VERDICT_UNSURE;
  site.reason = doubt == REASON_UNREACHED && search.sweepFailures ? REASON_DATA : doubt;
  const insn = search.insn;
  const previous = search.sweepPrevious;
  const covered = address < search.extent.end && doubt == REASON_UNREACHED;
  const intact = !search.sweepFailures;
  if (search.sweepAt == address) {
    if (previous) site.number = numberSetBy(insn, previous, address);
    const jumpedTo = covered && search.flow.indirect;
    if (site.number >= 0 || (intact && (jumpedTo || isLocalCode(search)))) {
      site.verdict = VERDICT_SITE;
      site.reason = REASON_SWEEP;
    }
  } else if (!followsNumber(address, from) && (intact || search.sweepClean >= RESYNCHRONISED)) {
    site.reason = REASON_SWEEP;
    decode(insn, previous, search.textEnd);
    judgeCovered(insn, site);
  }
}

/**
 * Spares the long way: whether a sweep that begins nearby, wherever in an instruction, has found back to the true
 * instructions, and one of them extends over the find. Then the verdict is made.
 */
function isCoveredNearby(search: Search, address: usize, site: Site): bool {
  const insn = search.insn;
  let clean: u32 = 0;
  for (let p = address - NEARBY; p < address; ) {
    const length = sweepOne(insn, p, search.textEnd);
    clean = length ? clean + 1 : 0;
    const next = p + (length ? length : 1);
    if (next > address && clean >= RESYNCHRONISED) {
      site.reason = REASON_SWEEP;
      decode(insn, p, search.textEnd);
      judgeCovered(insn, site);
      return true;
    }
    p = next;
  }
  return false;
}

/** Length of the instruction at `p`; 0 when there is none. `insn` is only scratch memory. */
// @ts-ignore: decorator
@inline
function sweepOne(insn: Insn, p: usize, end: usize): usize {
  const common = end - p >= COMMON_READ ? commonInsn(p, false) & COMMON_LENGTH : 0;
  return common ? common : decode(insn, p, end);
}

/**
 * Whether what branches do not reach from a symbol is still code: local functions, in an image that has next to no
 * unwind tables (musl). Elsewhere it may be data.
 */
function isLocalCode(search: Search): bool {
  const extent = search.extent;
  const fromSymbol = extent.start && extent.end == extent.start;
  return fromSymbol && needsSymbols(search.image, search.textEnd - search.textStart);
}

/** Moves the sweep that began at `from` up to `address` or to the end of the instruction that covers it. */
function sweepTo(search: Search, address: usize, from: usize): void {
  if (search.sweepFrom != from || search.sweepAt > address) {
    search.sweepFrom = from;
    search.sweepAt = from;
    search.sweepPrevious = 0;
    search.sweepClean = 0;
    search.sweepFailures = 0;
  }
  const end = search.textEnd;
  let at = search.sweepAt;
  let previous = search.sweepPrevious;
  let clean = search.sweepClean;
  while (at < address) {
    const length = sweepOne(search.insn, at, end);
    previous = at;
    clean++;
    at += length;
    if (length) continue;
    previous = 0;
    clean = 0;
    at++;
    search.sweepFailures++;
  }
  search.sweepAt = at;
  search.sweepPrevious = previous;
  search.sweepClean = clean;
}

/** The constant that the instruction at `address` sets rax to, if it ends at `next` and it is a plausible number; or -1. */
function numberSetBy(insn: Insn, address: usize, next: usize): i32 {
  if (address + decode(insn, address, next) != next || insn.map != MAP_ONE) return -1;
  const op: u32 = insn.opcode;
  if (op == 0x31 || op == 0x33) return insn.modrm == 0xc0 && !(insn.rex & 5) ? 0 : -1; // xor %eax, %eax
  const isMove = op == 0xb8 || (op == 0xc7 && insn.flags & HAS_MODRM && insn.modrm == 0xc0);
  if (!isMove || insn.rex & 1 || insn.immediateSize != 4) return -1;
  const value = load<u32>(address + insn.immediateAt);
  return value < PLAUSIBLE_NUMBERS ? <i32>value : -1;
}

/** Whether the bytes before look like `mov $number, %eax`, wherever decoding from `from` has led. */
function followsNumber(address: usize, from: usize): bool {
  if (address - from < 6) return false;
  if (load<u32>(address - 4) >= PLAUSIBLE_NUMBERS) return false;
  const op: u32 = load<u8>(address - 5);
  return op == 0xb8 || (op == 0xc0 && load<u8>(address - 6) == 0xc7);
}
