/**
 * Duplication of blocks: a copy of a block for one incoming edge. It serves two ends: where the edge decides the branch
 * at the block's end, the copy jumps straight to its target (jump threading); and the test at the top of a loop is done
 * once before the loop and then at its bottom (loop rotation).
 */
import { fold } from "./fold.ts";
import { dominates, dominators, joinEdges, loops, prune, redirect, splitEdge } from "./graph.ts";
import { type Block, type Environment, type Func, isPure, makeValue, phis, type Value } from "./ir.ts";

/** Greatest number of values (phis not counted) in a block that is duplicated. */
const THREAD_LIMIT = 6;
const ROTATE_LIMIT = 12;

const bodyOf = (block: Block): Value[] => block.values.filter((value) => value.op !== "phi");

/** A block that does what `block` does when it is entered from `from`; its phis are replaced by their arguments. */
function copyFor(func: Func, block: Block, from: Block): { copy: Block; map: Map<Value, Value> } {
  const index = block.preds.indexOf(from);
  const map = new Map<Value, Value>(phis(block).map((phi) => [phi, phi.args[index]!]));
  const copy: Block = {
    id: func.nextBlock++,
    values: [],
    end: { ...block.end, args: [], targets: [], cases: [...block.end.cases] },
    preds: [],
  };
  func.blocks.push(copy);
  const mapped = (value: Value): Value => map.get(value) ?? value;
  const mappedEnv = (env: Environment | undefined): Environment | undefined =>
    env?.map((value) => value && mapped(value));
  for (const value of bodyOf(block)) {
    const clone = { ...makeValue(func, copy, value.op, value.type, value.args.map(mapped), value) };
    clone.env = mappedEnv(value.env);
    map.set(value, clone);
    copy.values.push(clone);
  }
  copy.end.env = mappedEnv(block.end.env);
  copy.end.args = block.end.args.map(mapped);
  for (const target of block.end.targets) {
    const position = target.preds.indexOf(block);
    // Arguments first: `target` may be `block` itself.
    const args = phis(target).map((phi) => mapped(phi.args[position]!));
    target.preds.push(copy);
    phis(target).forEach((phi, i) => {
      phi.args.push(args[i]!);
    });
    copy.end.targets.push(target);
  }
  redirect(from, block, copy, []);
  return { copy, map };
}

/**
 * After a block was copied its values have two definitions: at the end of each block in `definitions`. Every use
 * elsewhere gets the one that reaches it, through new phis where both do.
 */
function repair(func: Func, original: Value, definitions: ReadonlyMap<Block, Value>): void {
  const home = original.block;
  const usedElsewhere = (block: Block): boolean =>
    block.end.args.includes(original) || block.values.some((v) => v.args.includes(original));
  const isPhiUse = home.values.some((v) => v.op === "phi" && v.args.includes(original));
  if (!isPhiUse && !func.blocks.some((block) => block !== home && usedElsewhere(block))) {
    repairEnvironments(func, original, () => undefined);
    return;
  }
  const created = new Set<Value>();
  const atEnd = new Map<Block, Value>(definitions);
  const atStart = new Map<Block, Value>();
  const lookupStart = (block: Block): Value => {
    const known = atStart.get(block);
    if (known !== undefined) return known;
    if (block.preds.length === 1) {
      const value = lookupEnd(block.preds[0]!);
      atStart.set(block, value);
      return value;
    }
    const phi = makeValue(func, block, "phi", original.type, [], { at: original.at });
    atStart.set(block, phi);
    created.add(phi);
    phi.args = block.preds.map(lookupEnd);
    block.values.unshift(phi);
    return phi;
  };
  const lookupEnd = (block: Block): Value => {
    const known = atEnd.get(block);
    if (known !== undefined) return known;
    const value = lookupStart(block);
    atEnd.set(block, value);
    return value;
  };
  for (const block of [...func.blocks]) {
    for (const value of [...block.values]) {
      if (value.op === "phi") {
        if (created.has(value)) continue;
        value.args = value.args.map((arg, i) => (arg === original ? lookupEnd(block.preds[i]!) : arg));
      } else if (block !== home && value.args.includes(original))
        value.args = value.args.map((arg) => (arg === original ? lookupStart(block) : arg));
    }
    if (block !== home && block.end.args.includes(original))
      block.end.args = block.end.args.map((arg) => (arg === original ? lookupStart(block) : arg));
  }
  /** What is known already: variables make no phis. */
  const knownStart = (block: Block): Value | undefined => {
    const [pred] = block.preds;
    const known = atStart.get(block);
    if (known !== undefined || block.preds.length !== 1) return known;
    return atEnd.get(pred!) ?? knownStart(pred!);
  };
  repairEnvironments(func, original, knownStart);
}

/** Replaces `original` in the environments outside its block by the value that reaches each block. */
function repairEnvironments(func: Func, original: Value, reaching: (block: Block) => Value | undefined): void {
  for (const block of func.blocks) {
    if (block === original.block) continue;
    const holders = [...block.values, block.end].filter(({ env }) => env?.includes(original));
    if (holders.length === 0) continue;
    const value = reaching(block);
    const done = new Map<Environment, Environment>();
    for (const holder of holders) {
      const env = holder.env!;
      const next = done.get(env) ?? env.map((old) => (old === original ? value : old));
      done.set(env, next);
      holder.env = next;
    }
  }
}

/** Copies `block` for the edge from `from`, and keeps the function in SSA form. */
function duplicate(func: Func, block: Block, from: Block): Block {
  const { copy, map } = copyFor(func, block, from);
  for (const value of [...block.values]) {
    repair(
      func,
      value,
      new Map([
        [block, value],
        [copy, map.get(value)!],
      ]),
    );
  }
  return copy;
}

/** The constant that the condition of `block` has when it is entered from the predecessor number `index`. */
function conditionFrom(func: Func, block: Block, index: number): Value | undefined {
  const map = new Map<Value, Value>(phis(block).map((phi) => [phi, phi.args[index]!]));
  for (const value of bodyOf(block)) {
    if (!isPure(value)) continue;
    const args = value.args.map((arg) => map.get(arg) ?? arg);
    if (args.every((arg, i) => arg === value.args[i])) continue;
    let clone: Value | undefined = makeValue(func, block, value.op, value.type, args, value);
    for (let next: Value | undefined = clone; next !== undefined; next = fold(func, next)) clone = next;
    map.set(value, clone);
  }
  const condition = block.end.args[0]!;
  const known = map.get(condition);
  return known?.op === "const" ? known : undefined;
}

/** Threads jumps through blocks whose branch a predecessor decides; true if anything changed. */
export function threadJumps(func: Func): boolean {
  const idom = dominators(func);
  let changed = false;
  for (const block of [...func.blocks]) {
    if (block.end.kind !== "branch" && block.end.kind !== "switch") continue;
    if (block.preds.length < 2 || phis(block).length === 0 || bodyOf(block).length > THREAD_LIMIT) continue;
    if (block.preds.some((pred) => idom.has(pred) && idom.has(block) && dominates(idom, block, pred))) continue;
    for (const pred of [...block.preds]) {
      if (block.preds.length < 2) break;
      if (conditionFrom(func, block, block.preds.indexOf(pred)) === undefined) continue;
      duplicate(func, block, pred);
      changed = true;
    }
  }
  if (changed) prune(func);
  return changed;
}

/** Does the test of loops that begin with one before the loop and at its end; true if anything changed. */
export function rotateLoops(func: Func): boolean {
  let changed = false;
  for (const { header, blocks } of loops(func, dominators(func))) {
    if (header.end.kind !== "branch" || bodyOf(header).length > ROTATE_LIMIT) continue;
    if (!header.end.targets.some((target) => !blocks.has(target))) continue;
    if (blocks.size === 1) continue;
    const outside = header.preds.filter((pred) => !blocks.has(pred));
    const [from] = outside;
    if (from === undefined) continue;
    const preheader =
      outside.length > 1
        ? joinEdges(func, outside, header)
        : from.end.kind === "jump"
          ? from
          : splitEdge(func, from, header);
    duplicate(func, header, preheader);
    changed = true;
  }
  if (changed) prune(func);
  return changed;
}
