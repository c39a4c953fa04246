/**
 * Which patch a find gets. Pure: the same code decides inside of the program and for `zpoline scan`, which looks at files.
 */
import { SLED_SIZE, SLED_STEP } from "../../src/image/layout";
import { SYS_RT_SIGRETURN } from "../std/sys";
import { CANCELLATION_MOVED, isCancellationPoint } from "./cancellation";
import { COMMON_LENGTH, COMMON_READ, commonInsn } from "./common";
import { decode } from "./decode";
import { Insn, MAP_ONE } from "./insn";
import { RED_ZONE_YES } from "./redzone";
import { judge, Search, Site, VERDICT_SITE } from "./sites";
import { clearWindow, findWindow, knowsBranches, Window } from "./window";

/** Left as it is. */
export const PATCH_NONE: u8 = 0;
/** `call *%rax`. */
export const PATCH_ZERO: u8 = 1;
/** A near jump in place of the instructions around (window.ts). */
export const PATCH_JUMP: u8 = 2;

// Why a site gets another patch than the usual one, or none, or that one although it is not the best.
export const WHY_USUAL: u8 = 0;
/** It is not known to be an instruction: Site.reason tells more. */
export const WHY_UNSURE: u8 = 1;
/** `sysenter` enters the kernel's 32-bit system calls, which have other numbers. */
export const WHY_SYSENTER: u8 = 2;
/** The function keeps data in its red zone, where `call` writes the return address. */
export const WHY_RED_ZONE: u8 = 3;
/** As WHY_RED_ZONE, and there is no window for a jump. */
export const WHY_RED_ZONE_NO_ROOM: u8 = 4;
/** The number is an argument, and one beyond the sled would lead nowhere. */
export const WHY_ANY_NUMBER: u8 = 5;
/** As WHY_ANY_NUMBER, and there is no window for a jump. */
export const WHY_ANY_NUMBER_NO_ROOM: u8 = 6;
/** The C library looks whether a thread was interrupted at this very instruction (cancellation.ts). */
export const WHY_CANCELLATION: u8 = 7;
/** Debuggers and unwinders know by the very bytes that a signal handler returns here (isSigreturn). */
export const WHY_SIGRETURN: u8 = 8;
// There is no window for a jump, which would be the usual patch:
/** What stands around cannot make room. */
export const WHY_NO_WINDOW: u8 = 9;
/** It could, but not all that leads there is known. */
export const WHY_NO_WINDOW_BRANCHES: u8 = 10;
/** The instructions before are not known. */
export const WHY_NO_WINDOW_CODE: u8 = 11;

// @ts-ignore: decorator
@unmanaged
export class Plan extends Window {
  /** PATCH_*; the window is that of PATCH_JUMP. */
  patch: u8;
  /** WHY_*. */
  why: u8;
  /** `call *%rax` may stand there. */
  mayCall: bool;
}

/** The greatest number whose landing in page 0 leads to a slot: the last bytes of the page are no whole group. */
const SLED_LAST: u32 = <u32>(((SLED_SIZE - 1) / SLED_STEP) * SLED_STEP) - SLED_STEP;

/**
 * Decides for the find that `search` has just made, and whose verdict is not VERDICT_NOT. `prefersJump`: it becomes a jump
 * wherever there is a window for one, not only where `call *%rax` must not stand. `mayRun`: threads may be running the code.
 */
export function planPatch(plan: Plan, search: Search, site: Site, prefersJump: bool, mayRun: bool): void {
  plan.mayCall = takesCall(site);
  plan.patch = PATCH_NONE;
  clearWindow(plan);
  plan.why = exception(site);
  if (plan.why == WHY_CANCELLATION) {
    plan.patch = PATCH_JUMP;
    plan.before = CANCELLATION_MOVED;
  } else if (plan.why) {
    return;
  } else if (prefersJump) {
    if (isSigreturn(search, site)) plan.why = WHY_SIGRETURN;
    else if (findWindow(plan, search, site, mayRun)) plan.patch = PATCH_JUMP;
    else plan.why = lack(search, site);
  } else {
    planZero(plan, search, site, mayRun);
  }
}

/**
 * Decides for the `syscall` at `address`, an instruction for sure: it has just been run. Threads are running the code. Fills
 * `site`, too; false, and no patch, where there is no window that is safe. `search` has just begun, or has found this site.
 */
export function planProven(plan: Plan, search: Search, site: Site, address: usize): bool {
  judge(search, address, site);
  if (site.verdict != VERDICT_SITE) {
    // What is known of its function is not true, or not all.
    site.verdict = VERDICT_SITE;
    site.start = site.end = 0;
  }
  planPatch(plan, search, site, true, true);
  return plan.patch == PATCH_JUMP;
}

/** Why a find does not get the usual patch, whatever that is; WHY_USUAL for all others. */
function exception(site: Site): u8 {
  if (site.verdict != VERDICT_SITE) return WHY_UNSURE;
  if (site.sysenter) return WHY_SYSENTER;
  return isCancellationPoint(site) ? WHY_CANCELLATION : WHY_USUAL;
}

/** `call *%rax`, but where it must not stand. */
function planZero(plan: Plan, search: Search, site: Site, mayRun: bool): void {
  plan.patch = plan.mayCall ? PATCH_ZERO : PATCH_NONE;
  if (site.redZone == RED_ZONE_YES) {
    planJump(plan, search, site, mayRun, WHY_RED_ZONE, WHY_RED_ZONE_NO_ROOM);
  } else if (site.number < 0 && !isSigreturn(search, site) && !isNumberInSled(search.insn, site.start, site.address)) {
    planJump(plan, search, site, mayRun, WHY_ANY_NUMBER, WHY_ANY_NUMBER_NO_ROOM);
  }
}

/**
 * Whether a site may become `call *%rax`, which writes the word below the stack pointer: not in a function that keeps
 * data there.
 */
function takesCall(site: Site): bool {
  return site.verdict == VERDICT_SITE && !site.sysenter && site.redZone != RED_ZONE_YES;
}

/** Why there is no window. */
function lack(search: Search, site: Site): u8 {
  if (!site.end) return WHY_NO_WINDOW_CODE;
  return knowsBranches(search) ? WHY_NO_WINDOW : WHY_NO_WINDOW_BRANCHES;
}

/** A jump where there is a window; else all stays as it is planned already. */
function planJump(plan: Plan, search: Search, site: Site, mayRun: bool, why: u8, whyNot: u8): void {
  const found = findWindow(plan, search, site, mayRun);
  plan.why = found ? why : whyNot;
  if (found) plan.patch = PATCH_JUMP;
}

/**
 * Whether `mov $15, %rax` or `mov $15, %eax` stands right before the site, as in the C library's restorer of signal handlers.
 * The bytes tell: its unwind table begins in the middle of an instruction (glibc, sysdeps/unix/sysv/linux/x86_64/libc_sigaction.c).
 */
function isSigreturn(search: Search, site: Site): bool {
  const at = site.address;
  const room = at - search.textStart;
  if (room < 5 || load<u32>(at - 4) != <u32>SYS_RT_SIGRETURN) return false;
  const opcode = load<u8>(at - 5);
  return opcode == 0xb8 || (opcode == 0xc0 && room >= 7 && load<u16>(at - 7) == 0xc748);
}

/** Whether the constant that rax is set to last before the site, in the order of the text, leads into the sled. */
function isNumberInSled(insn: Insn, start: usize, address: usize): bool {
  if (!start) return true; // too little is known for another patch
  let inSled = false;
  for (let p = start; p < address; ) {
    const skipped: usize = address - p >= COMMON_READ && !maySetNumber(p) ? commonInsn(p, false) & COMMON_LENGTH : 0;
    if (skipped) {
      p += skipped;
      continue;
    }
    const length: usize = decode(insn, p, address);
    if (length && setsRaxToConstant(insn)) inSled = !isBeyondSled(insn, p);
    p += length ? length : 1;
  }
  return inSled;
}

/** False for instructions that are known to be none of those that setsRaxToConstant looks for. */
// @ts-ignore: decorator
@inline
function maySetNumber(p: usize): bool {
  const first = <u32>load<u8>(p);
  const op = (first & 0xf0) == 0x40 ? <u32>load<u8>(p, 1) : first;
  return op == 0xb8 || op == 0xc7 || (op & 0xfd) == 0x31 || op == 0x8d;
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
