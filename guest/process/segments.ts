/**
 * The gs base belongs to us (the thread block). A program that asks for it gets 0, as if nobody had set it; one that sets
 * it is refused, because its own accesses through gs would find our thread block.
 */
import { GAP_GS_BASE } from "../../src/image/layout";
import { Frame } from "../hook/frame";
import { recordGap } from "../record/record";
import { cstr } from "../std/cstr";
import { ARCH_SET_GS, EPERM } from "../std/sys";

const ARCH_GET_GS: u32 = 0x1004;
/** The kernel refuses greater bases itself. */
const USER_END: u64 = 0x0000_7fff_ffff_f000;

/** Whether an arch_prctl has been answered here. */
export function keepGs(f: Frame): bool {
  if (<u32>f.a0 != <u32>ARCH_SET_GS) return false;
  f.result = 0;
  if (f.a1) {
    f.result = -EPERM;
    if (f.a1 < USER_END) recordGap(GAP_GS_BASE, f.a1, cstr("arch_prctl(ARCH_SET_GS)"), 23);
  }
  return true;
}

/** After an arch_prctl that was made. */
export function hideGs(f: Frame): void {
  if (<u32>f.a0 == ARCH_GET_GS) store<u64>(<usize>f.a1, 0);
}
