/** Which registers are live at the end of each block: backward data flow over bit sets. */
import { type MachineBlock, type MachineFunc, type Reg, visit } from "./machine.ts";

export class BitSet {
  readonly words: Uint32Array;

  constructor(size: number) {
    this.words = new Uint32Array((size + 31) >> 5);
  }

  has(i: number): boolean {
    return ((this.words[i >> 5]! >>> (i & 31)) & 1) === 1;
  }

  add(i: number): void {
    this.words[i >> 5]! |= 1 << (i & 31);
  }

  remove(i: number): void {
    this.words[i >> 5]! &= ~(1 << (i & 31));
  }

  /** Adds the members of `other`; true if there were new ones. */
  union(other: BitSet): boolean {
    let changed = false;
    this.words.forEach((word, i) => {
      const next = (word | other.words[i]!) >>> 0;
      if (next === word) return;
      this.words[i] = next;
      changed = true;
    });
    return changed;
  }

  copy(): BitSet {
    const copy = new BitSet(0);
    return Object.assign(copy, { words: this.words.slice() });
  }

  forEach(visitor: (i: number) => void): void {
    this.words.forEach((word, i) => {
      for (let rest = word; rest !== 0; rest &= rest - 1) visitor(i * 32 + 31 - Math.clz32(rest & -rest));
    });
  }
}

/** Steps `live` backward over one instruction: from after it to before it. */
export function stepBack(live: BitSet, block: MachineBlock, index: number): void {
  const inst = block.insts[index]!;
  const uses: Reg[] = [];
  visit(
    inst,
    (r) => uses.push(r),
    (r) => live.remove(r),
  );
  for (const r of uses) live.add(r);
}

export function liveAtEnd(func: MachineFunc): Map<MachineBlock, BitSet> {
  const size = func.registers;
  const generated = new Map<MachineBlock, BitSet>();
  const killed = new Map<MachineBlock, BitSet>();
  const out = new Map<MachineBlock, BitSet>();
  const into = new Map<MachineBlock, BitSet>();
  for (const block of func.blocks) {
    const gen = new BitSet(size);
    const kill = new BitSet(size);
    for (const inst of block.insts) {
      const defs: Reg[] = [];
      visit(
        inst,
        (r) => {
          if (!kill.has(r)) gen.add(r);
        },
        (r) => defs.push(r),
      );
      for (const r of defs) kill.add(r);
    }
    generated.set(block, gen);
    killed.set(block, kill);
    out.set(block, new BitSet(size));
    into.set(block, gen.copy());
  }
  for (let changed = true; changed; ) {
    changed = false;
    for (const block of [...func.blocks].reverse()) {
      const live = out.get(block)!;
      let grown = false;
      for (const next of block.succs) if (live.union(into.get(next)!)) grown = true;
      if (!grown) continue;
      changed = true;
      const before = into.get(block)!;
      const kill = killed.get(block)!;
      live.words.forEach((word, i) => {
        before.words[i]! |= word & ~kill.words[i]!;
      });
    }
  }
  return out;
}
