/** Questions about the control flow graph, and its upkeep. */
import { append, type Block, type Environment, type Func, newBlock, phis, removePred, type Value } from "./ir.ts";

/** Blocks that can be reached, each after its predecessors except along back edges. */
export function reversePostorder(func: Func): Block[] {
  const out: Block[] = [];
  const seen = new Set<Block>();
  const stack: { block: Block; next: number }[] = [{ block: func.blocks[0]!, next: 0 }];
  seen.add(func.blocks[0]!);
  for (let top = stack.at(-1); top !== undefined; top = stack.at(-1)) {
    const target = top.block.end.targets[top.next++];
    if (target === undefined) {
      out.push(top.block);
      stack.pop();
    } else if (!seen.has(target)) {
      seen.add(target);
      stack.push({ block: target, next: 0 });
    }
  }
  return out.reverse();
}

/** Drops unreachable blocks; the rest is put in reverse postorder. */
export function prune(func: Func): void {
  const order = reversePostorder(func);
  const kept = new Set(order);
  for (const block of order) {
    for (const pred of [...block.preds]) if (!kept.has(pred)) removePred(block, pred);
  }
  func.blocks = order;
}

/** Immediate dominators (Cooper, Harvey, Kennedy: "A simple, fast dominance algorithm"). `func.blocks` is in RPO. */
export function dominators(func: Func): Map<Block, Block> {
  const number = new Map(func.blocks.map((block, i) => [block, i]));
  const idom = new Map<Block, Block>([[func.blocks[0]!, func.blocks[0]!]]);
  const intersect = (a: Block, b: Block): Block => {
    let [x, y] = [a, b];
    while (x !== y) {
      while (number.get(x)! > number.get(y)!) x = idom.get(x)!;
      while (number.get(y)! > number.get(x)!) y = idom.get(y)!;
    }
    return x;
  };
  for (let changed = true; changed; ) {
    changed = false;
    for (const block of func.blocks.slice(1)) {
      const known = block.preds.filter((pred) => idom.has(pred));
      const dominator = known.reduce(intersect);
      if (idom.get(block) !== dominator) {
        idom.set(block, dominator);
        changed = true;
      }
    }
  }
  return idom;
}

export function dominates(idom: ReadonlyMap<Block, Block>, a: Block, b: Block): boolean {
  let x = b;
  while (x !== a) {
    const up = idom.get(x)!;
    if (up === x) return false;
    x = up;
  }
  return true;
}

export interface Loop {
  readonly header: Block;
  readonly blocks: ReadonlySet<Block>;
}

/** Natural loops, one for each header. */
export function loops(func: Func, idom: ReadonlyMap<Block, Block>): Loop[] {
  const out: Loop[] = [];
  for (const header of func.blocks) {
    const latches = header.preds.filter((pred) => dominates(idom, header, pred));
    if (latches.length === 0) continue;
    const blocks = new Set<Block>([header]);
    const work = [...latches];
    for (let block = work.pop(); block !== undefined; block = work.pop()) {
      if (blocks.has(block)) continue;
      blocks.add(block);
      work.push(...block.preds);
    }
    out.push({ header, blocks });
  }
  return out;
}

/** How many loops each block is in. */
export function loopDepths(func: Func): Map<Block, number> {
  const depths = new Map(func.blocks.map((block) => [block, 0]));
  for (const loop of loops(func, dominators(func))) {
    for (const block of loop.blocks) depths.set(block, depths.get(block)! + 1);
  }
  return depths;
}

/** A new edge on the side of `to`, whose phis get `args`. */
export function newEdge(from: Block, to: Block, args: readonly Value[]): void {
  to.preds.push(from);
  phis(to).forEach((phi, i) => {
    phi.args.push(args[i]!);
  });
}

/** Redirects the edge `from` → `old` to `to`, whose phis get `args`. */
export function redirect(from: Block, old: Block, to: Block, args: readonly Value[]): void {
  removePred(old, from);
  from.end.targets[from.end.targets.indexOf(old)] = to;
  newEdge(from, to, args);
}

/** Makes the end of `block` a jump to `target`, one of its targets. */
export function makeJump(block: Block, target: Block): void {
  for (const other of block.end.targets) if (other !== target) removePred(other, block);
  block.end = { kind: "jump", args: [], targets: [target], cases: [], at: block.end.at, env: block.end.env };
}

/** An empty block of its own on the edge `from` → `to`. */
export function splitEdge(func: Func, from: Block, to: Block): Block {
  const middle: Block = {
    id: func.nextBlock++,
    values: [],
    end: { kind: "jump", args: [], targets: [to], cases: [], at: from.end.at, env: from.end.env },
    preds: [from],
  };
  func.blocks.push(middle);
  from.end.targets[from.end.targets.indexOf(to)] = middle;
  to.preds[to.preds.indexOf(from)] = middle;
  return middle;
}

/** A block through which all edges `from` → `to` go; it has the phis that this takes. */
export function joinEdges(func: Func, from: readonly Block[], to: Block): Block {
  const middle = newBlock(func);
  middle.end = { kind: "jump", args: [], targets: [to], cases: [], at: to.end.at };
  const indexes = from.map((block) => to.preds.indexOf(block));
  const values = phis(to).map((phi) => {
    const args = indexes.map((index) => phi.args[index]!);
    const [first] = args;
    return args.every((arg) => arg === first) ? first! : append(func, middle, "phi", phi.type, args, { at: phi.at });
  });
  for (const block of from) {
    removePred(to, block);
    block.end.targets[block.end.targets.indexOf(to)] = middle;
    middle.preds.push(block);
  }
  newEdge(middle, to, values);
  return middle;
}

/** Calls `change` on the values of all environments; what gives no value is lost. */
export function mapEnvironments(func: Func, change: (value: Value) => Value | undefined): void {
  const done = new Map<Environment, Environment>();
  const mapped = (env: Environment | undefined): Environment | undefined => {
    if (env === undefined) return undefined;
    let next = done.get(env);
    if (next === undefined) {
      next = env.map((value) => value && change(value));
      done.set(env, next);
    }
    return next;
  };
  for (const block of func.blocks) {
    for (const value of block.values) value.env = mapped(value.env);
    block.end.env = mapped(block.end.env);
  }
}

/** Calls `change` on every place where a value is used; it gives the value to use there. */
export function mapUses(func: Func, change: (value: Value) => Value): void {
  for (const block of func.blocks) {
    for (const value of block.values) value.args = value.args.map(change);
    block.end.args = block.end.args.map(change);
  }
}
