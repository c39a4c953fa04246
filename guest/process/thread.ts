/**
 * The thread block: what the guest keeps per thread, found through gs. A block is handed to a new thread by its parent
 * (on the child's stack), before the child runs; it is taken again once its thread is dead.
 *
 * What a parent in vfork needs again after its child has used its stack lies in its block, keyed by stack pointer.
 */
import { THREAD_CURSOR, THREAD_ROOM_BUSY, THREAD_SELF, THREAD_SIZE } from "../../src/image/layout";
import { own } from "./own";
import { gsLoad64, gsStore64, syscall6 } from "../std/raw";
import { ARCH_SET_GS, ESRCH, failed, mapPages, SYS_ARCH_PRCTL, SYS_GETPID, SYS_GETTID, SYS_TGKILL } from "../std/sys";

/** No chunk: the offset stands at the end, so that the next record takes a chunk first. */
export const CURSOR_NONE: u64 = 0xffffffff_00008000;

const BLOCK_FREE: u32 = 0;
const BLOCK_USED: u32 = 1;
/** Its thread is in exit(): still running for a moment, so taken again only when the kernel knows it no more. */
const BLOCK_EXITING: u32 = 2;
/** Its thread's parent waits (vfork) and takes it back: until then it is nobody else's, whatever becomes of the thread. */
const BLOCK_LENT: u32 = 3;

const BLOCKS_AT_ONCE: usize = 16;
const VFORK_DEPTH: u32 = 16;
/** Pages known to be readable; a power of two. */
export const KNOWN_PAGES: usize = 64;

// Field order is part of layout.ts: self, cursor and returnAddress are used by machine code templates.
// @ts-ignore: decorator
@unmanaged
export class ThreadBlock {
  self: usize;
  cursor: u64;
  returnAddress: usize;
  tid: u32;
  pid: u32;
  state: u32;
  vforkDepth: u32;
  /** Next block in the list of all blocks of the process. */
  next: usize;
  /** The environment built for an execve under way: address and size of its pages. */
  execPages: usize;
  execSize: usize;
  /** Value of `mappingEpoch` that `pages` belongs to. */
  pagesEpoch: u64;
  /** THREAD_HOOK_* in layout.ts, for the C hook (guest/foreign). */
  hookIn: u64;
  hookLevel: usize;
  hookCallSp: usize;
  hookNextSp: usize;
  hookOwner: usize;
  /** End of the thread's own hook stack; kept when the block goes to another thread. 0: not mapped yet. */
  hookTop: usize;
  /** Whether the C hook was prepared for this thread (alternate stack, own stack). */
  hookReady: u64;
  /** fs base of the thread, as far as it is known. */
  fsBase: u64;
  /** The program's own alternate signal stack; size 0 when it has none. */
  alternateLow: usize;
  alternateSize: usize;
  /** 1: the kernel took a stack_t of zeros for that, before it got ours. */
  acceptsNoStack: u64;
  /** End of the stack that the thread was given at its creation, as far as it is known. */
  stackHigh: usize;
  /** Pages of a made-up fault (fault.ts), kept for the next; 0 before the first. */
  faultPages: usize;
  /** The thread's signal mask, while all signals are blocked over a clone (holdsSignals is 1). */
  heldMask: u64;
  holdsSignals: u64;
  /** Syscall User Dispatch of the program's own (../trap/user-dispatch.ts): mode, range, selector. */
  dispatches: u64;
  dispatchStart: u64;
  dispatchLength: u64;
  dispatchSelector: usize;
  // SIGSYS of the program under the trap (../signal/sigsys.ts).
  /** 1: blocked. */
  blocksSigsys: u32;
  /** While a call has a mask of its own: 1 + what blocksSigsys was before; else 0. */
  swappedSigsys: u32;
  /** 1: in rt_sigtimedwait for it. */
  awaitsSigsys: u32;
  /** 1: one is pending, with pendingInfo. */
  pendingSigsys: u32;
  // PAGES: KNOWN_PAGES page addresses, then VFORK_DEPTH entries.
}
const PAGES: usize = 256;
const VFORKS: usize = PAGES + KNOWN_PAGES * 8;

/** The siginfo_t of a pending SIGSYS, and memory for two actions, of which a handler of SIGSYS uses the second. */
const SIGNALS: usize = VFORKS + VFORK_DEPTH * 64;

/** A parent in vfork: everything it needs again that its child may overwrite on their stack. */
// @ts-ignore: decorator
@unmanaged
export class VforkEntry {
  /** With which the kernel returns. */
  stackPointer: usize;
  next: usize;
  nr: u64;
  tsc: u64;
  /** Block of the child, and whether the call returns only when the child is done with it. */
  block: usize;
  waited: u64;
}

// @ts-ignore: decorator
@inline
export function currentThread(): ThreadBlock {
  return changetype<ThreadBlock>(<usize>gsLoad64(THREAD_SELF));
}

/** Address of the slot that remembers a readable page with this address. */
// @ts-ignore: decorator
@inline
export function knownPageSlot(block: ThreadBlock, page: usize): usize {
  return changetype<usize>(block) + PAGES + (((page >> 12) ^ (page >> 18)) & (KNOWN_PAGES - 1)) * 8;
}

export function forgetPages(block: ThreadBlock): void {
  memory.fill(changetype<usize>(block) + PAGES, 0, KNOWN_PAGES * 8);
}

// @ts-ignore: decorator
@inline
export function pendingInfo(block: ThreadBlock): usize {
  return changetype<usize>(block) + SIGNALS;
}

// @ts-ignore: decorator
@inline
export function signalScratch(block: ThreadBlock): usize {
  return changetype<usize>(block) + SIGNALS + 128;
}

/** The block in use that follows in the list of all; the first for 0, and 0 at its end. */
export function nextThread(after: usize): usize {
  let p = after ? changetype<ThreadBlock>(after).next : <usize>atomic.load<u64>(blockList());
  while (p && changetype<ThreadBlock>(p).state != BLOCK_USED) p = changetype<ThreadBlock>(p).next;
  return p;
}

/** Takes a block whose thread is gone, or maps new ones. Address 0 when memory is out. Any thread may call this. */
export function allocateBlock(): usize {
  for (let p = <usize>atomic.load<u64>(blockList()); p; p = changetype<ThreadBlock>(p).next) {
    const block = changetype<ThreadBlock>(p);
    const state = atomic.load<u32>(stateOf(block));
    if (state != BLOCK_FREE && (state != BLOCK_EXITING || isAlive(block))) continue;
    if (atomic.cmpxchg<u32>(stateOf(block), state, BLOCK_USED) == state) return clearBlock(block);
  }
  const fresh = takeFresh();
  if (fresh) return useFresh(fresh);
  const pages = mapPages(BLOCKS_AT_ONCE * THREAD_SIZE);
  if (failed(pages)) return 0;
  own(<usize>pages, BLOCKS_AT_ONCE * THREAD_SIZE);
  atomic.store<u64>(freshBlocks(), (<u64>pages + THREAD_SIZE) | (BLOCKS_AT_ONCE - 1));
  return useFresh(<usize>pages);
}

/**
 * The blocks that were never used, which do not become real memory before they are: address of the first, and in the low 12
 * bits how many there are. What another thread has mapped at the same time may be lost.
 */
const freshWord: StaticArray<u64> = [0];

// @ts-ignore: decorator
@inline
function freshBlocks(): usize {
  return changetype<usize>(freshWord);
}

function takeFresh(): usize {
  while (true) {
    const word = atomic.load<u64>(freshBlocks());
    if (!(word & 4095)) return 0;
    if (atomic.cmpxchg<u64>(freshBlocks(), word, word - 1 + THREAD_SIZE) == word) return <usize>(word & ~4095);
  }
}

function useFresh(address: usize): usize {
  const block = changetype<ThreadBlock>(address);
  block.state = BLOCK_USED;
  pushBlock(block);
  return clearBlock(block);
}

/** The thread of a process that shares our memory (CLONE_VM) has another process id than ours. */
function isAlive(block: ThreadBlock): bool {
  return syscall6(SYS_TGKILL, block.pid, block.tid, 0, 0, 0, 0) != -ESRCH;
}

function clearBlock(block: ThreadBlock): usize {
  block.self = changetype<usize>(block);
  block.cursor = CURSOR_NONE;
  block.vforkDepth = 0;
  block.execPages = 0;
  block.tid = 0;
  block.hookIn = 0;
  block.hookLevel = 0;
  block.hookOwner = 0;
  block.hookReady = 0;
  block.fsBase = 0;
  block.alternateSize = 0;
  block.stackHigh = 0;
  block.holdsSignals = 0;
  block.dispatches = 0;
  block.blocksSigsys = 0;
  block.swappedSigsys = 0;
  block.awaitsSigsys = 0;
  block.pendingSigsys = 0;
  store<u64>(changetype<usize>(block), 0, THREAD_ROOM_BUSY);
  forgetPages(block);
  return changetype<usize>(block);
}

function pushBlock(block: ThreadBlock): void {
  while (true) {
    const head = atomic.load<u64>(blockList());
    block.next = <usize>head;
    if (atomic.cmpxchg<u64>(blockList(), head, <u64>changetype<usize>(block)) == head) return;
  }
}

/** The head of the list lives in a word of its own, because atomics work on addresses. */
const headWord: StaticArray<u64> = [0];
// @ts-ignore: decorator
@inline
function blockList(): usize {
  return changetype<usize>(headWord);
}

// @ts-ignore: decorator
@inline
function stateOf(block: ThreadBlock): usize {
  return changetype<usize>(block) + offsetof<ThreadBlock>("state");
}

/** Makes `block` the calling thread's own. */
export function adoptBlock(block: ThreadBlock): void {
  syscall6(SYS_ARCH_PRCTL, ARCH_SET_GS, changetype<usize>(block), 0, 0, 0, 0);
  refreshIdentity(block);
}

/** The stack that the thread of `block` begins on ends at `high`; how large it is nobody says. */
export function setStack(block: ThreadBlock, high: usize): void {
  block.stackHigh = high;
}

export function refreshIdentity(block: ThreadBlock): void {
  block.tid = <u32>syscall6(SYS_GETTID, 0, 0, 0, 0, 0, 0);
  block.pid = currentPid();
}

export function currentPid(): u32 {
  return <u32>syscall6(SYS_GETPID, 0, 0, 0, 0, 0, 0);
}

export function freeBlock(block: ThreadBlock): void {
  atomic.store<u32>(stateOf(block), BLOCK_FREE);
}

/** Whether the thread is a child of vfork, whose parent waits for it. */
// @ts-ignore: decorator
@inline
export function isLent(block: ThreadBlock): bool {
  return block.state == BLOCK_LENT;
}

/** The block is for a child that its parent waits for: freeBlock, on the parent, is the only way back. */
export function lendBlock(block: ThreadBlock): void {
  atomic.store<u32>(stateOf(block), BLOCK_LENT);
}

/** The calling thread is about to end: its block may be taken once the kernel has forgotten it. */
export function retireBlock(block: ThreadBlock): void {
  atomic.cmpxchg<u32>(stateOf(block), BLOCK_USED, BLOCK_EXITING);
}

/** In the child of a fork: the other threads exist only in the parent. Pages of free blocks are not copied for this. */
export function freeOtherBlocks(own: ThreadBlock): void {
  for (let p = <usize>load<u64>(blockList()); p; p = changetype<ThreadBlock>(p).next) {
    const block = changetype<ThreadBlock>(p);
    if (block != own && block.state != BLOCK_FREE) block.state = BLOCK_FREE;
  }
  own.state = BLOCK_USED; // nobody takes the copy of a lent block back
}

/** Null when vforks nest too deep. */
export function pushVfork(block: ThreadBlock): usize {
  if (block.vforkDepth >= VFORK_DEPTH) return 0;
  const index = block.vforkDepth;
  block.vforkDepth = index + 1;
  return changetype<usize>(block) + VFORKS + <usize>index * offsetof<VforkEntry>();
}

/** The entry of the parent whose stack pointer is `stackPointer`, taken off with all above it; 0 when there is none. */
export function popVfork(block: ThreadBlock, stackPointer: usize): usize {
  for (let i = block.vforkDepth; i > 0; i--) {
    const entry = changetype<VforkEntry>(changetype<usize>(block) + VFORKS + <usize>(i - 1) * offsetof<VforkEntry>());
    if (entry.stackPointer == stackPointer) {
      block.vforkDepth = i - 1;
      return changetype<usize>(entry);
    }
  }
  return 0;
}
