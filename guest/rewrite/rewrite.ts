/**
 * Rewrites the system call instructions of the program: at start everything that is mapped executable, later what mmap
 * and mprotect make executable. Our own image, [vdso], [vsyscall] and the stack are never touched: only mappings of files
 * are, and ours is left out.
 *
 * Who runs this: our start-up, with one thread; later the thread that has just mapped the code, in the exit hook of that
 * call, so that no thread has run the code yet. Threads may be here at once, each with scratch memory of its own.
 */
import { GAP_EXCLUDED, GAP_JIT, GAP_UNPATCHED_SITE } from "../../src/image/layout";
import { isHookCode } from "../foreign/load";
import { LIBZPHOOK, valueOf } from "../process/environment";
import { ownIn } from "../process/own";
import { recordGap } from "../record/record";
import { startsWith } from "../std/bytes";
import { cstr } from "../std/cstr";
import { failed, mapPages, PROT_EXEC, PROT_READ, PROT_WRITE, unmapPages } from "../std/sys";
import { applyList, reportSite, settle } from "./apply";
import { CACHE_SIZE, CacheHeader, CacheWork, closeCache, loadPlans, openCache, storePlans } from "./cache";
import { deferMapped, isDeferred } from "./deferred";
import { Bounds, describe } from "./describe";
import { Image } from "./elf";
import { Insn } from "./insn";
import { isExcluded } from "./exclude";
import { needsSymbols, openImage, sortStarts } from "./functions";
import { prefersJump, rewrites, usesTrap } from "./kinds";
import { addEntry, Entry, PlanList } from "./list";
import { readLinkMap } from "./link-map";
import { freeMaps, Mapping, mappingAt, Maps, readMaps, SHARED } from "./maps";
import { BATCH_SIZE, closeRange, closeText, openRange, openText, PatchBatch } from "./patch";
import { noteText, touchesText } from "./texts";
import { Plan, planPatch, planProven } from "./plan";
import { beginSearch, nextSite, Search, Site, VERDICT_NOT } from "./sites";

// @ts-ignore: decorator
@external("symbol", "__image_start")
declare function imageStart(): usize;
// @ts-ignore: decorator
@external("symbol", "__image_end")
declare function imageEnd(): usize;

let reportedJit: bool = false;
/** Nobody runs the code that is rewritten: start-up, without threads that a C hook may have made. */
let alone: bool = false;
/** So many patches are cheaper together. */
const WORTH_OPENING: u32 = 8;

const SLASH: u8 = 0x2f;
const PAGE_MASK: usize = ~(<usize>4095);

// The memory of one run: its parts, each 8-byte aligned, one behind the other. Only what is used becomes real.
const IMAGE_AT: usize = (offsetof<Bounds>() + 7) & ~7;
const PLAN_AT: usize = IMAGE_AT + ((offsetof<Image>() + 7) & ~7);
const SITE_AT: usize = PLAN_AT + ((offsetof<Plan>() + 7) & ~7);
const LIST_AT: usize = SITE_AT + ((offsetof<Site>() + 7) & ~7);
const BATCH_AT: usize = LIST_AT + ((offsetof<PlanList>() + 7) & ~7);
const CACHE_AT: usize = (BATCH_AT + BATCH_SIZE + 7) & ~7;
const HEADER_AT: usize = (CACHE_AT + CACHE_SIZE + 7) & ~7;
const ENTRIES_AT: usize = HEADER_AT + offsetof<CacheHeader>();
const MOST_ENTRIES: u32 = 1 << 17;
const SCRATCH_AT: usize = ENTRIES_AT + <usize>MOST_ENTRIES * offsetof<Entry>();
const SCRATCH: usize = 1 << 17;
const STARTS_AT: usize = SCRATCH_AT + SCRATCH;
const STARTS: usize = 1 << 18;
const WORK: usize = (STARTS_AT + STARTS + 4095) & ~4095;

/** Everything that is executable at start-up. */
export function rewriteAll(): void {
  const list = readMaps();
  alone = !valueOf(LIBZPHOOK);
  rewriteRange(list ? list : readLinkMap(), 0, <usize>-1, true);
  alone = false;
}

/** The same later, with one thread, none of whose code runs. `fresh`: mappings of files show what is in the files. */
export function rewriteLate(fresh: bool): void {
  alone = true;
  rewriteRange(readMaps(), 0, <usize>-1, fresh);
  alone = false;
}

/**
 * [address, address + length) has just become executable. `mapped`: by mmap, so that a file's mapping shows what is in the
 * file; else the program may have written there before.
 */
export function mappedExecutable(address: usize, length: usize, mapped: bool): void {
  if (isDeferred()) {
    deferMapped(mapped);
    return;
  }
  if (!rewrites()) return;
  rewriteRange(readMaps(), address, (address + length + 4095) & PAGE_MASK, mapped);
}

/** The `syscall` at `address` has been run. It becomes a jump where that is proved to be safe (planProven). */
export function rewriteSite(address: usize): void {
  const found = readMaps();
  if (!found) return;
  const maps = changetype<Maps>(found);
  for (let i: u64 = 0; i < maps.count; i++) {
    const mapping = mappingAt(maps, i);
    if (address < mapping.start || address >= mapping.end) continue;
    if (mapping.inode && !mayChange(mapping) && !isExcluded(mapping.name, <usize>mapping.nameLength)) {
      applyProven(maps, i, address);
    }
    break;
  }
  freeMaps(maps);
}

function applyProven(maps: Maps, index: u64, address: usize): void {
  const mapping = mappingAt(maps, index);
  const pages = mapPages(WORK);
  if (failed(pages) || mapping.end - mapping.start > <usize>u32.MAX_VALUE) return;
  const work = <usize>pages;
  const list = changetype<PlanList>(work + LIST_AT);
  const plan = changetype<Plan>(work + PLAN_AT);
  const site = changetype<Site>(work + SITE_AT);
  list.first = work + ENTRIES_AT;
  list.most = 1;
  describe(maps, index, changetype<Bounds>(work));
  const search = openSearch(mapping.start, mapping.end, work);
  if (planProven(plan, search, site, address)) {
    const batch = changetype<PatchBatch>(work + BATCH_AT);
    addEntry(list, mapping.start, site, plan);
    batch.text = openText();
    applyList(list, batch, mapping.start, mapping.end, true, changetype<Insn>(work + SCRATCH_AT));
    closeText(batch.text);
  }
  unmapPages(work, WORK);
}

/** `list` is a Maps, freed here, or 0. */
function rewriteRange(list: usize, low: usize, high: usize, fresh: bool): void {
  if (!list) {
    if (!usesTrap) recordGap(GAP_UNPATCHED_SITE, low, cstr("/proc/self/maps cannot be read"), 30);
    return;
  }
  const maps = changetype<Maps>(list);
  const work = mapPages(WORK);
  const text = openText();
  const cache = changetype<CacheWork>(<usize>work + CACHE_AT);
  if (!failed(work)) openCache(cache);
  for (let i: u64 = 0; i < maps.count; i++) {
    const mapping = mappingAt(maps, i);
    if (mapping.end <= low || mapping.start >= high) continue;
    if (!(mapping.protection & PROT_EXEC) || !isForeign(mapping)) continue;
    // It may have been executable before, too.
    const mayRun = !fresh && !alone && touchesText(mapping.start, mapping.end);
    noteText(mapping.start, mapping.end);
    if (isExcluded(mapping.name, <usize>mapping.nameLength)) {
      if (!usesTrap) recordGap(GAP_EXCLUDED, mapping.start, mapping.name, <u32>mapping.nameLength);
      continue;
    }
    if (mayChange(mapping)) reportJit(mapping.start, mapping.name, <u32>mapping.nameLength);
    if (failed(work) || !(mapping.protection & PROT_READ)) reportSite(mapping, 0);
    else rewriteMapping(maps, i, text, low, high, fresh, mayRun, <usize>work);
  }
  closeText(text);
  if (!failed(work)) {
    closeCache(cache);
    unmapPages(<usize>work, WORK);
  }
  freeMaps(maps);
}

/** Whether an executable mapping is the program's. Anonymous ones are reported, not rewritten. */
function isForeign(mapping: Mapping): bool {
  if (mapping.start < imageEnd() && mapping.end > imageStart()) return false;
  if (isHookCode(mapping.start)) return false;
  if (mapping.inode || (mapping.nameLength && load<u8>(mapping.name) == SLASH)) return true;
  if (isVdso(mapping)) return true;
  if (!isKernels(mapping) && !isOurs(mapping)) reportJit(mapping.start, cstr("anonymous executable memory"), 27);
  return false;
}

/** What the vDSO cannot answer itself (the processor time of a process, a slow clock) it asks the kernel for. */
function isVdso(mapping: Mapping): bool {
  return mapping.nameLength == 6 && startsWith(mapping.name, cstr("[vdso]"));
}

/** Code that the kernel maps into every process. Others in brackets ([heap], [stack], [anon:…]) are the program's. */
function isKernels(mapping: Mapping): bool {
  const length = mapping.nameLength;
  return (length == 10 && startsWith(mapping.name, cstr("[vsyscall]"))) || (length == 9 && startsWith(mapping.name, cstr("[uprobes]")));
}

/** Once: code may be made there that nobody looks at. */
export function reportJit(address: usize, detail: usize, length: u32): void {
  if (reportedJit || usesTrap) return;
  reportedJit = true;
  recordGap(GAP_JIT, address, detail, length);
}

/** Whether what a file's mapping shows can change without a call that is hooked. */
function mayChange(mapping: Mapping): bool {
  if (mapping.protection & (SHARED | PROT_WRITE)) return true;
  return mapping.nameLength > 7 && startsWith(mapping.name, cstr("/memfd:"));
}

/** Page 0, the pages of the slots and the stubs of jumps are anonymous and executable, too. */
function isOurs(mapping: Mapping): bool {
  return changetype<usize>(ownIn(mapping.start, mapping.end)) != 0;
}

function rewriteMapping(
  maps: Maps,
  index: u64,
  text: i64,
  low: usize,
  high: usize,
  fresh: bool,
  mayRun: bool,
  work: usize,
): void {
  const mapping = mappingAt(maps, index);
  const start = mapping.start > low ? mapping.start : low;
  const end = mapping.end < high ? mapping.end : high;
  const list = changetype<PlanList>(work + LIST_AT);
  list.first = work + ENTRIES_AT;
  list.count = 0;
  list.most = MOST_ENTRIES;
  const bounds = changetype<Bounds>(work);
  const cache = changetype<CacheWork>(work + CACHE_AT);
  describe(maps, index, bounds);
  const cacheable = fresh && mapping.inode != 0 && start == mapping.start && end == mapping.end;
  const cached = cacheable && loadPlans(cache, list, mapping, bounds);
  if (!cached) {
    search(list, start, end, mayRun, work);
    if (cacheable) storePlans(cache, list, mapping);
  }
  if (list.count > list.most || end - start > <usize>u32.MAX_VALUE) {
    reportSite(mapping, end);
    list.count = 0;
  }
  const batch = changetype<PatchBatch>(work + BATCH_AT);
  batch.text = text;
  if (!(mapping.protection & SHARED)) {
    // A text that is writable anyway must stay so.
    const opens = alone && list.count >= WORTH_OPENING && !(mapping.protection & PROT_WRITE);
    if (opens) openRange(batch, start, end);
    applyList(list, batch, start, end, mayRun, changetype<Insn>(work + SCRATCH_AT));
    closeRange(batch, start, end);
  }
  settle(list, mapping, start, end, cached);
}

/** Fills the list with the finds of [start, end). `mayRun`: threads may be running it. */
function search(list: PlanList, start: usize, end: usize, mayRun: bool, work: usize): void {
  const plan = changetype<Plan>(work + PLAN_AT);
  const site = changetype<Site>(work + SITE_AT);
  const search = openSearch(start, end, work);
  while (nextSite(search, site)) {
    if (site.verdict == VERDICT_NOT) continue;
    planPatch(plan, search, site, prefersJump, mayRun);
    addEntry(list, start, site, plan);
  }
}

/** Begins a search of [start, end), which belongs to the image of the Bounds at `work`. */
function openSearch(start: usize, end: usize, work: usize): Search {
  const bounds = changetype<Bounds>(work);
  const image = changetype<Image>(work + IMAGE_AT);
  openImage(image, bounds.bias, bounds.headers, bounds.count, bounds.low, bounds.high);
  if (needsSymbols(image, end - start)) sortStarts(image, work + STARTS_AT, STARTS);
  return beginSearch(image, start, end, work + SCRATCH_AT, SCRATCH);
}
