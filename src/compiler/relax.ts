/**
 * Places the pieces of a unit: branches become short where the target is near, alignment becomes padding. Offsets that
 * were taken while emitting ("raw" offsets) count every branch as `BRANCH_RAW` bytes and every alignment as `ALIGN_RAW`
 * byte, so that a place before and a place after an item never have the same raw offset.
 */
export const BRANCH_RAW = 2;
export const ALIGN_RAW = 1;

/** A branch to a place in the unit. `cond` is the condition's number, -1 for an unconditional jump. */
export interface Branch {
  readonly raw: number;
  readonly cond: number;
  readonly target: () => number;
}

export interface Align {
  readonly raw: number;
  /** Power of two. */
  readonly to: number;
}

export interface Placement {
  readonly size: number;
  /** Final offset of a raw offset. */
  readonly place: (raw: number) => number;
  /** Final number of bytes of each branch (2, 5 or 6) and alignment (0 … to - 1), in order of the items. */
  readonly lengths: readonly number[];
}

const isAlign = (item: Branch | Align): item is Align => "to" in item;
const rawLength = (item: Branch | Align): number => (isAlign(item) ? ALIGN_RAW : BRANCH_RAW);

/** `items` in order of their raw offsets. All branches start short; one that does not reach grows and stays grown. */
export function relax(items: readonly (Branch | Align)[], rawSize: number): Placement {
  const lengths = items.map((item): number => (isAlign(item) ? 0 : BRANCH_RAW));
  const starts = new Array<number>(items.length).fill(0);
  const place = (raw: number): number => {
    let low = 0;
    let high = items.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (items[middle]!.raw < raw) low = middle + 1;
      else high = middle;
    }
    if (low === 0) return raw;
    const last = items[low - 1]!;
    return starts[low - 1]! + lengths[low - 1]! + raw - last.raw - rawLength(last);
  };
  for (let grown = true; grown; ) {
    grown = false;
    let end = 0;
    let rawEnd = 0;
    items.forEach((item, i) => {
      const start = end + item.raw - rawEnd;
      starts[i] = start;
      if (isAlign(item)) lengths[i] = -start & (item.to - 1);
      end = start + lengths[i]!;
      rawEnd = item.raw + rawLength(item);
    });
    items.forEach((item, i) => {
      if (isAlign(item) || lengths[i] !== BRANCH_RAW) return;
      const distance = place(item.target()) - (starts[i]! + BRANCH_RAW);
      if (distance >= -128 && distance <= 127) return;
      lengths[i] = item.cond < 0 ? 5 : 6;
      grown = true;
    });
  }
  return { size: place(rawSize), place, lengths };
}
