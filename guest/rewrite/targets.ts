/**
 * More of what leads to the instructions of a function than its own direct branches:
 *
 * - jump tables, by which a `switch` goes to its cases. Compilers address them relative to the instruction, and keep distances
 *   from the table in 32 bits (position-independent code), or addresses; others jump through the address of the table;
 * - code outside. Compilers move what is seldom run out of functions, and it jumps back.
 */
import { COMMON_KIND, COMMON_LENGTH, COMMON_READ, COMMON_RETURN, commonInsn } from "./common";
import { decode } from "./decode";
import { Image, readable } from "./elf";
import { distanceBefore, Flow, markTarget } from "./flow";
import { functionAt } from "./functions";
import { HAS_MODRM, INDIRECT, Insn, isLea, NO_REGISTER, RELATIVE, RIP, STOPS } from "./insn";
import { outsideExtent, Search } from "./sites";

/** A table has fewer entries. */
const MOST_ENTRIES: usize = 4096;
/** Farther away from its start other code is not looked at. */
const MOST_OUTSIDE: usize = 8192;

/** Adds them to the targets of the function that `search` has traced. */
export function findTargets(search: Search): void {
  if (search.targets) return;
  search.targets = true;
  const flow = search.flow;
  if (flow.indirect || flow.lost) traceTables(flow, search.insn, search.image);
  const extent = outsideExtent(search);
  extent.start = extent.end = 0;
  for (let i: u32 = 0; i < flow.exitCount; i++) {
    const exit = load<usize>(flow.exits + <usize>i * sizeof<usize>());
    if (exit < search.textStart || exit >= search.textEnd || (exit >= extent.start && exit < extent.end)) continue;
    functionAt(search.image, exit, search.textStart, search.textEnd, extent);
    if (exit >= extent.end) extent.end = extent.next;
    if (!extent.start || extent.start == flow.start) continue;
    const end = extent.end - extent.start < MOST_OUTSIDE ? extent.end : extent.start + MOST_OUTSIDE;
    traceOutside(flow, search.insn, extent.start, end);
  }
}

function traceOutside(flow: Flow, insn: Insn, from: usize, to: usize): void {
  for (let p = from; p < to; ) {
    const common = to - p >= COMMON_READ ? commonInsn(p, false) : 0;
    if (common) {
      p += <usize>(common & COMMON_LENGTH);
      const kind = common & COMMON_KIND;
      if (kind && kind != COMMON_RETURN) markTarget(flow, p + distanceBefore(p, common) - flow.start);
      continue;
    }
    const length: usize = decode(insn, p, to);
    if (length && insn.flags & RELATIVE) markTarget(flow, insn.target - flow.start);
    p += length ? length : 1;
  }
}

/** All that may be tables is taken for them, as far as the entries lead into the function. */
function traceTables(flow: Flow, insn: Insn, image: Image): void {
  for (let p = flow.start; p < flow.end; ) {
    const length: usize = decode(insn, p, flow.end);
    p += length ? length : 1;
    if (!length || !(insn.flags & HAS_MODRM)) continue;
    if (isLea(insn) && <u32>insn.base == RIP) {
      const table = p + <isize>insn.displacement;
      traceDistances(flow, image, table);
      traceAddresses(flow, image, table);
    } else if (insn.flags & INDIRECT && insn.flags & STOPS && <u32>insn.base == NO_REGISTER) {
      if (<u32>insn.index != NO_REGISTER) traceAddresses(flow, image, image.bias + <isize>insn.displacement);
    }
  }
}

function traceDistances(flow: Flow, image: Image, table: usize): void {
  for (let i: usize = 0; i < MOST_ENTRIES && readable(image, table + i * 4, 4); i++) {
    const target = table + <isize>load<i32>(table + i * 4);
    if (target < flow.start || target >= flow.end) return;
    markTarget(flow, target - flow.start);
  }
}

/** They may be as in the file still. */
function traceAddresses(flow: Flow, image: Image, table: usize): void {
  for (let i: usize = 0; i < MOST_ENTRIES && readable(image, table + i * 8, 8); i++) {
    let target = <usize>load<u64>(table + i * 8);
    if (target < flow.start || target >= flow.end) target += image.bias;
    if (target < flow.start || target >= flow.end) return;
    markTarget(flow, target - flow.start);
  }
}
