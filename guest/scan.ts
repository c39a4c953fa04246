/**
 * The search for system calls as a module of its own, for `zpoline scan`: the code that runs inside of programs, over a
 * file that lies in this module's memory as it would be mapped. Pointers have 32 bits here, so an address is that of the
 * file modulo 2^32, plus what `place` says.
 */
import { Image } from "./rewrite/elf";
import { openImage } from "./rewrite/functions";
import { decode } from "./rewrite/decode";
import { Insn } from "./rewrite/insn";
import { addEntry, Entry, entryAt, PlanList } from "./rewrite/list";
import { Plan, planPatch } from "./rewrite/plan";
import { beginSearch, nextSite, Site, VERDICT_NOT } from "./rewrite/sites";

export {
  PATCH_JUMP,
  PATCH_NONE,
  PATCH_ZERO,
  WHY_ANY_NUMBER,
  WHY_ANY_NUMBER_NO_ROOM,
  WHY_CANCELLATION,
  WHY_NO_WINDOW,
  WHY_NO_WINDOW_BRANCHES,
  WHY_NO_WINDOW_CODE,
  WHY_RED_ZONE,
  WHY_RED_ZONE_NO_ROOM,
  WHY_SIGRETURN,
  WHY_SYSENTER,
  WHY_UNSURE,
  WHY_USUAL,
} from "./rewrite/plan";
export {
  REASON_DATA,
  REASON_NO_BOUNDARY,
  REASON_OVERLAP,
  REASON_PREFIX,
  REASON_UNREACHED,
  VERDICT_NOT,
  VERDICT_SITE,
  VERDICT_UNSURE,
} from "./rewrite/sites";

/** As in rewrite.ts: so many sites and possible sites of a mapping are kept, with so much memory for the search. */
export const MOST_SITES: u32 = 1 << 17;
const SCRATCH: usize = 1 << 17;

// What lies behind the static data: image, instruction, plan, list, scratch memory, sites, entries; then room for files.
const IMAGE: usize = (__heap_base + 4095) & ~4095;
const INSN: usize = IMAGE + ((offsetof<Image>() + 7) & ~7);
const PLAN: usize = INSN + ((offsetof<Insn>() + 7) & ~7);
const LIST: usize = PLAN + ((offsetof<Plan>() + 7) & ~7);
const WORK: usize = LIST + ((offsetof<PlanList>() + 7) & ~7);
const SITES: usize = WORK + SCRATCH;
const ENTRIES: usize = (SITES + (<usize>MOST_SITES + 1) * offsetof<Site>() + 7) & ~7;
const FILES: usize = (ENTRIES + <usize>MOST_SITES * offsetof<Entry>() + 0xffff) & ~0xffff;
const PAGE: u64 = 65536;

const PHDR_SIZE: usize = 56;
const MOST_HEADERS: usize = 64;

/**
 * Makes zeroed room for `size` bytes whose address in the file is `low` (modulo 2^32); returns where, or 0 when there is
 * not that much memory. Pointers in the image that were not relocated must not look like ones that were (elf.ts,
 * dynamicAddress): the room is at `low` itself, or does not overlap [low, low + size).
 */
export function place(low: usize, size: usize): usize {
  const behind = <u64>low + size;
  const base: u64 = low >= FILES ? low : ((behind > FILES ? behind : FILES) + PAGE - 1) & ~(PAGE - 1);
  const end = base + size;
  if (end >= <u64>1 << 32) return 0;
  const pages = <i32>((end + PAGE - 1) / PAGE);
  const missing = pages - memory.size();
  if (missing > 0 && memory.grow(missing) < 0) return 0;
  return <usize>base;
}

/**
 * Opens the image in [base, base + size), whose first byte has the address `low` in the file. Its headers are used as far
 * as they lie in the first `first` bytes, the mapping of the file's start.
 */
export function open(base: usize, size: usize, low: usize, first: usize): void {
  const image = changetype<Image>(IMAGE);
  const offset = first >= 64 ? load<u64>(base, 32) : 0; // e_phoff
  const count = first >= 64 ? <usize>load<u16>(base, 56) : 0; // e_phnum
  if (!count || count > MOST_HEADERS || offset > first || offset + count * PHDR_SIZE > first) {
    openImage(image, 0, 0, 0, 0, 0);
    return;
  }
  openImage(image, base - low, base + <usize>offset, count, base, base + size);
}

let pairs: u32 = 0;

/**
 * Number of sites and possible sites in [start, end); the first MOST_SITES of them can be asked for. `prefersJump`: as in
 * planPatch.
 */
export function find(start: usize, end: usize, prefersJump: bool): u32 {
  const search = beginSearch(changetype<Image>(IMAGE), start, end, WORK, SCRATCH);
  const plan = changetype<Plan>(PLAN);
  const list = changetype<PlanList>(LIST);
  list.first = ENTRIES;
  list.count = 0;
  list.most = MOST_SITES;
  pairs = 0;
  // The find behind the last one that is kept is written where it is written over.
  let site = siteAt(0);
  while (nextSite(search, site)) {
    if (site.verdict == VERDICT_NOT) {
      pairs++;
      continue;
    }
    planPatch(plan, search, site, prefersJump, false);
    addEntry(list, start, site, plan);
    site = siteAt(list.count < MOST_SITES ? list.count : MOST_SITES);
  }
  return list.count;
}

/** How often the last `find` saw the bytes of a system call inside of another instruction. */
export function falsePairs(): u32 {
  return pairs;
}

// @ts-ignore: decorator
@inline
function siteAt(index: u32): Site {
  return changetype<Site>(SITES + <usize>index * offsetof<Site>());
}

export function addressOf(index: u32): usize {
  return siteAt(index).address;
}

/** Start of the function; 0 when it is not known. */
export function functionOf(index: u32): usize {
  return siteAt(index).start;
}

export function numberOf(index: u32): i32 {
  return siteAt(index).number;
}

export function verdictOf(index: u32): u32 {
  return siteAt(index).verdict;
}

export function reasonOf(index: u32): u32 {
  return siteAt(index).reason;
}

// @ts-ignore: decorator
@inline
function entryOf(index: u32): Entry {
  return entryAt(changetype<PlanList>(LIST), index);
}

/** PATCH_*. */
export function patchOf(index: u32): u32 {
  return entryOf(index).patch;
}

/** WHY_*. */
export function whyOf(index: u32): u32 {
  return entryOf(index).why;
}

/** Bytes before and behind the site that the window of a jump has. */
export function beforeOf(index: u32): u32 {
  return entryOf(index).before;
}
export function afterOf(index: u32): u32 {
  return entryOf(index).after;
}

/** Length of the instruction at `address`, of which nothing from `end` on belongs to it; 0 when there is none. */
export function lengthAt(address: usize, end: usize): u32 {
  return decode(changetype<Insn>(INSN), address, end);
}
