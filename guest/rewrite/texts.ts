/**
 * Where executable mappings lie or lay that were searched for system calls: a table that only grows. It answers cheaply that a
 * change of the mappings has nothing to do with code.
 *
 * Who runs this: any thread. An entry is written before its end, which makes it count.
 */
const MOST: u32 = 1024;

/** [start, end) */
// @ts-ignore: decorator
@unmanaged
class Text {
  start: usize;
  end: usize;
}

const table: usize = memory.data(16384, 64);
const countWord: StaticArray<u32> = [0];

// @ts-ignore: decorator
@inline
function textAt(index: u32): Text {
  return changetype<Text>(table + <usize>index * offsetof<Text>());
}

/** Those of the table; more than MOST once one had no room. */
// @ts-ignore: decorator
@inline
function count(): u32 {
  return atomic.load<u32>(changetype<usize>(countWord));
}

export function noteText(start: usize, end: usize): void {
  const known = count();
  for (let i: u32 = 0; i < known && i < MOST; i++) {
    const text = textAt(i);
    if (text.start == start && text.end >= end) return;
  }
  const index = atomic.add<u32>(changetype<usize>(countWord), 1);
  if (index >= MOST) return;
  const text = textAt(index);
  text.start = start;
  atomic.store<u64>(changetype<usize>(text) + offsetof<Text>("end"), <u64>end);
}

/** Whether [start, end) may have to do with one of them. */
export function touchesText(start: usize, end: usize): bool {
  const known = count();
  if (known > MOST) return true;
  for (let i: u32 = 0; i < known; i++) {
    const text = textAt(i);
    if (text.start < end && text.end > start) return true;
  }
  return false;
}
