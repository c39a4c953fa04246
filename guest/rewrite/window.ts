/**
 * Where a near jump has room in place of the instructions around a system call, so that a stub (near-stub.ts) holds them
 * and makes the call. Pure. In order of preference:
 *
 * - one instruction before the site, of five bytes or more, with nothing between that branches or is branched to. The jump
 *   replaces that one instruction; what follows it up to the site is only copied. A branch to there that is not known
 *   would make the call without the hook, and nothing worse, so that this is safe while threads run the code;
 * - several instructions before the site. A branch or a thread that comes to one of them would run into the jump's bytes: all
 *   branches of the function have to be known.
 */
import { decode } from "./decode";
import { coveringInsn, Flow, isTarget, previousBegin } from "./flow";
import {
  CALL,
  HAS_MODRM,
  INDIRECT,
  Insn,
  INT_80,
  MAP_0F,
  MAP_ONE,
  PREFIX_67,
  PREFIX_F3,
  RELATIVE,
  RETURN,
  RIP,
  STOPS,
  SYSCALL,
  SYSENTER,
} from "./insn";
import { MOST_STEPS, REASON_FLOW, Search, Site, stepAt } from "./sites";

/** Bytes of a near jump. */
export const JUMP_SIZE: usize = 5;
/** Most bytes before a site that a stub holds. */
export const MOST_BEFORE: usize = 40;
/** Most bytes behind it. */
export const MOST_AFTER: usize = 24;

/** The window of a site is [site - before, site + 2 + after); the jump begins it. */
// @ts-ignore: decorator
@unmanaged
export class Window {
  /** Bytes of whole instructions before and behind the site that the stub holds. */
  before: u8;
  after: u8;
  /** WINDOW_*. */
  traits: u8;
}

/** The jump replaces one instruction. */
export const WINDOW_ONE: u8 = 1;
/** An instruction that the stub holds says where it is, or where something is from there: it cannot be just copied. */
export const WINDOW_RELATIVE: u8 = 2;

/** Control flow, and what traps: an instruction that must stay where it is. */
const IMMOVABLE: u32 = RELATIVE | CALL | RETURN | INDIRECT | STOPS | SYSCALL | SYSENTER | INT_80;

/** How far before a site decoding begins where control flow is not known to come. */
const NEARBY: usize = 256;
/** Decoding from there has found back to the true instructions after so many. */
const RESYNCHRONISED: u32 = 32;

export function clearWindow(window: Window): void {
  window.before = 0;
  window.after = 0;
  window.traits = 0;
}

/** Finds the window of a site that `search` has just found. False: there is none, and `window` is empty. */
export function findWindow(window: Window, search: Search, site: Site): bool {
  clearWindow(window);
  if (!site.end) return false;
  const count = stepBack(search, site);
  const first = firstOfOne(search, site, count);
  const from = first ? first : firstOfSeveral(search, site, count);
  if (!from) return false;
  window.before = <u8>(site.address - from);
  window.traits = (first ? WINDOW_ONE : 0) | (namesPlace(search, from, site.address) ? WINDOW_RELATIVE : 0);
  search.taken = site.address + 2;
  return true;
}

/** Start of the nearest instruction that has room for the jump; 0 when there is none. */
function firstOfOne(search: Search, site: Site, count: u32): usize {
  let end = site.address;
  for (let i: u32 = 0; i < count; i++) {
    const p = load<usize>(stepAt(search, i));
    if (end - p >= JUMP_SIZE) return p;
    end = p;
  }
  return 0;
}

/** Start of as few instructions before the site as have room for the jump; 0 when there are none. */
function firstOfSeveral(search: Search, site: Site, count: u32): usize {
  const flow = search.flow;
  if (!search.whole || flow.indirect || flow.lost || flow.broken || flow.overlapping) return 0;
  for (let i: u32 = 0; i < count; i++) {
    const p = load<usize>(stepAt(search, i));
    if (site.address - p >= JUMP_SIZE) return p;
  }
  return 0;
}

/** Whether an instruction of [from, to), all of them movable, has an operand relative to itself. */
function namesPlace(search: Search, from: usize, to: usize): bool {
  const insn = search.insn;
  for (let p = from; p < to; p += <usize>insn.length) {
    if (!decode(insn, p, to)) return false;
    if (insn.flags & HAS_MODRM && <u32>insn.base == RIP) return true;
  }
  return false;
}

/**
 * Lists the movable instructions right before the site, in a line without a branch target behind the first byte of any of
 * them; returns how many.
 */
function stepBack(search: Search, site: Site): u32 {
  const reached = site.reason == REASON_FLOW ? <u32>0 : sweepBack(search, site);
  if (site.reason != REASON_FLOW && !reached) return 0;
  const flow = search.flow;
  const insn = search.insn;
  let count: u32 = 0;
  let next = site.address;
  while (count < MOST_STEPS && !isTarget(flow, next)) {
    const p = reached ? (count < reached ? load<usize>(stepAt(search, count)) : 0) : previousBegin(flow, next);
    if (!p || p < search.taken || site.address - p > MOST_BEFORE) break;
    if (p + decode(insn, p, flow.end) != next || !isMovable(insn)) break;
    if (flow.overlapping && coveringInsn(flow, insn, p)) break;
    store<usize>(stepAt(search, count++), p);
    next = p;
  }
  return count;
}

/** Whether it may run somewhere else. */
function isMovable(insn: Insn): bool {
  if (insn.flags & IMMOVABLE) return false;
  if (insn.flags & HAS_MODRM && <u32>insn.base == RIP && insn.prefixes & PREFIX_67) return false;
  const op: u32 = insn.opcode;
  // int3, int, int1.
  if (<u32>insn.map == MAP_ONE) return op != 0xcc && op != 0xcd && op != 0xf1;
  // endbr64, endbr32: where indirect branches lead.
  return !(<u32>insn.map == MAP_0F && op == 0x1e && insn.modrm >= 0xfa && insn.prefixes & PREFIX_F3);
}

/**
 * As stepBack for a site that branches are not known to reach, and without a look at what the instructions are: decodes
 * from the end of the code that is reached, or from near the site.
 */
function sweepBack(search: Search, site: Site): u32 {
  const flow = search.flow;
  const insn = search.insn;
  const address = site.address;
  const previous = previousBegin(flow, address);
  let p = previous ? previous + decode(insn, previous, flow.end) : flow.start;
  let clean: u32 = RESYNCHRONISED;
  if (address - p > NEARBY) {
    p = address - NEARBY;
    clean = 0;
  }
  /** Instructions in a line up to here, as far as they are kept. */
  let count: u32 = 0;
  while (p < address) {
    const length: usize = decode(insn, p, flow.end);
    if (!length) {
      clean = count = 0;
      p++;
      continue;
    }
    if (++clean > RESYNCHRONISED) {
      if (count < MOST_STEPS) count++;
      memory.copy(stepAt(search, 1), stepAt(search, 0), (<usize>count - 1) * sizeof<usize>());
      store<usize>(stepAt(search, 0), p);
    }
    p += length;
  }
  return p == address ? count : 0;
}
