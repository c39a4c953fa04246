/**
 * A filter of system calls that the program sets up for itself (seccomp(2)) sees our own calls, too: the looks at pages, the
 * reading of /proc/self/maps after a dlopen. The program has not put them on its list. So its filter gets a prologue that
 * allows what is called from compiled guest code. The program's calls are made by the stubs, and are filtered.
 */
import { Frame } from "../hook/frame";
import { readable } from "../record/memory";
import { rewriteNow } from "../rewrite/deferred";
import { stopLearning } from "../rewrite/learn";
import { failed, mapPages, SYS_PRCTL, SYS_SECCOMP, unmapPages } from "../std/sys";

// @ts-ignore: decorator
@external("symbol", "zp_guest_text")
declare function zp_guest_text(): usize;
// @ts-ignore: decorator
@external("symbol", "__image_end")
declare function imageEnd(): usize;

const PR_SET_SECCOMP: u32 = 22;
const SECCOMP_MODE_STRICT: u64 = 1;
const SECCOMP_MODE_FILTER: u64 = 2;
const SECCOMP_SET_MODE_STRICT: u32 = 0;
const SECCOMP_SET_MODE_FILTER: u32 = 1;
const MOST_INSTRUCTIONS: usize = 4096; // BPF_MAXINSNS

// struct seccomp_data: the low and the high half of the instruction pointer.
const DATA_IP: u32 = 8;
const DATA_IP_HIGH: u32 = 12;

// struct sock_filter: u16 code, u8 jt, u8 jf, u32 k. The first three as one number.
const LOAD_WORD: u32 = 0x20;
const LOAD_CONSTANT: u32 = 0x00;
const JUMP_EQUAL: u32 = 0x15;
const JUMP_NOT_BELOW: u32 = 0x35;
const RETURN: u32 = 0x06;
const SECCOMP_RET_ALLOW: u32 = 0x7fff0000;
const INSTRUCTION: usize = 8;
const PROLOGUE: usize = 7;

/** What replaces the program's argument while the call is made: struct sock_fprog, its address, then the instructions. */
// @ts-ignore: decorator
@unmanaged
class Replacement {
  length: u64;
  filter: usize;
  original: u64;
  size: usize;
}

function setsFilter(f: Frame): bool {
  const nr = <u64>(<u32>f.nr);
  if (nr == SYS_PRCTL) return <u32>f.a0 == PR_SET_SECCOMP && f.a1 == SECCOMP_MODE_FILTER;
  return nr == SYS_SECCOMP && <u32>f.a0 == SECCOMP_SET_MODE_FILTER;
}

/** A thread may make no more calls than read, write, exit and rt_sigreturn: none of ours but those. */
export let isConfined: bool = false;

function setsStrict(f: Frame): bool {
  const nr = <u64>(<u32>f.nr);
  if (nr == SYS_PRCTL) return <u32>f.a0 == PR_SET_SECCOMP && f.a1 == SECCOMP_MODE_STRICT;
  return nr == SYS_SECCOMP && <u32>f.a0 == SECCOMP_SET_MODE_STRICT;
}

/** Replaces the filter; what cannot be read or is too long is left to the kernel. */
export function beforeFilter(f: Frame): void {
  f.cookie = 0;
  if (<u64>(<u32>f.nr) == SYS_SECCOMP || <u32>f.a0 == PR_SET_SECCOMP) {
    rewriteNow(f.ip);
    stopLearning();
  }
  if (setsStrict(f)) isConfined = true;
  if (!setsFilter(f) || !readable(<usize>f.a2, 16)) return;
  const length = <usize>load<u16>(<usize>f.a2);
  const filter = load<usize>(<usize>f.a2, 8);
  if (!length || length + PROLOGUE > MOST_INSTRUCTIONS || !readable(filter, length * INSTRUCTION)) return;
  if (zp_guest_text() >> 32 != imageEnd() >> 32) return;
  const size = (offsetof<Replacement>() + (length + PROLOGUE) * INSTRUCTION + 4095) & ~4095;
  const pages = mapPages(size);
  if (failed(pages)) return;
  const replacement = changetype<Replacement>(<usize>pages);
  const to = <usize>pages + offsetof<Replacement>();
  replacement.length = length + PROLOGUE;
  replacement.filter = to;
  replacement.original = f.a2;
  replacement.size = size;
  writePrologue(to);
  memory.copy(to + PROLOGUE * INSTRUCTION, filter, length * INSTRUCTION);
  f.cookie = <u64>pages;
  f.a2 = <u64>pages;
}

/** After the call, whatever it answered. */
export function afterFilter(f: Frame): void {
  if (!f.cookie) return;
  const replacement = changetype<Replacement>(<usize>f.cookie);
  f.a2 = replacement.original;
  unmapPages(<usize>f.cookie, replacement.size);
}

function writePrologue(to: usize): void {
  instruction(to, LOAD_WORD, DATA_IP_HIGH);
  instruction(to + 8, JUMP_EQUAL | branches(0, 4), <u32>(imageEnd() >> 32));
  instruction(to + 16, LOAD_WORD, DATA_IP);
  instruction(to + 24, JUMP_NOT_BELOW | branches(0, 2), <u32>zp_guest_text());
  instruction(to + 32, JUMP_NOT_BELOW | branches(1, 0), <u32>imageEnd());
  instruction(to + 40, RETURN, SECCOMP_RET_ALLOW);
  instruction(to + 48, LOAD_CONSTANT, 0); // as it is at the start of a filter
}

/** How many instructions to skip when the condition holds, and when not. */
function branches(yes: u32, no: u32): u32 {
  return (yes << 16) | (no << 24);
}

function instruction(at: usize, code: u32, operand: u32): void {
  store<u32>(at, code);
  store<u32>(at, operand, 4);
}
