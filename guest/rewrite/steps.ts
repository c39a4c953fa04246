/**
 * The instructions in a line right before a site that branches are not known to reach, found by decoding: the processor's
 * instructions have no marks, but decoding that begins anywhere in code is soon on their true boundaries.
 */
import { decode } from "./decode";
import { previousBegin } from "./flow";
import { MAX_LENGTH, RELATIVE } from "./insn";
import { MOST_STEPS, Search, Site, stepAt } from "./sites";

/** How far before a site decoding begins where nothing nearer is known to be a boundary. */
const NEARBY: usize = 256;
/** Decoding from there has found back to the true instructions after so many. */
const RESYNCHRONISED: u32 = 32;
// For converge: the lines begin farther away than this, and have become one so far before the site.
const BEGINS: usize = 128;
const LINED_UP: usize = 48;

/** Lists (stepAt) the instructions from the end of the reached code on, or from near the site, and returns how many. */
export function sweepBack(search: Search, site: Site): u32 {
  const flow = search.flow;
  const previous = previousBegin(flow, site.address);
  const from = previous ? previous + decode(search.insn, previous, flow.end) : flow.start;
  if (site.address - from > NEARBY) return sweep(search, site.address - NEARBY, site.address, 0);
  return sweep(search, from, site.address, RESYNCHRONISED);
}

/** `clean`: so many instructions before `from` are known. */
function sweep(search: Search, from: usize, address: usize, known: u32): u32 {
  const insn = search.insn;
  let clean = known;
  let count: u32 = 0;
  for (let p = from; p != address; ) {
    const length: usize = decode(insn, p, address);
    if (!length) {
      clean = count = 0;
      if (++p == address) return 0;
      continue;
    }
    if (++clean > RESYNCHRONISED) {
      if (count < MOST_STEPS) count++;
      memory.copy(stepAt(search, 1), stepAt(search, 0), (<usize>count - 1) * sizeof<usize>());
      store<usize>(stepAt(search, 0), p);
    }
    p += length;
  }
  return count;
}

/**
 * As sweepBack for a site of which no function is known, but that it is an instruction. One of 15 bytes in a row is a boundary,
 * where there is code: so the true line is among those that begin at each of them, and if all of them become one before
 * the site, that is the true one. Spends the bitmaps of the flow.
 */
export function converge(search: Search, site: Site): u32 {
  const insn = search.insn;
  const address = site.address;
  const low = address - search.textStart < NEARBY ? search.textStart : address - NEARBY;
  if (address - low < BEGINS + MAX_LENGTH) return 0;
  search.flow.start = search.flow.end = 0;
  const marks = search.bitmaps;
  memory.fill(marks, 0, NEARBY);
  for (let p = low; p != address; ) {
    const length: usize = decode(insn, p, address);
    if (length) store<u8>(marks + (p - low), 1);
    else if (address - p <= BEGINS) return 0;
    p += length ? length : 1;
    if (p > address) return 0;
  }
  const last = address - LINED_UP;
  for (let from = low; from < address - BEGINS; from++) {
    let p = from;
    while (p < last && !load<u8>(marks + (p - low))) {
      const length: usize = decode(insn, p, address);
      if (!length) break; // no boundary, then
      p += length;
    }
    if (p >= last && !load<u8>(marks + (p - low))) return 0;
  }
  return sweep(search, firstMark(marks, low, last), address, RESYNCHRONISED);
}

function firstMark(marks: usize, low: usize, from: usize): usize {
  let p = from;
  while (!load<u8>(marks + (p - low))) p++;
  return p;
}

/** Whether a direct branch nearby leads to (from, to], where no function is known. */
export function isBranchedTo(search: Search, from: usize, to: usize): bool {
  const low = from - search.textStart < NEARBY ? search.textStart : from - NEARBY;
  const high = search.textEnd - to < NEARBY ? search.textEnd : to + NEARBY;
  const insn = search.insn;
  for (let p = low; p < high; ) {
    const length: usize = decode(insn, p, high);
    if (length && insn.flags & RELATIVE && insn.target > from && insn.target <= to) return true;
    p += length ? length : 1;
  }
  return false;
}
