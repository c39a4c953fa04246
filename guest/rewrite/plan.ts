/**
 * Which patch a find gets. Pure: the same code decides inside of the program and for `zpoline scan`, which looks at files.
 */
import { SYS_CLONE, SYS_CLONE3, SYS_FORK, SYS_VFORK } from "../std/sys";
import { CANCELLATION_MOVED, isCancellationPoint } from "./cancellation";
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
/** A near jump in place of the instruction before (jump.ts). */
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
/** As WHY_RED_ZONE, and the instruction before cannot make room for a jump. */
export const WHY_RED_ZONE_NO_ROOM: u8 = 5;
/** The number is an argument, and one beyond the sled would lead nowhere. */
export const WHY_ANY_NUMBER: u8 = 6;
/** As WHY_ANY_NUMBER, and the instruction before cannot make room for a jump. */
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
  /** For PATCH_JUMP: length of the instruction right before the site, which the jump replaces. */
  moved: u8;
}

/** Bytes of a near jump. */
export const JUMP_SIZE: usize = 5;

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
    planJump(plan, site, insn, WHY_RED_ZONE, WHY_RED_ZONE_NO_ROOM);
  } else if (site.number < 0 && takesAnyNumber(insn, site.start, site.address)) {
    planJump(plan, site, insn, WHY_ANY_NUMBER, WHY_ANY_NUMBER_NO_ROOM);
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

function planJump(plan: Plan, site: Site, insn: Insn, why: u8, whyNot: u8): void {
  const moved = site.end ? movableBefore(insn, site.start, site.end, site.address) : 0;
  plan.why = moved ? why : whyNot;
  plan.moved = <u8>moved;
  if (moved) plan.patch = PATCH_JUMP;
}

/**
 * Length of the instruction right before `address`, if it has room for a near jump and can be moved, and no direct branch
 * of the function leads to `address`; else 0.
 */
function movableBefore(insn: Insn, start: usize, end: usize, address: usize): usize {
  let before: usize = 0;
  for (let p = start; p < end; ) {
    const length: usize = decode(insn, p, end);
    if (length && insn.flags & RELATIVE && insn.target == address) return 0;
    if (length >= JUMP_SIZE && p + length == address) {
      if (insn.flags & IMMOVABLE || (insn.flags & HAS_MODRM && <u32>insn.base == RIP)) return 0;
      before = length;
    }
    p += length ? length : 1;
  }
  return before;
}

/** Whether no instruction of the function before `address` sets rax to a constant: the number is an argument. */
function takesAnyNumber(insn: Insn, start: usize, address: usize): bool {
  if (!start) return false;
  for (let p = start; p < address; ) {
    const length: usize = decode(insn, p, address);
    if (length && setsRaxToConstant(insn)) return false;
    p += length ? length : 1;
  }
  return true;
}

/** `mov $imm, %eax`, `mov $imm, %rax`, `xor %eax, %eax`, and `lea imm(%reg), %eax`, by which compilers derive one from another. */
function setsRaxToConstant(insn: Insn): bool {
  if (insn.map != MAP_ONE || insn.rex & 5) return false;
  const op = <u32>insn.opcode;
  if (op == 0xb8) return true;
  if (op == 0xc7 || op == 0x31 || op == 0x33) return insn.modrm == 0xc0;
  return op == 0x8d && (insn.modrm & 0x38) == 0;
}
