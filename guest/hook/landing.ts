/**
 * What becomes of a landing in page 0 whose return address is not in the cache of sites. A rewritten site's goes on; every
 * other call or jump there gets the signal that it would get if page 0 were not mapped.
 *
 * Who runs this: any thread, in the place of a system call or of a crash, on the program's stack below its red zone.
 */
import { LANDING_FLAGS, LANDING_RSP, LANDING_SLOT, SLED_STEP } from "../../src/image/layout";
import { beginFault, FAULT_ROOM, raiseFault } from "../process/fault";
import { readable } from "../record/memory";
import { decode } from "../rewrite/decode";
import { CALL, HAS_MODRM, INDIRECT, Insn, NO_REGISTER, PREFIX_67, PREFIX_FS_GS, RIP, RSP } from "../rewrite/insn";
import { cacheSite, isKnownSite } from "../rewrite/known";
import { isAnonymous } from "../rewrite/maps";

/** The registers by number (that of rsp is the landing's), then the flags; offsets are LANDING_* in layout.ts. */
// @ts-ignore: decorator
@unmanaged
export class Landing {
  rax: u64;
}

// @ts-ignore: decorator
@inline
export function registerOf(landing: Landing, number: u32): u64 {
  return load<u64>(changetype<usize>(landing) + (<usize>number << 3));
}

// @ts-ignore: decorator
@inline
export function stackOf(landing: Landing): usize {
  return load<usize>(changetype<usize>(landing), LANDING_RSP);
}

// @ts-ignore: decorator
@inline
export function flagsOf(landing: Landing): u64 {
  return load<u64>(changetype<usize>(landing), LANDING_FLAGS);
}

/** The last of the addresses in page 0 that lead to the slot. */
// @ts-ignore: decorator
@inline
function lastOf(landing: Landing): usize {
  return <usize>load<u32>(changetype<usize>(landing), LANDING_SLOT) * SLED_STEP;
}

/** Called by the stub; returns when the landing is the call of a rewritten site. */
export function on_unknown(landing: Landing): void {
  const returnAddress = load<usize>(stackOf(landing));
  if (isKnownSite(returnAddress) || isCopiedSite(landing, returnAddress)) cacheSite(returnAddress);
  else die(landing, returnAddress);
}

/** `call *%rax` */
const CALL_RAX: u16 = 0xd0ff;

/**
 * Whether the call may be that of a rewritten function which the program has copied elsewhere: `call *%rax` in memory that
 * no file is mapped to, with a number other than 0, which a call through NULL would have.
 */
function isCopiedSite(landing: Landing, returnAddress: usize): bool {
  const number = registerOf(landing, 0);
  if (!number || lastOf(landing) - number >= <usize>SLED_STEP) return false;
  return readable(returnAddress - 2, 2) && load<u16>(returnAddress - 2) == CALL_RAX && isAnonymous(returnAddress);
}

function die(landing: Landing, returnAddress: usize): void {
  const fault = beginFault();
  raiseFault(fault, landing, landingAddress(landing, returnAddress, changetype<Insn>(fault + FAULT_ROOM)));
}

/** Bytes of the shortest and the longest call through a register or memory that is looked at. */
const SHORTEST_CALL: usize = 2;
const LONGEST_CALL: usize = 9;

/**
 * The address in page 0 that was entered. All that is left of it is the slot, which five addresses share (but slot 0 is
 * NULL alone): the instruction before the return address tells the rest, or else a register, as in `jmp *%rax`.
 */
function landingAddress(landing: Landing, returnAddress: usize, insn: Insn): usize {
  const last = lastOf(landing);
  if (!last) return 0;
  if (readable(returnAddress - LONGEST_CALL, LONGEST_CALL)) {
    for (let length = SHORTEST_CALL; length <= LONGEST_CALL; length++) {
      const target = callTarget(landing, returnAddress, length, insn);
      if (last - target < <usize>SLED_STEP) return target;
    }
  }
  for (let i: u32 = 0; i < 16; i++) {
    const value = <usize>registerOf(landing, i);
    if (i != RSP && last - value < <usize>SLED_STEP) return value;
  }
  return last;
}

const NOWHERE: usize = <usize>-1;

/** Where a call of this length before `returnAddress` leads; NOWHERE when there is none. */
function callTarget(landing: Landing, returnAddress: usize, length: usize, insn: Insn): usize {
  const at = returnAddress - length;
  if (decode(insn, at, returnAddress) != length || !(insn.flags & CALL)) return NOWHERE;
  if (!(insn.flags & INDIRECT)) return insn.target;
  if (<u32>insn.prefixes & (PREFIX_67 | PREFIX_FS_GS) || !(insn.flags & HAS_MODRM)) return NOWHERE;
  if (insn.modrm >= 0xc0) return <usize>before(landing, (insn.modrm & 7) | ((insn.rex & 1) << 3));
  let address = <usize>(<isize>insn.displacement);
  if (<u32>insn.base == RIP) address += returnAddress;
  else if (<u32>insn.base != NO_REGISTER) address += <usize>before(landing, insn.base);
  if (<u32>insn.index != NO_REGISTER) {
    const sib = load<u8>(at + (insn.displacementSize ? <usize>insn.displacementAt : length) - 1);
    address += <usize>before(landing, insn.index) << (sib >> 6);
  }
  return readable(address, 8) ? load<usize>(address) : NOWHERE;
}

/** A register before the call pushed the return address. */
function before(landing: Landing, number: u32): u64 {
  return registerOf(landing, number) + (number == RSP ? 8 : 0);
}
