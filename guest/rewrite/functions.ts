/** Where functions start: from unwind tables, and from dynamic symbols where there is no unwind table. */
import { Image, openElf, symbolFunction } from "./elf";
import { Extent, frameExtent, narrow, openFrames } from "./frames";

/**
 * Prepares the image whose program headers (PT_LOAD and so on) are at `headers` in memory. `bias` is what was added to
 * the addresses in the file; the caller vouches that the readable segments are mapped as far as they lie in [low, high).
 */
export function openImage(image: Image, bias: usize, headers: usize, count: usize, low: usize, high: usize): void {
  openElf(image, bias, headers, count, low, high);
  openFrames(image);
}

/**
 * The function of [textStart, textEnd) that covers `address`, or else the nearest one before. A dynamic symbol counts
 * only outside of what unwind tables describe: inside, it is a second entry.
 */
export function functionAt(image: Image, address: usize, textStart: usize, textEnd: usize, extent: Extent): void {
  extent.start = 0;
  extent.end = 0;
  extent.next = textEnd;
  frameExtent(image, address, extent);
  if (extent.start < textStart) extent.start = extent.end = 0;
  if (extent.end > textEnd) extent.end = textEnd;
  if (address < extent.end) return;
  const described = extent.end;
  if (image.starts) {
    narrowByStarts(image, address, described > textStart ? described : textStart, extent);
    return;
  }
  for (let i: usize = 0; i < image.symbolCount; i++) {
    const start = symbolFunction(image, i);
    if (start >= textStart && start >= described) narrow(extent, start, 0, address);
  }
}

/** Functions are smaller than this on average. */
const MOST_FUNCTION: usize = 4096;

/** Whether an image has next to no unwind tables for a text of `size` bytes (musl): symbols alone tell of its functions. */
// @ts-ignore: decorator
@inline
export function needsSymbols(image: Image, size: usize): bool {
  return image.described * MOST_FUNCTION < size;
}

/**
 * Makes functionAt fast in an image that has next to no unwind tables: all of it is asked of the symbols there. `room` has
 * `size` bytes; where they are too few, all stays as it is.
 */
export function sortStarts(image: Image, room: usize, size: usize): void {
  if (!image.symbolCount || image.symbolCount * 4 > size) return;
  let count: usize = 0;
  for (let i: usize = 0; i < image.symbolCount; i++) {
    const start = symbolFunction(image, i);
    if (start < image.low || start >= image.high) continue;
    store<u32>(room + count * 4, <u32>(start - image.low));
    count++;
  }
  sort(room, count);
  image.starts = room;
  image.startCount = count;
}

/** Heapsort: no recursion, no memory. */
function sort(items: usize, count: usize): void {
  for (let root = count >> 1; root > 0; root--) siftDown(items, root - 1, count);
  for (let end = count; end > 1; end--) {
    const last = items + (end - 1) * 4;
    const greatest = load<u32>(items);
    store<u32>(items, load<u32>(last));
    store<u32>(last, greatest);
    siftDown(items, 0, end - 1);
  }
}

/** Makes a heap of [root, count), whose items below the root are one already. */
function siftDown(items: usize, root: usize, count: usize): void {
  const value = load<u32>(items + root * 4);
  for (let child: usize = root * 2 + 1; child < count; child = root * 2 + 1) {
    if (child + 1 < count && load<u32>(items + (child + 1) * 4) > load<u32>(items + child * 4)) child++;
    if (load<u32>(items + child * 4) <= value) break;
    store<u32>(items + root * 4, load<u32>(items + child * 4));
    root = child;
  }
  store<u32>(items + root * 4, value);
}

/** As `narrow` by all symbols that start at or after `lowest`, which is at most `address`. */
function narrowByStarts(image: Image, address: usize, lowest: usize, extent: Extent): void {
  const offset = address - image.low;
  let low: usize = 0;
  let high = image.startCount;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (<usize>load<u32>(image.starts + middle * 4) <= offset) low = middle + 1;
    else high = middle;
  }
  if (low < image.startCount) narrow(extent, image.low + load<u32>(image.starts + low * 4), 0, address);
  if (!low) return;
  const start = image.low + load<u32>(image.starts + (low - 1) * 4);
  if (start >= lowest) narrow(extent, start, 0, address);
}
