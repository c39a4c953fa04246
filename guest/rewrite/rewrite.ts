/**
 * Rewrites the system call instructions of the program: at start everything that is mapped executable, later what mmap
 * and mprotect make executable. Our own image, [vdso], [vsyscall] and the stack are never touched: only mappings of files
 * are, and ours is left out.
 *
 * Who runs this: our start-up, with one thread; later the thread that has just mapped the code, in the exit hook of that
 * call, so that no thread has run the code yet. Threads may be here at once, each with scratch memory of its own.
 */
import { GAP_JIT, GAP_UNPATCHED_SITE } from "../../src/image/layout";
import { recordGap } from "../record/record";
import { cstr } from "../std/cstr";
import { failed, mapPages, PROT_EXEC, PROT_READ, unmapPages } from "../std/sys";
import { Image } from "./elf";
import { openImage } from "./functions";
import { Insn } from "./insn";
import { patchByJump } from "./jump";
import { addKnownSite, openSites } from "./known";
import { freeMaps, Mapping, mappingAt, Maps, readMaps } from "./maps";
import { addSite, BATCH_SIZE, closeText, flush, openText, PatchBatch } from "./patch";
import { PATCH_JUMP, Plan, planPatch, takesCall } from "./plan";
import { findSites, REASON_DATA, Site, VERDICT_NOT, VERDICT_SITE } from "./sites";

// @ts-ignore: decorator
@external("symbol", "__image_start")
declare function imageStart(): usize;
// @ts-ignore: decorator
@external("symbol", "__image_end")
declare function imageEnd(): usize;

/** Sites rewritten so far, and real or possible sites left alone. */
export let patchedSites: u32 = 0;
export let leftSites: u32 = 0;
let reportedJit: bool = false;

const MOST_SITES: u32 = 8192;
const SCRATCH: usize = 1 << 16;
const PLAN_AT: usize = offsetof<Image>() + offsetof<Insn>();
const BATCH_AT: usize = (PLAN_AT + offsetof<Plan>() + 7) & ~7;
const HEAD: usize = BATCH_AT + BATCH_SIZE;
const PAGES: usize = ((HEAD + (<usize>MOST_SITES) * offsetof<Site>() + 4095) & ~4095) + SCRATCH;
const SLASH: u8 = 0x2f;
const ELF_MAGIC: u32 = 0x464c457f;
const MOST_REPORTED: u32 = 8;

/** Everything that is executable now. */
export function rewriteAll(): void {
  rewriteRange(0, <usize>-1);
}

/** [address, address + length) has just become executable. */
export function mappedExecutable(address: usize, length: usize): void {
  rewriteRange(address, address + length);
}

function rewriteRange(low: usize, high: usize): void {
  const list = readMaps();
  if (!list) {
    recordGap(GAP_UNPATCHED_SITE, low, cstr("/proc/self/maps cannot be read"), 30);
    return;
  }
  const maps = changetype<Maps>(list);
  const text = openText();
  for (let i: u64 = 0; i < maps.count; i++) {
    const mapping = mappingAt(maps, i);
    if (mapping.end <= low || mapping.start >= high) continue;
    if (!(mapping.protection & PROT_EXEC)) continue;
    if (isForeign(mapping)) rewriteMapping(maps, i, text, low, high);
  }
  closeText(text);
  freeMaps(maps);
}

/** Whether an executable mapping is the program's. Anonymous ones are reported, not rewritten. */
function isForeign(mapping: Mapping): bool {
  if (mapping.start < imageEnd() && mapping.end > imageStart()) return false;
  if (mapping.nameLength && load<u8>(mapping.name) == SLASH) return true;
  const special = mapping.nameLength != 0; // [vdso], [vsyscall], [stack]
  if (!special && !reportedJit && !isOurs(mapping)) {
    reportedJit = true;
    recordGap(GAP_JIT, mapping.start, cstr("anonymous executable memory"), 27);
  }
  return false;
}

/** Page 0 and the pages of the slots are anonymous and executable, too. */
function isOurs(mapping: Mapping): bool {
  return mapping.start == 0 || (mapping.start & 0xffffff) == 0x909000;
}

function rewriteMapping(maps: Maps, index: u64, text: i64, low: usize, high: usize): void {
  const pages = mapPages(PAGES);
  if (failed(pages)) {
    report(mappingAt(maps, index), 0);
    return;
  }
  const mapping = mappingAt(maps, index);
  const image = changetype<Image>(<usize>pages);
  const insn = changetype<Insn>(<usize>pages + offsetof<Image>());
  const plan = changetype<Plan>(<usize>pages + PLAN_AT);
  const sites = <usize>pages + HEAD;
  const scratch = <usize>pages + PAGES - SCRATCH;
  describe(maps, index, image);
  const start = mapping.start > low ? mapping.start : low;
  const end = mapping.end < high ? mapping.end : high;
  let count = findSites(image, start, end, sites, MOST_SITES, scratch, SCRATCH);
  if (count > MOST_SITES) {
    report(mapping, end);
    count = MOST_SITES;
  }
  const known = count ? openSites(start, end, count) : 0;
  const batch = changetype<PatchBatch>(<usize>pages + BATCH_AT);
  batch.text = text;
  let reported: u32 = 0;
  for (let i: u32 = 0; i < count; i++) {
    const site = changetype<Site>(sites + <usize>i * offsetof<Site>());
    if (site.verdict == VERDICT_NOT) continue;
    planPatch(plan, site, insn);
    if (plan.patch == PATCH_JUMP && patchByJump(text, maps, site.address, plan)) {
      patchedSites++;
    } else if (takesCall(site)) {
      addKnownSite(known, site.address);
      addSite(batch, site.address);
    } else {
      leftSites++;
      // Bytes that no instruction is known to lead to, among bytes that are no instructions, are data.
      const isData = site.verdict != VERDICT_SITE && site.reason == REASON_DATA;
      if (!isData && reported++ < MOST_REPORTED) report(mapping, site.address);
    }
  }
  flush(batch);
  patchedSites += batch.written;
  leftSites += batch.failed;
  if (batch.failed) report(mapping, start);
  unmapPages(<usize>pages, PAGES);
}

function report(mapping: Mapping, address: usize): void {
  recordGap(GAP_UNPATCHED_SITE, address, mapping.name, <u32>mapping.nameLength);
}

/**
 * The image that the mapping at `index` belongs to: the mappings of one file, from its start on. Segments need not lie
 * side by side; nothing is read behind the first byte of a segment that is not mapped.
 */
function describe(maps: Maps, index: u64, image: Image): void {
  let first = index;
  while (first > 0 && mappingAt(maps, first).offset != 0 && sameFile(maps, first - 1, index)) first--;
  let last = index;
  while (last + 1 < maps.count && sameFile(maps, last + 1, index)) last++;
  const base = mappingAt(maps, first);
  const low = base.start;
  if (base.offset != 0 || !(base.protection & PROT_READ) || load<u32>(low) != ELF_MAGIC) {
    openImage(image, 0, 0, 0, 0, 0);
    return;
  }
  const headers = low + load<usize>(low, 32); // e_phoff
  const count = <usize>load<u16>(low, 56); // e_phnum
  if (count > MOST_HEADERS || headers + count * PHDR_SIZE > base.end) {
    openImage(image, 0, 0, 0, 0, 0);
    return;
  }
  const bias = low - firstAddress(headers, count);
  let high = mappingAt(maps, last).end;
  for (let i: usize = 0; i < count; i++) {
    const end = mappedEnd(maps, first, last, headers + i * PHDR_SIZE, bias);
    if (end < high) high = end;
  }
  openImage(image, bias, headers, count, low, high);
}

// Program headers (elf(5)).
const PHDR_SIZE: usize = 56;
const MOST_HEADERS: usize = 64;
const PT_LOAD: u32 = 1;
const PF_R: u32 = 4;
const P_FLAGS: usize = 4;
const P_OFFSET: usize = 8;
const P_VADDR: usize = 16;
const P_FILESZ: usize = 32;
const PAGE_MASK: usize = ~(<usize>4095);

function sameFile(maps: Maps, a: u64, b: u64): bool {
  return mappingAt(maps, a).inode == mappingAt(maps, b).inode;
}

/** Address in the file of the page that the first PT_LOAD maps. */
function firstAddress(headers: usize, count: usize): usize {
  for (let i: usize = 0; i < count; i++) {
    const header = headers + i * PHDR_SIZE;
    if (load<u32>(header) == PT_LOAD) return load<usize>(header, P_VADDR) & PAGE_MASK;
  }
  return 0;
}

/**
 * The first byte of a readable segment that no readable mapping of [first, last] shows; -1 when all are there. While a
 * loader still maps the segments, the first mapping lies over the whole image: where it shows other bytes of the file, or
 * none, is not the segment.
 */
function mappedEnd(maps: Maps, first: u64, last: u64, header: usize, bias: usize): usize {
  if (load<u32>(header) != PT_LOAD || !(load<u32>(header, P_FLAGS) & PF_R)) return <usize>-1;
  let at = bias + load<usize>(header, P_VADDR);
  const toOffset = load<usize>(header, P_OFFSET) - at;
  const end = at + load<usize>(header, P_FILESZ);
  for (let i = first; i <= last && at < end; i++) {
    const mapping = mappingAt(maps, i);
    if (mapping.start > at || mapping.end <= at || !(mapping.protection & PROT_READ)) continue;
    if (<usize>mapping.offset - mapping.start == toOffset) at = mapping.end;
  }
  return at < end ? at : <usize>-1;
}
