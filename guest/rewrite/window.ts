/**
 * Where a near jump has room in place of the instructions around a system call, so that a stub (near-stub.ts) holds them
 * and makes the call. Pure. In order of preference:
 *
 * - one instruction before the site, of five bytes or more, with nothing between that branches or is branched to. The jump
 *   replaces that one instruction; what follows it up to the site is only copied. A branch to there that is not known
 *   would make the call without the hook, and nothing worse, so that this is safe while threads run the code;
 * - instructions before the site that have room together, or with the `syscall` itself;
 * - these, or none, and instructions behind the site, which the stub goes on with after the call. Of what cannot be reached
 *   behind them (padding), nothing is copied.
 *
 * A branch or a thread that came to the middle of the latter two would run into the bytes of the jump. So they are for code
 * that nobody runs yet, and for functions all branches of which are known.
 */
import { decode } from "./decode";
import { beginsAt, coveringInsn, Flow, isTargeted, previousBegin } from "./flow";
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
import { converge, isBranchedTo, sweepBack } from "./steps";
import { findTargets } from "./targets";

/** Bytes of a near jump. */
export const JUMP_SIZE: usize = 5;
/** Bytes of `syscall`, and those that a jump in its place takes besides. */
const SYSCALL_SIZE: usize = 2;
const SYSCALL_ROOM: usize = JUMP_SIZE - SYSCALL_SIZE;
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

export function clearWindow(window: Window): void {
  window.before = 0;
  window.after = 0;
  window.traits = 0;
}

/**
 * Finds the window of a site that `search` has just found. `mayRun`: threads may be running the code, so that only one
 * instruction may be replaced, and the jump has to lie in one aligned word of eight bytes (jump.ts). False: there is none,
 * and `window` is empty.
 */
export function findWindow(window: Window, search: Search, site: Site, mayRun: bool): bool {
  clearWindow(window);
  if (site.end) findTargets(search);
  const count = stepBack(search, site);
  const one = oneBefore(search, site, count, mayRun);
  let before = one;
  let after: usize = 0;
  if (!before && !mayRun && site.end && knowsBranches(search)) {
    before = severalBefore(search, site, count);
    // With as few instructions before the site as possible.
    for (let i: u32 = 0; i <= count && !before && !after; i++) {
      const step = i ? site.address - load<usize>(stepAt(search, i - 1)) : 0;
      after = followers(search, site, SYSCALL_ROOM - step);
      if (after) before = step;
    }
  }
  if (!before && !after) return false;
  const from = site.address - before;
  const behind = site.address + SYSCALL_SIZE;
  if (!site.end && isBranchedTo(search, from, site.address)) return false;
  window.before = <u8>before;
  window.after = <u8>after;
  const relative = isRelative(search, from, site.address) || isRelative(search, behind, behind + after);
  window.traits = (one ? WINDOW_ONE : 0) | (relative ? WINDOW_RELATIVE : 0);
  search.taken = behind + after;
  return true;
}

/** Bytes from the nearest instruction that has room for the jump to the site; 0 when there is none. */
function oneBefore(search: Search, site: Site, count: u32, mayRun: bool): usize {
  let end = site.address;
  for (let i: u32 = 0; i < count; i++) {
    const p = load<usize>(stepAt(search, i));
    if (end - p >= JUMP_SIZE && (!mayRun || (p & 7) + JUMP_SIZE <= 8)) return site.address - p;
    end = p;
  }
  return 0;
}

/** Bytes of as few instructions before the site as have room for the jump, together with the `syscall`; 0 when there are none. */
function severalBefore(search: Search, site: Site, count: u32): usize {
  for (let i: u32 = 0; i < count; i++) {
    const before = site.address - load<usize>(stepAt(search, i));
    if (before >= SYSCALL_ROOM) return before;
  }
  return 0;
}

/** Whether all that leads to an instruction of the function is known, but for calls and what comes from other functions. */
export function knowsBranches(search: Search): bool {
  const flow = search.flow;
  return search.whole && !flow.indirect && !flow.lost && !flow.broken && !flow.overlapping;
}

/**
 * Bytes of the instructions behind the site that may move and are reached from there only, and of padding behind them: at
 * least `need`, or 0 when there are not so many. In a function all branches of which are known.
 */
function followers(search: Search, site: Site, need: usize): usize {
  const flow = search.flow;
  const insn = search.insn;
  const behind = site.address + SYSCALL_SIZE;
  let p = behind;
  let goesOn = true;
  while (p - behind < need) {
    const length: usize = goesOn ? decodeFollower(flow, insn, p) : decodePadding(search, p);
    if (!length) return 0;
    goesOn = goesOn && !(insn.flags & STOPS);
    p += length;
  }
  return p - behind;
}

/** Length of the instruction at `p` if a stub can go on with it behind the call; else 0. */
function decodeFollower(flow: Flow, insn: Insn, p: usize): usize {
  if (p >= flow.end || !beginsAt(flow, p)) return 0;
  const length: usize = decode(insn, p, flow.end);
  if (!length || isTargeted(flow, p, p + length)) return 0;
  return isMovable(insn) || isJump(insn) || isReturn(insn) ? length : 0;
}

/** Length of what fills the text behind a function or a jump at `p`; 0 when that may be more. */
function decodePadding(search: Search, p: usize): usize {
  const flow = search.flow;
  const insn = search.insn;
  // Code that nobody knows of begins where functions do.
  if (p >= search.extent.next || !(p & 15)) return 0;
  if (p < flow.end && beginsAt(flow, p)) return 0;
  const length: usize = decode(insn, p, search.extent.next);
  if (!length || isTargeted(flow, p, p + length)) return 0;
  if (<u32>insn.map == MAP_ONE) return insn.opcode == 0x90 || insn.opcode == 0xcc ? length : 0;
  return <u32>insn.map == MAP_0F && insn.opcode == 0x1f ? length : 0;
}

/** Whether an instruction of [from, to) names a place by its distance. */
function isRelative(search: Search, from: usize, to: usize): bool {
  const insn = search.insn;
  for (let p = from; p < to; p += <usize>insn.length) {
    if (!decode(insn, p, to)) return false; // padding that ends beyond
    if (insn.flags & RELATIVE || (insn.flags & HAS_MODRM && <u32>insn.base == RIP)) return true;
  }
  return false;
}

/**
 * Lists the movable instructions right before the site, in a line without a branch target behind the first byte of any of
 * them; returns how many.
 */
function stepBack(search: Search, site: Site): u32 {
  const byFlow = site.end && site.reason == REASON_FLOW;
  const known = byFlow ? MOST_STEPS : site.end ? sweepBack(search, site) : converge(search, site);
  const flow = search.flow;
  const insn = search.insn;
  let next = site.address;
  for (let count: u32 = 0; count < known; count++) {
    const p = byFlow ? previousBegin(flow, next) : load<usize>(stepAt(search, count));
    if (!p || p < search.taken || site.address - p > MOST_BEFORE) return count;
    if (p + decode(insn, p, next) != next || !isMovable(insn)) return count;
    if (site.end && isTargeted(flow, p + 1, next + 1)) return count;
    if (byFlow && flow.overlapping && coveringInsn(flow, insn, p)) return count;
    store<usize>(stepAt(search, count), p);
    next = p;
  }
  return known;
}

/** Whether it may run somewhere else, and goes on to the next. */
function isMovable(insn: Insn): bool {
  if (insn.flags & IMMOVABLE) return false;
  if (insn.flags & HAS_MODRM && <u32>insn.base == RIP && insn.prefixes & PREFIX_67) return false;
  const op: u32 = insn.opcode;
  // int3, int, int1.
  if (<u32>insn.map == MAP_ONE) return op != 0xcc && op != 0xcd && op != 0xf1;
  // endbr64, endbr32: where indirect branches lead.
  return !(<u32>insn.map == MAP_0F && op == 0x1e && insn.modrm >= 0xfa && insn.prefixes & PREFIX_F3);
}

/** A direct jump, or a conditional one that has a near form; without prefixes. */
function isJump(insn: Insn): bool {
  if (!(insn.flags & RELATIVE)) return false;
  const op: u32 = insn.opcode;
  const length: u32 = insn.length;
  if (<u32>insn.map == MAP_0F) return (op & 0xf0) == 0x80 && length == 6;
  if (<u32>insn.map != MAP_ONE) return false;
  return op == 0xe9 ? length == 5 : ((op & 0xf0) == 0x70 || op == 0xeb) && length == 2;
}

/** A near return. */
function isReturn(insn: Insn): bool {
  return <u32>insn.map == MAP_ONE && (insn.opcode & 0xfe) == 0xc2 && (insn.flags & RETURN) != 0;
}
