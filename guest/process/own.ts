/**
 * Our own mappings: a table that only grows. A program that takes all addresses that it did not map itself for free (it
 * unmaps whole ranges, or maps over them) must not take away what every system call of it runs through.
 *
 * Who runs this: any thread. A range is written before its end, which makes it count.
 */
import { OWN_RANGES } from "../../src/image/layout";

// @ts-ignore: decorator
@external("symbol", "zp_own")
declare function zp_own(): usize;

/** Whole pages [start, end). */
// @ts-ignore: decorator
@unmanaged
export class OwnRange {
  start: usize;
  end: usize;
}

const countWord: StaticArray<u32> = [0];

// @ts-ignore: decorator
@inline
function rangeAt(index: u32): OwnRange {
  return changetype<OwnRange>(zp_own() + <usize>index * offsetof<OwnRange>());
}

/** [start, start + size) is ours from now on. What does not fit into the table is not protected. */
export function own(start: usize, size: usize): void {
  const index = atomic.add<u32>(changetype<usize>(countWord), 1);
  if (index >= <u32>OWN_RANGES) return;
  const range = rangeAt(index);
  range.start = start & ~4095;
  atomic.store<u64>(changetype<usize>(range) + offsetof<OwnRange>("end"), <u64>((start + size + 4095) & ~4095));
}

/** The lowest of our ranges that overlaps [start, end); its address is 0 when there is none. */
export function ownIn(start: usize, end: usize): OwnRange {
  let count = atomic.load<u32>(changetype<usize>(countWord));
  if (count > <u32>OWN_RANGES) count = OWN_RANGES;
  let lowest = changetype<OwnRange>(<usize>0);
  for (let i: u32 = 0; i < count; i++) {
    const range = rangeAt(i);
    if (range.start >= end || range.end <= start) continue;
    if (!changetype<usize>(lowest) || range.start < lowest.start) lowest = range;
  }
  return lowest;
}
