/** Moving values to where they are needed: into the branch that uses them, and past the last use of their operand. */
import { dominators, loopDepths } from "./graph.ts";
import { type Block, type Func, isPure, phis, type Value } from "./ir.ts";

interface Use {
  /** Where the value must be known: for a phi the end of the predecessor. */
  readonly block: Block;
  readonly by: Value | undefined;
}

function usesOf(func: Func): Map<Value, Use[]> {
  const uses = new Map<Value, Use[]>();
  const note = (value: Value, use: Use): void => {
    const list = uses.get(value);
    if (list === undefined) uses.set(value, [use]);
    else list.push(use);
  };
  for (const block of func.blocks) {
    for (const value of block.values) {
      value.args.forEach((arg, i) => {
        note(arg, { block: value.op === "phi" ? block.preds[i]! : block, by: value });
      });
    }
    for (const arg of block.end.args) note(arg, { block, by: undefined });
  }
  return uses;
}

const isMovable = (value: Value): boolean => value.op !== "phi" && value.op !== "param" && isPure(value);

/** Moves values out of blocks that do not use them, down to the block that dominates all uses, never into a loop. */
export function sinkValues(func: Func): void {
  const idom = dominators(func);
  const depths = loopDepths(func);
  const number = new Map(func.blocks.map((block, i) => [block, i]));
  const common = (a: Block, b: Block): Block => {
    let [x, y] = [a, b];
    while (x !== y) {
      if (number.get(x)! > number.get(y)!) x = idom.get(x)!;
      else y = idom.get(y)!;
    }
    return x;
  };
  const uses = usesOf(func);
  for (const block of [...func.blocks].reverse()) {
    const kept: Value[] = [];
    for (const value of [...block.values].reverse()) {
      const blocks = isMovable(value)
        ? (uses.get(value) ?? []).map((use) => (use.by?.op === "phi" ? use.block : (use.by?.block ?? use.block)))
        : [];
      let target = blocks.length === 0 ? block : blocks.reduce(common);
      while (depths.get(target)! > depths.get(block)!) target = idom.get(target)!;
      if (target === block) {
        kept.push(value);
        continue;
      }
      value.block = target;
      target.values.splice(phis(target).length, 0, value);
    }
    block.values = kept.reverse();
  }
}

/**
 * Moves `x + constant` past the last use of `x`, where `x` ends with it: the two can then share a register. This undoes
 * `load(p++)`, which is `q = p + 1; load(p)`.
 */
export function sinkIncrements(func: Func): void {
  const uses = usesOf(func);
  for (const block of func.blocks) {
    const order = new Map(block.values.map((value, i) => [value, i]));
    /** Number of the value in this block that is the use; infinite for its end, and for other blocks. */
    const place = ({ by, block: where }: Use): number => {
      if (where !== block || by === undefined || by.op === "phi") return Number.POSITIVE_INFINITY;
      const later = uses.get(by) ?? [];
      // A comparison that only a branch uses is done there.
      if (isPure(by) && later.length === 1 && later[0]!.by === undefined) return Number.POSITIVE_INFINITY;
      return order.get(by)!;
    };
    const moved = new Map<Value, number>();
    for (const value of block.values) {
      const [x, step] = value.args;
      if (value.op !== "add" || step?.op !== "const" || x!.op === "const" || x!.op === "symbol") continue;
      const last = Math.max(
        -1,
        ...uses
          .get(x!)!
          .filter(({ by }) => by !== value)
          .map(place),
      );
      const first = Math.min(...uses.get(value)!.map(place));
      if (last > order.get(value)! && last < first && Number.isFinite(last)) moved.set(value, last);
    }
    if (moved.size === 0) continue;
    block.values = block.values.flatMap((value, i) => {
      const here = [...moved].filter(([, after]) => after === i).map(([late]) => late);
      return moved.has(value) ? here : [value, ...here];
    });
  }
}
