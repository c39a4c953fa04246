/**
 * Memory for near stubs (stubs.ts), within reach of a near jump from the code that they belong to. It is reserved without
 * access, a mebibyte at a time, below the code: clear of what the program's heap (brk) and stack will grow into, and not
 * where the kernel maps next. A reservation serves all code that reaches it, is ours for ever, and is never writable and
 * executable at once.
 *
 * Who runs this: any thread that has just mapped code, also in a signal handler. Nothing is locked: two threads that find
 * no room at the same time make two reservations.
 */
import { STUB_POOLS } from "../../src/image/layout";
import { AT_EXECFN, auxiliary } from "../process/environment";
import { own } from "../process/own";
import { syscall6 } from "../std/raw";
import {
  failed,
  MAP_ANONYMOUS,
  MAP_FIXED_NOREPLACE,
  MAP_NORESERVE,
  MAP_PRIVATE,
  PROT_NONE,
  SYS_BRK,
  SYS_MMAP,
  unmapPages,
} from "../std/sys";

// @ts-ignore: decorator
@external("symbol", "zp_stub_pools")
declare function zp_stub_pools(): usize;

// @ts-ignore: decorator
@unmanaged
class Pool {
  start: usize;
  /** 0 until the pool counts. */
  end: usize;
  /** First address that nobody has taken. */
  next: usize;
}

const POOL_SIZE: usize = 1 << 20;
const PAGE: usize = 4096;
/** Below 2 GiB, which a near jump reaches: there is room for operands of moved instructions. */
const REACH: usize = 0x7000_0000;
/** Heap and stack may grow so far. */
const GROWTH: usize = 1 << 30;
/** vm.mmap_min_addr, as a rule; and the end of user space (TASK_SIZE). */
const LOWEST: usize = 65536;
const HIGHEST: usize = 0x7fff_ffff_f000;

const countWord: StaticArray<u32> = [0];

// @ts-ignore: decorator
@inline
function count(): usize {
  return changetype<usize>(countWord);
}

// @ts-ignore: decorator
@inline
function poolAt(index: u32): Pool {
  return changetype<Pool>(zp_stub_pools() + <usize>index * offsetof<Pool>());
}

/** `size` bytes, whole pages without access that nobody else gets, in reach of all of [low, high); 0 when there are none. */
export function takeNear(low: usize, high: usize, size: usize): usize {
  for (let i: u32 = 0; i < atomic.load<u32>(count()) && i < <u32>STUB_POOLS; i++) {
    const pool = poolAt(i);
    if (!pool.end || !reaches(pool.start, pool.end, low, high)) continue;
    const taken = takeFrom(pool, size);
    if (taken) return taken;
  }
  return takeFresh(low, high, size);
}

function takeFrom(pool: Pool, size: usize): usize {
  const word = changetype<usize>(pool) + offsetof<Pool>("next");
  while (true) {
    const next = <usize>atomic.load<u64>(word);
    if (next + size > pool.end) return 0;
    if (atomic.cmpxchg<u64>(word, next, next + size) == next) return next;
  }
}

function takeFresh(low: usize, high: usize, size: usize): usize {
  let length = size > POOL_SIZE ? size : POOL_SIZE;
  let start = reserve(low, high, length);
  if (!start && length != size) start = reserve(low, high, (length = size));
  if (!start) return 0;
  const index = atomic.add<u32>(count(), 1);
  if (index >= <u32>STUB_POOLS) {
    unmapPages(start, length);
    return 0;
  }
  own(start, length);
  const pool = poolAt(index);
  pool.start = start;
  pool.next = start + size;
  atomic.store<u64>(changetype<usize>(pool) + offsetof<Pool>("end"), start + length);
  return start;
}

/** From far apart to close together, below the code, then above it. */
function reserve(low: usize, high: usize, size: usize): usize {
  const heap = <usize>syscall6(SYS_BRK, 0, 0, 0, 0, 0, 0);
  const stack = <usize>auxiliary(AT_EXECFN);
  for (let step: usize = 1 << 24; step >= 1 << 16; step >>= 4) {
    for (let above = 0; above < 2; above++) {
      for (let n: usize = 1; n <= 64; n++) {
        const start = above ? ((high + PAGE - 1) & ~(PAGE - 1)) + n * step : (low & ~(PAGE - 1)) - n * step - size;
        if (start < LOWEST || start > HIGHEST - size || !reaches(start, start + size, low, high)) break;
        if (start + size > heap && start < heap + GROWTH) continue;
        if (start < stack && start + size + GROWTH > stack) continue;
        if (mapAt(start, size)) return start;
      }
    }
  }
  return 0;
}

function mapAt(start: usize, size: usize): bool {
  const flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE;
  const pages = syscall6(SYS_MMAP, start, size, PROT_NONE, flags, <u64>-1, 0);
  if (failed(pages)) return false;
  if (<usize>pages == start) return true;
  unmapPages(<usize>pages, size); // before Linux 4.17 the address is but a wish
  return false;
}

/** Whether a near jump gets from any byte of [a, aEnd) to any of [b, bEnd). */
export function reaches(a: usize, aEnd: usize, b: usize, bEnd: usize): bool {
  return a < b ? bEnd - a < REACH : aEnd - b < REACH;
}
