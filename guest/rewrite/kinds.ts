/**
 * Which kinds of patch this process uses, as ZPOLINE_PATCH asks (docs/mechanisms.md). Decided at start-up, never changed
 * afterwards.
 */
import { PATCHES_JUMP, PATCHES_TRAP, PATCHES_ZERO } from "../../src/image/layout";
import { PATCH, valueOf } from "../process/environment";
import { sameString } from "../std/bytes";
import { cstr } from "../std/cstr";
import { refuse } from "../std/log";
import { canTrap } from "../trap/arm";

/** `call *%rax` through the sled at address 0. */
export let usesZero: bool = false;
/** A near jump wherever one can be made, not only where `call *%rax` cannot. */
export let prefersJump: bool = false;
/** Calls from everywhere but our own text are trapped: what was not rewritten is seen, too. */
export let usesTrap: bool = false;
/** The choice is ours: what cannot be had is done without. */
export let isAuto: bool = false;

/** PATCHES_* bits, for those who report. */
export function patchesInUse(): u32 {
  const patches = (usesZero ? <u32>PATCHES_ZERO : 0) | (prefersJump ? <u32>PATCHES_JUMP : 0);
  return patches | (usesTrap ? <u32>PATCHES_TRAP : 0);
}

/** One thread, nothing rewritten yet. Without the variable: as in the C zpoline. */
export function choosePatches(): void {
  const wanted = valueOf(PATCH);
  if (!wanted || sameString(wanted, cstr("zero"))) {
    usesZero = true;
  } else if (sameString(wanted, cstr("jump"))) {
    prefersJump = true;
  } else if (sameString(wanted, cstr("trap"))) {
    usesTrap = true;
  } else if (sameString(wanted, cstr("zero+trap"))) {
    usesZero = usesTrap = true;
  } else if (sameString(wanted, cstr("jump+trap"))) {
    prefersJump = usesTrap = true;
  } else if (sameString(wanted, cstr("auto"))) {
    isAuto = prefersJump = true;
    usesTrap = canTrap();
    usesZero = !usesTrap;
  } else {
    const kinds = cstr("one of auto, zero, jump, trap, zero+trap, jump+trap");
    refuse(cstr("BAD_PATCH"), cstr("ZPOLINE_PATCH names no kind of patch"), wanted, kinds);
  }
}

/** Whether any instruction is rewritten at all. */
// @ts-ignore: decorator
@inline
export function rewrites(): bool {
  return usesZero || prefersJump;
}

/** Page 0 cannot be had. */
export function withoutZero(): void {
  usesZero = false;
}

/** The kernel has refused to trap. */
export function withoutTrap(): void {
  usesTrap = false;
}
