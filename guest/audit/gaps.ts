/** What gaps are called, and what people read: as in src/session/gaps.ts, which knows some more. */
import {
  GAP_EXCLUDED,
  GAP_EXEC_UNHOOKED,
  GAP_GS_BASE,
  GAP_HOOK_CRASHED,
  GAP_HOOK_REENTERED,
  GAP_INT80,
  GAP_IO_URING,
  GAP_JIT,
  GAP_NO_TRAP,
  GAP_NO_VA0,
  GAP_RING_OVERFLOW,
  GAP_UNPATCHED_SITE,
  GAP_X32,
} from "../../src/image/layout";
import { cstr } from "../std/cstr";

export function gapName(kind: u32): usize {
  switch (kind) {
    case GAP_UNPATCHED_SITE:
      return cstr("unpatched-site");
    case GAP_NO_VA0:
      return cstr("no-va0");
    case GAP_JIT:
      return cstr("jit");
    case GAP_IO_URING:
      return cstr("io_uring");
    case GAP_RING_OVERFLOW:
      return cstr("ring-overflow");
    case GAP_EXEC_UNHOOKED:
      return cstr("exec-unhooked");
    case GAP_GS_BASE:
      return cstr("gs-base");
    case GAP_NO_TRAP:
      return cstr("no-trap");
    case GAP_INT80:
      return cstr("int80");
    case GAP_X32:
      return cstr("x32");
    case GAP_EXCLUDED:
      return cstr("excluded");
    case GAP_HOOK_REENTERED:
      return cstr("hook-reentered");
    case GAP_HOOK_CRASHED:
      return cstr("hook-crashed");
    default:
      return cstr("unknown");
  }
}

/** The detail follows after a colon. */
export function gapWords(kind: u32): usize {
  switch (kind) {
    case GAP_UNPATCHED_SITE:
      return cstr("a system call instruction was left as it is");
    case GAP_NO_VA0:
      return cstr("a process could not map address 0, so nothing of it was seen");
    case GAP_JIT:
      return cstr("code was made at run time; system calls of its own would not be seen");
    case GAP_IO_URING:
      return cstr("io_uring submits operations without system calls");
    case GAP_RING_OVERFLOW:
      return cstr("events were lost because nobody read them in time");
    case GAP_EXEC_UNHOOKED:
      return cstr("exec was not followed (static, setuid, another architecture, or it ended in ld.so)");
    case GAP_GS_BASE:
      return cstr("the gs base was refused to a program that wants to use it, and may not work without");
    case GAP_NO_TRAP:
      return cstr("the kernel did not let calls be trapped that were not rewritten");
    case GAP_INT80:
      return cstr("a call by int $0x80 was not followed");
    case GAP_X32:
      return cstr("the kernel made a call with a number of the x32 ABI, which was not followed");
    case GAP_EXCLUDED:
      return cstr("a file was not rewritten, as ZPOLINE_EXCLUDE asks");
    case GAP_HOOK_REENTERED:
      return cstr("the C hook was left out of calls made inside of it, or by a signal handler that had interrupted it");
    case GAP_HOOK_CRASHED:
      return cstr("the C hook crashed, and the program went on without it");
    default:
      return cstr("something was not seen");
  }
}
