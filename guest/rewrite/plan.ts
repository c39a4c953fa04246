/**
 * Which patch a find gets. Pure: the same code decides inside of the program and for `zpoline scan`, which looks at files.
 */
import { SLED_SIZE, SLED_STEP } from "../../src/image/layout";
import { SYS_CLONE, SYS_CLONE3, SYS_FORK, SYS_VFORK } from "../std/sys";
import { CANCELLATION_MOVED, isCancellationPoint } from "./cancellation";
import { COMMON_LENGTH, COMMON_READ, commonInsn } from "./common";
import { decode } from "./decode";
import {
  CALL,
  HAS_MODRM,
  INDIRECT,
  Insn,
  INT_80,
  MAP_ONE,
  RELATIVE,
  RETURN,
  RIP,
  STOPS,
  SYSCALL,
  SYSENTER,
  WRITES_SP,
} from "./insn";
import { RED_ZONE_YES } from "./redzone";
import { Site, VERDICT_SITE } from "./sites";

/** Left as it is. */
export const PATCH_NONE: u8 = 0;
/** `call *%rax`. */
export const PATCH_ZERO: u8 = 1;
/** A near jump in place of the instructions before (jump.ts). */
export const PATCH_JUMP: u8 = 2;

// Why a site gets another patch than `call *%rax`, or none, or that one although it is not the best.
export const WHY_USUAL: u8 = 0;
/** It is not known to be an instruction: Site.reason tells more. */
export const WHY_UNSURE: u8 = 1;
/** `sysenter` enters the kernel's 32-bit system calls, which have other numbers. */
export const WHY_SYSENTER: u8 = 2;
/** The function keeps data in its red zone, where `call` writes the return address. */
export const WHY_RED_ZONE: u8 = 3;
/** As WHY_RED_ZONE, and the hook of this call (needsRedZone) would write there, too. */
export const WHY_RED_ZONE_CALL: u8 = 4;
/** As WHY_RED_ZONE, and the instructions before cannot make room for a jump. */
export const WHY_RED_ZONE_NO_ROOM: u8 = 5;
/** The number is an argument, and one beyond the sled would lead nowhere. */
export const WHY_ANY_NUMBER: u8 = 6;
/** As WHY_ANY_NUMBER, and the instructions before cannot make room for a jump. */
export const WHY_ANY_NUMBER_NO_ROOM: u8 = 7;
/** The C library looks whether a thread was interrupted at this very instruction (cancellation.ts). */
export const WHY_CANCELLATION: u8 = 8;

// @ts-ignore: decorator
@unmanaged
export class Plan {
  /** PATCH_*. */
  patch: u8;
  /** WHY_*. */
  why: u8;
  /** For PATCH_JUMP: length of the instructions right before the site, which the jump replaces. */
  moved: u8;
}

/** Bytes of a near jump. */
export const JUMP_SIZE: usize = 5;
/** Most bytes of instructions that a stub has room for. */
export const MOST_MOVED: u8 = 19;

/** The greatest number whose landing in page 0 leads to a slot: the last bytes of the page are no whole group. */
const SLED_LAST: u32 = <u32>(((SLED_SIZE - 1) / SLED_STEP) * SLED_STEP) - SLED_STEP;

/** Control flow, and addresses relative to the instruction: what cannot be copied elsewhere, or must not be. */
const IMMOVABLE: u32 = RELATIVE | CALL | RETURN | INDIRECT | STOPS | SYSCALL | SYSENTER | INT_80 | WRITES_SP;

/** Decides for a find whose verdict is not VERDICT_NOT. `insn` is scratch memory. */
export function planPatch(plan: Plan, site: Site, insn: Insn): void {
  plan.patch = takesCall(site) ? PATCH_ZERO : PATCH_NONE;
  plan.why = WHY_USUAL;
  plan.moved = 0;
  if (site.verdict != VERDICT_SITE) {
    plan.why = WHY_UNSURE;
  } else if (site.sysenter) {
    plan.why = WHY_SYSENTER;
  } else if (isCancellationPoint(site)) {
    plan.patch = PATCH_JUMP;
    plan.why = WHY_CANCELLATION;
    plan.moved = CANCELLATION_MOVED;
  } else if (site.redZone == RED_ZONE_YES && needsRedZone(site.number)) {
    plan.why = WHY_RED_ZONE_CALL;
  } else if (site.redZone == RED_ZONE_YES) {
    planJump(plan, site, insn, false, WHY_RED_ZONE, WHY_RED_ZONE_NO_ROOM);
  } else if (site.number < 0) {
    const source = numberSource(insn, site.start, site.address);
    if (source == NUMBER_IN_SLED) return;
    planJump(plan, site, insn, source == NUMBER_FIRST_ARGUMENT, WHY_ANY_NUMBER, WHY_ANY_NUMBER_NO_ROOM);
  }
}

/**
 * Whether a site may become `call *%rax`, which writes the word below the stack pointer: not in a function that keeps
 * data there.
 */
export function takesCall(site: Site): bool {
  return site.verdict == VERDICT_SITE && !site.sysenter && site.redZone != RED_ZONE_YES;
}

/** Whether a call with this number keeps words in the red zone of its call site (Handover in ../process/clone.ts). */
function needsRedZone(nr: i32): bool {
  return nr == <i32>SYS_CLONE || nr == <i32>SYS_CLONE3 || nr == <i32>SYS_FORK || nr == <i32>SYS_VFORK;
}

function planJump(plan: Plan, site: Site, insn: Insn, several: bool, why: u8, whyNot: u8): void {
  const moved = site.end ? movableBefore(insn, site.start, site.end, site.address, several) : 0;
  plan.why = moved ? why : whyNot;
  plan.moved = <u8>moved;
  if (moved) plan.patch = PATCH_JUMP;
}

/**
 * Length of the instruction right before `address` that makes room for a near jump, or of `several`, as few as it takes:
 * they can be moved, and nothing of the function leads into them or to `address`. 0 when there are none.
 */
function movableBefore(insn: Insn, start: usize, end: usize, address: usize, several: bool): usize {
  /** Where the movable instructions begin that reach up to here. */
  let first = start;
  let p = start;
  while (p < address) {
    const length: usize = decode(insn, p, end);
    p += length ? length : 1;
    if (!length || insn.flags & IMMOVABLE || (insn.flags & HAS_MODRM && <u32>insn.base == RIP)) first = p;
  }
  if (p != address || address - first < JUMP_SIZE) return 0;
  let count = 0;
  for (p = first; p < address; count++) {
    const next: usize = p + decode(insn, p, end);
    if (address - next >= JUMP_SIZE) {
      first = next;
      count = -1;
    }
    p = next;
  }
  if (count > 1 && !several) return 0;
  if (address - first > <usize>MOST_MOVED || leadsInto(insn, start, end, first, address, count > 1)) return 0;
  return address - first;
}

/**
 * Whether a direct branch leads to (first, address]. Where several instructions are moved, any jump through a register may
 * lead to one of them.
 */
function leadsInto(insn: Insn, start: usize, end: usize, first: usize, address: usize, several: bool): bool {
  for (let p = start; p < end; ) {
    const length: usize = decode(insn, p, end);
    if (length && insn.flags & RELATIVE && insn.target > first && insn.target <= address) return true;
    if (length && several && insn.flags & INDIRECT && insn.flags & STOPS) return true;
    p += length ? length : 1;
  }
  return false;
}

// Where the number in rax comes from, by the last instruction that tells, in the order of the text.
/** Not known, or a constant beyond the sled. */
const NUMBER_ANY: u32 = 0;
/** A constant in the sled. */
const NUMBER_IN_SLED: u32 = 1;
/** The function's own first argument, as in libc's `syscall()`. */
const NUMBER_FIRST_ARGUMENT: u32 = 2;

function numberSource(insn: Insn, start: usize, address: usize): u32 {
  if (!start) return NUMBER_IN_SLED; // too little is known for another patch
  let source = NUMBER_ANY;
  for (let p = start; p < address; ) {
    const skipped: usize = address - p >= COMMON_READ && !mayTellNumber(p) ? commonInsn(p, false) & COMMON_LENGTH : 0;
    if (skipped) {
      p += skipped;
      continue;
    }
    const length: usize = decode(insn, p, address);
    if (length && setsRaxToConstant(insn)) source = isBeyondSled(insn, p) ? NUMBER_ANY : NUMBER_IN_SLED;
    else if (length && movesFirstArgument(insn) && source != NUMBER_IN_SLED) source = NUMBER_FIRST_ARGUMENT;
    p += length ? length : 1;
  }
  return source;
}

/** False for instructions that are known to be none of those that setsRaxToConstant and movesFirstArgument look for. */
// @ts-ignore: decorator
@inline
function mayTellNumber(p: usize): bool {
  const first = <u32>load<u8>(p);
  const op = (first & 0xf0) == 0x40 ? <u32>load<u8>(p, 1) : first;
  return op == 0xb8 || op == 0xc7 || (op & 0xfd) == 0x31 || (op & 0xfd) == 0x89 || op == 0x8d;
}

/** `mov %edi, %eax` or `mov %rdi, %rax`. */
function movesFirstArgument(insn: Insn): bool {
  if (insn.map != MAP_ONE || insn.rex & 5) return false;
  return (insn.opcode == 0x89 && insn.modrm == 0xf8) || (insn.opcode == 0x8b && insn.modrm == 0xc7);
}

/** `mov $imm, %eax`, `mov $imm, %rax`, `xor %eax, %eax`, and `lea imm(%reg), %eax`, by which compilers derive one from another. */
function setsRaxToConstant(insn: Insn): bool {
  if (insn.map != MAP_ONE || insn.rex & 5) return false;
  const op = <u32>insn.opcode;
  if (op == 0xb8) return true;
  if (op == 0xc7 || op == 0x31 || op == 0x33) return insn.modrm == 0xc0;
  return op == 0x8d && (insn.modrm & 0x38) == 0;
}

/** Of an instruction that sets rax to a constant. */
function isBeyondSled(insn: Insn, address: usize): bool {
  const immediate = address + insn.immediateAt;
  if (<u32>insn.immediateSize == 8) return load<u64>(immediate) > <u64>SLED_LAST;
  return <u32>insn.immediateSize == 4 && load<u32>(immediate) > SLED_LAST;
}
