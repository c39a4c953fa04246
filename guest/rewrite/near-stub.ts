/**
 * The stub of a jump patch: what stood in its window (window.ts), and the way to the common entry. It has no system call of
 * its own, touches no stack but as the moved instructions do, and changes no flags. Pure: bytes for an address.
 *
 *           …                          the instructions before the site
 *           lea AFTER(%rip), %rcx
 *           jmp *ENTRY(%rip)
 *
 * Where the window goes on behind the site, another entry comes back to the tail:
 *
 *           …                          the instructions before the site
 *           lea AFTER(%rip), %r11
 *           lea TAIL(%rip), %rcx
 *           jmp *TAIL_ENTRY(%rip)
 *     TAIL: lea AFTER(%rip), %rcx      as `syscall` leaves it
 *           …                          the instructions behind the site
 *           jmp BEHIND                 if they go on
 *
 * AFTER is the address behind the `syscall`, BEHIND that behind the window.
 */
import { decode } from "./decode";
import { HAS_MODRM, Insn, RELATIVE, RIP, STOPS } from "./insn";
import { Entry } from "./list";
import { JUMP_SIZE, WINDOW_RELATIVE } from "./window";

/** Bytes of `syscall`. */
export const SYSCALL_SIZE: usize = 2;
export const LEA_SIZE: u32 = 7;
const LEA_RCX: u32 = 0x0d8d48;
const LEA_R11: u32 = 0x1d8d4c;
const JUMP_INDIRECT_SIZE: usize = 6;
const JUMP_INDIRECT: u16 = 0x25ff;
const JUMP: u8 = 0xe9;
const POINTER_SIZE: usize = 8;
/** A conditional jump of two bytes becomes one of six. */
const MOST_GROWTH: usize = 3;

/** Most bytes of the stub. */
export function nearStubSize(entry: Entry): usize {
  const way = <usize>entry.before + LEA_SIZE + JUMP_INDIRECT_SIZE;
  if (!entry.after) return way;
  const tail: usize = entry.traits & WINDOW_RELATIVE ? <usize>entry.after * MOST_GROWTH : entry.after;
  return way + LEA_SIZE + LEA_SIZE + tail + JUMP_SIZE;
}

/**
 * Offset of the instructions behind the site, whose tail begins LEA_SIZE bytes before them, in a stub whose window has
 * `before` bytes before the site; beyond the end of the stub when it has no tail.
 */
export function nearStubBehind(stub: usize, before: u32): u32 {
  const tailed = load<u32>(stub + before) << 8 == LEA_R11 << 8;
  return before + LEA_SIZE + <u32>JUMP_INDIRECT_SIZE + LEA_SIZE + (tailed ? LEA_SIZE : 0);
}

/**
 * Writes to `bytes`, where nearStubSize(entry) have room, the stub that will stand at the address `stub`; `site` is the
 * `syscall`, and the text around it not patched yet. `entries` is the address of two pointers, to the entry and to the one
 * for stubs with a tail: they are not read here. Returns the length of the stub; 0: something is farther away than 2 GiB.
 * `insn` is scratch memory.
 */
export function writeNearStub(bytes: usize, stub: usize, site: usize, entry: Entry, entries: usize, insn: Insn): usize {
  /** From where a byte is written to where it will be. */
  const shift = stub - bytes;
  const after = site + SYSCALL_SIZE;
  let to = moveCode(insn, bytes, shift, site - entry.before, site, (entry.traits & WINDOW_RELATIVE) != 0);
  if (!to) return 0;
  if (!entry.after) {
    to = writeLea(to, shift, LEA_RCX, after);
    to = to ? writeFar(to, shift, JUMP_INDIRECT, entries) : 0;
    return to ? to - bytes : 0;
  }
  const tail = to + LEA_SIZE + LEA_SIZE + JUMP_INDIRECT_SIZE;
  to = writeLea(to, shift, LEA_R11, after);
  to = to ? writeLea(to, shift, LEA_RCX, tail + shift) : 0;
  to = to ? writeFar(to, shift, JUMP_INDIRECT, entries + POINTER_SIZE) : 0;
  to = to ? writeLea(to, shift, LEA_RCX, after) : 0;
  to = to ? moveCode(insn, to, shift, after, after + entry.after, true) : 0;
  if (to && !(insn.flags & STOPS)) to = writeJump(to, shift, after + entry.after);
  return to ? to - bytes : 0;
}

/**
 * Writes the instructions of [from, end) for their new place, up to one behind which control does not go on. Returns the
 * address behind them, or 0.
 */
function moveCode(insn: Insn, start: usize, shift: usize, from: usize, end: usize, relative: bool): usize {
  let to = start;
  if (!relative) {
    memory.copy(to, from, end - from);
    return to + (end - from);
  }
  for (let p = from; p < end && to; p += <usize>insn.length) {
    const length: usize = decode(insn, p, end);
    if (insn.flags & RELATIVE) {
      to = writeBranch(to, shift, insn);
    } else {
      memory.copy(to, p, length);
      if (insn.flags & HAS_MODRM && <u32>insn.base == RIP) {
        const target = p + length + <isize>insn.displacement;
        if (!putDistance(to + insn.displacementAt, target - (to + shift + length))) return 0;
      }
      to += length;
    }
    if (insn.flags & STOPS) break;
  }
  return to;
}

/** The near form of the jump or conditional jump in `insn`. */
function writeBranch(to: usize, shift: usize, insn: Insn): usize {
  if (insn.flags & STOPS) return writeJump(to, shift, insn.target);
  return writeFar(to, shift, <u16>(0x800f | ((<u32>insn.opcode & 15) << 8)), insn.target);
}

function writeJump(to: usize, shift: usize, target: usize): usize {
  store<u8>(to, JUMP);
  return putDistance(to + 1, target - (to + shift + JUMP_SIZE)) ? to + JUMP_SIZE : 0;
}

/** Two bytes of opcode, then the distance to `target`. */
function writeFar(to: usize, shift: usize, opcode: u16, target: usize): usize {
  store<u16>(to, opcode);
  return putDistance(to + 2, target - (to + shift + JUMP_INDIRECT_SIZE)) ? to + JUMP_INDIRECT_SIZE : 0;
}

function writeLea(to: usize, shift: usize, opcode: u32, target: usize): usize {
  store<u32>(to, opcode);
  return putDistance(to + 3, target - (to + shift + LEA_SIZE)) ? to + LEA_SIZE : 0;
}

/** Writes a distance of 32 bits; false when it does not fit. */
function putDistance(to: usize, distance: usize): bool {
  store<i32>(to, <i32>distance);
  return <isize>(<i32>distance) == <isize>distance;
}
