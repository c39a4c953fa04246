/**
 * Calls that would change our own mappings (own.ts): they are made for everything else, and answered as if nothing lay
 * where ours are. Only what cannot be given, an address of ours, is refused.
 */
import { Frame } from "../hook/frame";
import { mappingsChanged } from "../record/memory";
import { mappedExecutable } from "../rewrite/rewrite";
import { syscall6 } from "../std/raw";
import {
  EFAULT,
  ENOMEM,
  EPERM,
  failed,
  MAP_FIXED,
  MAP_FIXED_NOREPLACE,
  MREMAP_FIXED,
  PROT_EXEC,
  SHM_REMAP,
  SYS_MADVISE,
  SYS_MMAP,
  SYS_MPROTECT,
  SYS_MREMAP,
  SYS_MUNMAP,
  SYS_PKEY_MPROTECT,
  SYS_SHMAT,
} from "../std/sys";
import { hasStack } from "./stack";
import { own, OwnRange, ownIn } from "./own";

const USER_END: usize = 0x0000_7fff_ffff_f000;

// @ts-ignore: decorator
@external("symbol", "__image_start")
declare function imageStart(): usize;
// @ts-ignore: decorator
@external("symbol", "__image_end")
declare function imageEnd(): usize;

export function ownImage(): void {
  own(imageStart(), imageEnd() - imageStart());
}

/** Whether the call has been answered here: then `f.result` is the answer. Arguments that are no good are the kernel's to refuse. */
export function keepOurs(f: Frame): bool {
  const nr = <u64>(<u32>f.nr);
  if (nr == SYS_MMAP) return f.a3 & MAP_FIXED && !(f.a3 & MAP_FIXED_NOREPLACE) ? refuse(f, f.a0, f.a1) : false;
  if (nr == SYS_SHMAT) return f.a2 & SHM_REMAP ? refuse(f, f.a1, 1) : false;
  if (nr == SYS_MREMAP) return keepFromMove(f);
  if (nr == SYS_MUNMAP || nr == SYS_MADVISE || nr == SYS_MPROTECT || nr == SYS_PKEY_MPROTECT) return goAround(f);
  return false;
}

function overlap(start: u64, length: u64): OwnRange {
  const none = changetype<OwnRange>(<usize>0);
  if (start & 4095 || start >= <u64>USER_END || length > <u64>USER_END - start) return none;
  return ownIn(<usize>start, <usize>((start + length + 4095) & ~4095));
}

function answer(f: Frame, result: i64): bool {
  f.result = <u64>result;
  return true;
}

/** Page 0 cannot be had on most systems; anything else looks as if memory were out. */
function refuse(f: Frame, start: u64, length: u64): bool {
  const range = overlap(start, length);
  if (!changetype<usize>(range)) return false;
  return answer(f, range.start ? -ENOMEM : -EPERM);
}

function keepFromMove(f: Frame): bool {
  if (changetype<usize>(overlap(f.a0, f.a1 ? f.a1 : 1))) return answer(f, -EFAULT);
  return f.a3 & MREMAP_FIXED ? refuse(f, f.a4, f.a2) : false;
}

/**
 * munmap does not mind holes; madvise goes on behind one, and mprotect ends there, both with ENOMEM. The stretch that the
 * stack lies in is left to the stub, as the call itself.
 */
function goAround(f: Frame): bool {
  let range = overlap(f.a0, f.a1);
  if (!changetype<usize>(range)) return false;
  const nr = <u64>(<u32>f.nr);
  const end = <usize>((f.a0 + f.a1 + 4095) & ~4095);
  let at = <usize>f.a0;
  let result: i64 = nr == SYS_MUNMAP ? 0 : -ENOMEM;
  let stackStart: usize = 0;
  let stackLength: usize = 0;
  mappingsChanged();
  while (at < end) {
    const stop = changetype<usize>(range) ? range.start : end;
    if (nr == SYS_MUNMAP && hasStack(f, at, stop)) {
      stackStart = at;
      stackLength = stop - at;
    } else if (at < stop) {
      const error = make(f, at, stop - at);
      if (failed(error) && (nr == SYS_MUNMAP || error != -ENOMEM)) return answer(f, error);
    }
    if (nr == SYS_MPROTECT || nr == SYS_PKEY_MPROTECT || !changetype<usize>(range)) break;
    at = range.end;
    range = ownIn(at, end);
  }
  if (!stackLength) return answer(f, result);
  f.a0 = stackStart;
  f.a1 = stackLength;
  return false;
}

function make(f: Frame, start: usize, length: usize): i64 {
  const result = syscall6(f.nr, start, length, f.a2, f.a3, f.a4, f.a5);
  const nr = <u64>(<u32>f.nr);
  if (!failed(result) && (nr == SYS_MPROTECT || nr == SYS_PKEY_MPROTECT) && f.a2 & PROT_EXEC) {
    mappedExecutable(start, length, false);
  }
  return result;
}
