/**
 * Pointers into page 0 inside of struct iovec arrays and struct msghdr with data for the kernel: the call gets a copy, in
 * pages of its own, in which they are changed as pointers.ts says. The kernel copies both before it does anything else.
 */
import { readable } from "../record/memory";
import { failed, mapPages, unmapPages } from "../std/sys";
import { Frame } from "./frame";

const SYS_SENDMSG: u32 = 46;
const PAGE: u64 = 4096;
const IOVEC_SIZE: usize = 16;
/** UIO_MAXIOV: with more the kernel says EINVAL, or EMSGSIZE. */
const MOST_VECTORS: u64 = 1024;

// struct msghdr (linux/socket.h)
const MSG_NAME: usize = 0;
const MSG_NAMELEN: usize = 8;
const MSG_IOV: usize = 16;
const MSG_IOVLEN: usize = 24;
const MSG_CONTROL: usize = 32;
const MSG_CONTROLLEN: usize = 40;
const MSGHDR_SIZE: usize = 56;

/** In the pages of a copy: a msghdr, if there is one, then the iovecs. */
const VECTORS_AT: usize = 64;
const COPY_SIZE: usize = VECTORS_AT + <usize>MOST_VECTORS * IOVEC_SIZE;

/** What the second argument must be, for dropNested; 0 when it may stay as it is. */
export function nestedCopy(f: Frame): usize {
  const address = <usize>f.a1;
  if (<u32>f.nr != SYS_SENDMSG) return hasLowBase(address, f.a2) ? copyVectors(newCopy(), address, f.a2) : 0;
  if (!readable(address, MSGHDR_SIZE)) return 0;
  const vectors = load<usize>(address, MSG_IOV);
  const count = load<u64>(address, MSG_IOVLEN);
  const low = hasLowBase(vectors, count);
  const named = load<u64>(address, MSG_NAME) != 0; // without a name its length does not count
  const lowName = named && isLowPart(address, MSG_NAME, MSG_NAMELEN);
  const lowControl = isLowPart(address, MSG_CONTROL, MSG_CONTROLLEN);
  if (!low && !lowName && !lowControl && !isLowPart(address, MSG_IOV, MSG_IOVLEN)) return 0;
  const copy = newCopy();
  if (!copy) return 0;
  memory.copy(copy, address, MSGHDR_SIZE);
  if (named) raise(copy + MSG_NAME);
  raise(copy + MSG_CONTROL);
  if (low) store<usize>(copy, copyVectors(copy, vectors, count), MSG_IOV);
  else raise(copy + MSG_IOV);
  return copy;
}

/** `copy` is from nestedCopy. */
export function dropNested(copy: usize): void {
  unmapPages(copy & ~(<usize>PAGE - 1), COPY_SIZE);
}

function newCopy(): usize {
  const pages = mapPages(COPY_SIZE);
  return failed(pages) ? 0 : <usize>pages;
}

/** Copies the array behind the msghdr of a copy, if there is one. */
function copyVectors(copy: usize, vectors: usize, count: u64): usize {
  if (!copy) return 0;
  const to = copy + VECTORS_AT;
  memory.copy(to, vectors, <usize>count * IOVEC_SIZE);
  for (let i: usize = 0; i < <usize>count; i++) raise(to + i * IOVEC_SIZE);
  return to;
}

/** Whether one of the iovecs has data in page 0. */
function hasLowBase(vectors: usize, count: u64): bool {
  if (count > MOST_VECTORS || !readable(vectors, <usize>count * IOVEC_SIZE)) return false;
  for (let i: usize = 0; i < <usize>count; i++) {
    const vector = vectors + i * IOVEC_SIZE;
    if (load<u64>(vector) < PAGE && load<u64>(vector, 8)) return true;
  }
  return false;
}

function isLowPart(message: usize, pointer: usize, length: usize): bool {
  return load<u64>(message + pointer) < PAGE && load<u32>(message + length) != 0;
}

function raise(pointer: usize): void {
  const value = load<u64>(pointer);
  if (value < PAGE) store<u64>(pointer, value + PAGE);
}
