/** The order in which blocks are laid out: loops stay together, blocks that trap go to the end. */
import type { Inst, MachineBlock, MachineFunc } from "./machine.ts";

/** Sends every jump to a block that only jumps straight on. */
export function forwardJumps(func: MachineFunc): void {
  const forward = (block: MachineBlock): MachineBlock => {
    const seen = new Set<MachineBlock>();
    let b = block;
    while (b.insts.length === 1 && !b.entersFrame && b.insts[0]!.op === "jump" && !seen.has(b)) {
      seen.add(b);
      b = b.insts[0]!.targets![0]!;
    }
    return b;
  };
  const renew = (inst: Inst): Inst =>
    inst.targets === undefined ? inst : { ...inst, targets: inst.targets.map(forward) };
  for (const block of func.blocks) {
    block.insts = block.insts.map(renew);
    block.succs.splice(0, block.succs.length, ...(block.insts.at(-1)?.targets ?? []));
  }
  func.tables.forEach((table, i) => {
    func.tables[i] = { ...table, targets: table.targets.map(forward) };
  });
}

/** Blocks that run less often are put behind the others. */
const COLD = 0.01;
/** A block runs clearly more often than another from this factor on. */
const CLEARLY = 3;

const isCold = (block: MachineBlock): boolean => block.frequency < COLD;

export function layout(func: MachineFunc): MachineBlock[] {
  const position = new Map(func.blocks.map((block, i) => [block, i]));
  const placed = new Set<MachineBlock>();
  const candidates = new Set<MachineBlock>();
  const better = (a: MachineBlock, b: MachineBlock): boolean => {
    if (isCold(a) !== isCold(b)) return isCold(b);
    if (a.depth !== b.depth) return a.depth > b.depth;
    return position.get(a)! < position.get(b)!;
  };
  const best = (blocks: Iterable<MachineBlock>): MachineBlock | undefined => {
    let chosen: MachineBlock | undefined;
    for (const block of blocks)
      if (!placed.has(block) && (chosen === undefined || better(block, chosen))) chosen = block;
    return chosen;
  };
  const bestNext = (block: MachineBlock): MachineBlock | undefined => {
    const open = block.succs.filter((next) => !placed.has(next));
    const most = Math.max(...open.map((next) => next.frequency));
    return best(open.filter((next) => next.frequency * CLEARLY >= most));
  };
  const order: MachineBlock[] = [];
  let next: MachineBlock | undefined = func.blocks[0];
  while (next !== undefined) {
    const block: MachineBlock = next;
    placed.add(block);
    candidates.delete(block);
    order.push(block);
    for (const successor of block.succs) if (!placed.has(successor)) candidates.add(successor);
    const following = bestNext(block);
    next = following !== undefined && !isCold(following) ? following : best(candidates);
  }
  return order;
}

/** The first blocks of innermost loops: in `order` somebody jumps back to them, over no deeper loop. */
export function loopHeads(order: readonly MachineBlock[]): Set<MachineBlock> {
  const position = new Map(order.map((block, i) => [block, i]));
  const heads = new Set<MachineBlock>();
  order.forEach((block, i) => {
    for (const target of block.succs) {
      const start = position.get(target)!;
      if (start > i || target.depth === 0 || block.depth < target.depth) continue;
      if (order.slice(start, i + 1).every((inside) => inside.depth <= target.depth)) heads.add(target);
    }
  });
  return heads;
}
