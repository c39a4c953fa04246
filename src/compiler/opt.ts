/** The optimiser: value numbering with folding, dead code elimination, tidying of the graph, in rounds. */
import { branchOnJoined, splitBranches, splitSelects } from "./branches.ts";
import { fold } from "./fold.ts";
import { dominates, dominators, makeJump, mapEnvironments, mapUses, prune, redirect } from "./graph.ts";
import { mergeInductions } from "./induction.ts";
import { type Block, type Func, isPure, phis, type Value } from "./ir.ts";
import { sinkIncrements, sinkValues } from "./motion.ts";
import { rotateLoops, threadJumps } from "./thread.ts";

const leafKey = (value: Value): string =>
  value.op === "const" ? `c${value.imm}` : value.op === "symbol" ? `&${value.symbol}+${value.imm}` : `v${value.id}`;

const keyOf = (value: Value): string =>
  `${value.op === "phi" ? `phi${value.block.id}` : value.op === "param" ? `param${value.imm}` : value.op} ${value.type} ${value.args.map(leafKey).join(" ")}`;

const isLeaf = (value: Value): boolean => value.op === "const" || value.op === "symbol";

/** Folds every value and replaces it by an equal one that dominates it. True if anything changed. */
function numberValues(func: Func): boolean {
  const idom = dominators(func);
  const alias = new Map<Value, Value>();
  const known = new Map<string, Value[]>();
  let changed = false;
  const resolve = (value: Value): Value => {
    let v = value;
    for (let next = alias.get(v); next !== undefined; next = alias.get(v)) v = next;
    return v;
  };
  const replace = (old: Value, by: Value): void => {
    alias.set(old, by);
    changed = true;
  };
  for (const block of func.blocks) {
    const kept: Value[] = [];
    for (const original of block.values) {
      let value = original;
      value.args = value.args.map(resolve);
      if (value.op === "phi") {
        const others = new Set(value.args.filter((arg) => arg !== value));
        const [only] = others;
        const sameLeaf =
          only !== undefined && isLeaf(only) && [...others].every((arg) => leafKey(arg) === leafKey(only));
        if (only !== undefined && (others.size === 1 || sameLeaf)) {
          replace(value, only);
          continue;
        }
      } else {
        const fresh = func.nextValue;
        let simpler = fold(func, value);
        while (simpler !== undefined && simpler.id >= fresh && !isLeaf(simpler)) {
          value = simpler;
          changed = true;
          simpler = fold(func, value);
        }
        if (simpler !== undefined) {
          replace(original, resolve(simpler));
          continue;
        }
        for (const arg of value.args) {
          if (arg.id < fresh || isLeaf(arg)) continue;
          arg.block = block;
          arg.env = original.env;
          kept.push(arg);
        }
        value.block = block;
        if (value !== original) {
          value.env = original.env;
          alias.set(original, value);
        }
      }
      if (value.op === "phi" || isPure(value)) {
        const key = keyOf(value);
        const candidates = known.get(key);
        const equal = candidates?.find((candidate) => dominates(idom, candidate.block, block));
        if (equal !== undefined) {
          replace(value, equal);
          continue;
        }
        if (candidates === undefined) known.set(key, [value]);
        else candidates.push(value);
      }
      kept.push(value);
    }
    block.values = kept;
    block.end.args = block.end.args.map(resolve);
  }
  mapUses(func, resolve);
  mapEnvironments(func, resolve);
  return changed;
}

/** Removes values that nobody needs. */
export function removeDead(func: Func): void {
  const live = new Set<Value>();
  const work: Value[] = [];
  for (const block of func.blocks)
    work.push(...block.end.args, ...block.values.filter((v) => v.op !== "phi" && !isPure(v)));
  for (let value = work.pop(); value !== undefined; value = work.pop()) {
    if (live.has(value)) continue;
    live.add(value);
    work.push(...value.args);
  }
  for (const block of func.blocks) block.values = block.values.filter((value) => live.has(value));
}

/** Decides branches on constants, and branches on comparisons of a condition with zero. */
function tidyEnd(block: Block): boolean {
  const { end } = block;
  const [condition] = end.args;
  if (condition === undefined) return false;
  if (end.kind === "branch") {
    if (condition.op === "const") {
      makeJump(block, end.targets[condition.imm !== 0n ? 0 : 1]!);
      return true;
    }
    const [a, b] = condition.args;
    const againstZero = b?.op === "const" && b.imm === 0n && a!.type === 32;
    if (againstZero && (condition.op === "eq" || condition.op === "ne")) {
      end.args = [a!];
      if (condition.op === "eq") end.targets.reverse();
      return true;
    }
  }
  if (end.kind === "switch") {
    if (condition.op === "const") {
      const last = end.cases.length - 1;
      makeJump(block, end.targets[end.cases[condition.imm < BigInt(last) ? Number(condition.imm) : last]!]!);
      return true;
    }
    if (end.targets.length === 1) {
      makeJump(block, end.targets[0]!);
      return true;
    }
  }
  return false;
}

/** Joins a block with its only successor, where that has no other predecessor. */
function joinNext(block: Block): boolean {
  if (block.end.kind !== "jump") return false;
  const next = block.end.targets[0]!;
  if (next.preds.length !== 1 || next === block || phis(next).length > 0) return false;
  for (const value of next.values) {
    value.block = block;
    block.values.push(value);
  }
  block.end = next.end;
  for (const target of next.end.targets) target.preds[target.preds.indexOf(next)] = block;
  next.values = [];
  next.preds = [];
  next.end = { kind: "trap", args: [], targets: [], cases: [], at: 0 };
  return true;
}

/** Leads the predecessors of an empty block straight to its target. */
function skipEmpty(func: Func, block: Block): boolean {
  if (block.values.length > 0 || block.end.kind !== "jump" || block === func.blocks[0]) return false;
  const target = block.end.targets[0]!;
  if (target === block) return false;
  let changed = false;
  for (const pred of [...block.preds]) {
    const args = phis(target).map((phi) => phi.args[target.preds.indexOf(block)]!);
    const existing = target.preds.indexOf(pred);
    if (existing < 0) {
      redirect(pred, block, target, args);
      changed = true;
    } else if (phis(target).every((phi, i) => leafKey(phi.args[existing]!) === leafKey(args[i]!))) {
      const { end } = pred;
      if (end.kind === "branch") makeJump(pred, target);
      else {
        const from = end.targets.indexOf(block);
        const to = end.targets.indexOf(target);
        end.cases = end.cases
          .map((index) => (index === from ? to : index))
          .map((index) => (index > from ? index - 1 : index));
        end.targets.splice(from, 1);
        block.preds.splice(block.preds.indexOf(pred), 1);
      }
      changed = true;
    }
  }
  return changed;
}

/** Simplifies the graph; true if anything changed. */
function tidy(func: Func): boolean {
  let any = false;
  for (let changed = true; changed; any ||= changed) {
    changed = false;
    for (const block of func.blocks) {
      while (tidyEnd(block)) changed = true;
      while (joinNext(block)) changed = true;
    }
    prune(func);
    for (const block of func.blocks) if (skipEmpty(func, block)) changed = true;
    prune(func);
  }
  return any;
}

function simplify(func: Func): void {
  prune(func);
  for (let changed = true; changed; ) {
    changed = numberValues(func);
    removeDead(func);
    changed = tidy(func) || changed;
  }
}

/** Makes branches of conditions. */
function separate(func: Func): void {
  const split = splitBranches(func);
  if (!branchOnJoined(func) && !split) return;
  simplify(func);
  sinkValues(func);
}

function thread(func: Func): void {
  for (let round = 0; round < 8 && threadJumps(func); round++) simplify(func);
}

/** Optimises `func` in place. */
export function optimise(func: Func): void {
  simplify(func);
  separate(func);
  thread(func);
  if (rotateLoops(func)) simplify(func);
  if (mergeInductions(func)) simplify(func);
  separate(func);
  thread(func);
  if (splitSelects(func)) simplify(func);
  sinkValues(func);
  sinkIncrements(func);
}
