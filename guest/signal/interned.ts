/**
 * Immutable copies of the program's signal actions. The kernel keeps the address of one as the restorer of an action whose
 * handler is our trampoline: so the state of all handlers lies in the kernel, and is right for threads, children of fork,
 * and children that share memory but not handlers (vfork).
 *
 * Who runs this: any thread, also in signal handlers. An entry is taken by one addition, and counts when its first word is
 * its own address, which is stored last; equal actions that are interned at the same moment may get one each. Entries are
 * never changed and never freed: there are as many as the program has different handlers.
 */
import { INTERNED_SIZE } from "../../src/image/layout";
import { Action } from "../std/signals";

/** INTERNED_* in src/image/layout.ts. */
// @ts-ignore: decorator
@unmanaged
export class Interned {
  /** Its own address. */
  self: usize;
  handler: usize;
  flags: u64;
  restorer: usize;
  mask: u64;
  /** Where the handler returns to: the restorer, or what does the same in its place. */
  returnTo: usize;
}

/** Before the entries of a chunk, which is INTERNED_SIZE bytes, zeroes at first. */
// @ts-ignore: decorator
@unmanaged
class Chunk {
  /** The next chunk, or 0. */
  next: usize;
  /** Entries taken; it may be too great by as many threads as take one at the same time. */
  taken: u64;
}
const ROOM: u32 = <u32>((INTERNED_SIZE - offsetof<Chunk>()) / offsetof<Interned>());

// @ts-ignore: decorator
@inline
function entryAt(chunk: Chunk, index: u32): Interned {
  return changetype<Interned>(changetype<usize>(chunk) + offsetof<Chunk>() + <usize>index * offsetof<Interned>());
}

function takenOf(chunk: Chunk): u32 {
  const taken = atomic.load<u64>(changetype<usize>(chunk) + offsetof<Chunk>("taken"));
  return taken < ROOM ? <u32>taken : ROOM;
}

/** Puts a new chunk, zeroed memory, behind the last one. */
export function linkChunk(first: usize, added: usize): void {
  let chunk = changetype<Chunk>(first);
  while (true) {
    const next = atomic.cmpxchg<usize>(changetype<usize>(chunk) + offsetof<Chunk>("next"), 0, added);
    if (!next) return;
    chunk = changetype<Chunk>(next);
  }
}

/**
 * The entry with this content, a new one if there is none, whose handler returns to `returnTo`; 0 when there is no room in
 * the chunks from `first` on.
 */
export function intern(first: usize, action: Action, returnTo: usize): usize {
  for (let p = first; p; p = changetype<Chunk>(p).next) {
    const chunk = changetype<Chunk>(p);
    const taken = takenOf(chunk);
    for (let i: u32 = 0; i < taken; i++) {
      if (isEqual(entryAt(chunk, i), action, returnTo)) return changetype<usize>(entryAt(chunk, i));
    }
  }
  for (let p = first; p; p = changetype<Chunk>(p).next) {
    const chunk = changetype<Chunk>(p);
    if (takenOf(chunk) == ROOM) continue;
    const index = atomic.add<u64>(p + offsetof<Chunk>("taken"), 1);
    if (index < ROOM) return fill(entryAt(chunk, <u32>index), action, returnTo);
  }
  return 0;
}

function fill(entry: Interned, action: Action, returnTo: usize): usize {
  entry.handler = action.handler;
  entry.flags = action.flags;
  entry.restorer = action.restorer;
  entry.mask = action.mask;
  entry.returnTo = returnTo;
  atomic.store<usize>(changetype<usize>(entry), changetype<usize>(entry));
  return changetype<usize>(entry);
}

function isEqual(entry: Interned, action: Action, returnTo: usize): bool {
  return (
    entry.self == changetype<usize>(entry) &&
    entry.handler == action.handler &&
    entry.restorer == action.restorer &&
    entry.flags == action.flags &&
    entry.mask == action.mask &&
    entry.returnTo == returnTo
  );
}

/** Whether a restorer that the kernel told is one of ours. */
export function isInterned(first: usize, address: usize): bool {
  for (let p = first; p; p = changetype<Chunk>(p).next) {
    const chunk = changetype<Chunk>(p);
    const offset = address - changetype<usize>(entryAt(chunk, 0));
    if (offset < <usize>takenOf(chunk) * offsetof<Interned>() && offset % offsetof<Interned>() == 0) return true;
  }
  return false;
}
