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
  for (let i: usize = 0; i < image.symbolCount; i++) {
    const start = symbolFunction(image, i);
    if (start >= textStart && start >= described) narrow(extent, start, 0, address);
  }
}
