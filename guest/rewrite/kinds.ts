/**
 * Which kinds of patch this process uses, as ZPOLINE_PATCH asks (docs/mechanisms.md). Decided at start-up, never changed
 * afterwards.
 */
import { PATCHES_JUMP, PATCHES_ZERO } from "../../src/image/layout";
import { PATCH, valueOf } from "../process/environment";
import { sameString } from "../std/bytes";
import { cstr } from "../std/cstr";
import { refuse } from "../std/log";

/** `call *%rax` through the sled at address 0. */
export let usesZero: bool = false;
/** A near jump wherever one can be made, not only where `call *%rax` cannot. */
export let prefersJump: bool = false;

/** PATCHES_* bits, for those who report. */
export function patchesInUse(): u32 {
  return (usesZero ? <u32>PATCHES_ZERO : 0) | (prefersJump ? <u32>PATCHES_JUMP : 0);
}

/** One thread, nothing rewritten yet. Without the variable: as in the C zpoline. */
export function choosePatches(): void {
  const wanted = valueOf(PATCH);
  if (!wanted || sameString(wanted, cstr("zero"))) {
    usesZero = true;
  } else if (sameString(wanted, cstr("jump")) || sameString(wanted, cstr("auto"))) {
    prefersJump = true;
  } else {
    refuse(cstr("BAD_PATCH"), cstr("ZPOLINE_PATCH names no kind of patch"), wanted, cstr("one of auto, zero, jump"));
  }
}
