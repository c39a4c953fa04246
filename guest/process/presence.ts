/**
 * One zpoline a process: a second one (LD_PRELOAD in a program that zpoline-exec has loaded) finds out that its own calls are
 * hooked, and leaves the process alone.
 */
import { Frame } from "../hook/frame";
import { syscall6 } from "../std/raw";
import { SYS_ARCH_PRCTL } from "../std/sys";

/** An operation of arch_prctl(2) that the kernel does not have: "ZPLN". */
const ARCH_ZPOLINE: u32 = 0x4e4c505a;

/** Whether an arch_prctl has been answered here. */
export function tellPresence(f: Frame): bool {
  if (<u32>f.a0 != ARCH_ZPOLINE) return false;
  f.result = 1;
  return true;
}

/** Start-up: whether this process is hooked already. */
export function isHooked(): bool {
  return syscall6(SYS_ARCH_PRCTL, ARCH_ZPOLINE, 0, 0, 0, 0, 0) == 1;
}
