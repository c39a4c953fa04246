/** What recording needs of the processor: the time stamp counter. */
import { Frame } from "../hook/frame";
import { PR_SET_TSC } from "../std/sys";
import { ring } from "./ring";

/** Whether a prctl has been answered here: while we record, no program can make `rdtsc` fault (PR_TSC_SIGSEGV). */
export function keepClock(f: Frame): bool {
  if (!ring || <u32>f.a0 != <u32>PR_SET_TSC) return false;
  f.result = 0;
  return true;
}
