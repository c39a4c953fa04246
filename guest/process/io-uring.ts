/**
 * io_uring: operations that are submitted without system calls of their own, which is a gap. With ZPOLINE_IO_URING=off there is
 * none: the program is told that the kernel has no io_uring, and goes on with system calls.
 */
import { GAP_IO_URING } from "../../src/image/layout";
import { Frame } from "../hook/frame";
import { recordGap } from "../record/record";
import { sameString } from "../std/bytes";
import { cstr } from "../std/cstr";
import { ENOSYS } from "../std/sys";
import { IO_URING, valueOf } from "./environment";

/** Whether an io_uring_setup has been answered here. */
export function refuseRing(f: Frame): bool {
  const value = valueOf(IO_URING);
  if (!value || !sameString(value, cstr("off"))) return false;
  f.result = -ENOSYS;
  return true;
}

/** A ring was set up; nothing was submitted yet. */
export function reportRing(f: Frame): void {
  recordGap(GAP_IO_URING, f.result, cstr("io_uring_setup"), 14);
}
