/**
 * Conditions made of conditions. A branch on `a and b`, `a or b` or `select` of truth values becomes several branches,
 * a select on them several selects: a comparison then is a flag and never a number.
 */
import { mapUses, newEdge, prune } from "./graph.ts";
import { type Block, type Func, isCompare, makeValue, newBlock, phis, type Value } from "./ir.ts";

/** A value that is 0 or 1. */
const isTruth = (value: Value, depth = 0): boolean =>
  isCompare(value.op) ||
  (value.op === "const" && value.imm <= 1n) ||
  ((value.op === "and" || value.op === "or") && depth < 4 && value.args.every((arg) => isTruth(arg, depth + 1)));

/** A condition as a choice: where `first` holds it is `yes`, elsewhere `no`; true and false are constants. */
interface Choice {
  readonly first: Value;
  readonly yes: Value | boolean;
  readonly no: Value | boolean;
}

const orConstant = (value: Value): Value | boolean => (value.op === "const" ? value.imm !== 0n : value);

function choiceOf(condition: Value): Choice | undefined {
  const [a, b, c] = condition.args as [Value, Value, Value];
  switch (condition.op) {
    case "and":
      return isTruth(a) && isTruth(b) ? { first: a, yes: orConstant(b), no: false } : undefined;
    case "or":
      return isTruth(a) && isTruth(b) ? { first: a, yes: true, no: orConstant(b) } : undefined;
    case "select":
      return condition.type === 32 ? { first: a, yes: orConstant(b), no: orConstant(c) } : undefined;
    default:
      return undefined;
  }
}

function useCounts(func: Func): Map<Value, number> {
  const counts = new Map<Value, number>();
  mapUses(func, (value) => {
    counts.set(value, (counts.get(value) ?? 0) + 1);
    return value;
  });
  return counts;
}

/** Splits the branch at the end of `block`; the blocks with the rest of the decision are given back. */
function splitBranch(func: Func, block: Block, choice: Choice): Block[] {
  const [yes, no] = block.end.targets as [Block, Block];
  const args = new Map([yes, no].map((to) => [to, phis(to).map((phi) => phi.args[to.preds.indexOf(block)]!)]));
  const made: Block[] = [];
  /** Where to go for one side of the first condition. */
  const side = (rest: Value | boolean): Block => {
    if (rest === true) return yes;
    if (rest === false) return no;
    const middle = newBlock(func);
    middle.end = { ...block.end, args: [rest], targets: [yes, no] };
    for (const to of [yes, no]) newEdge(middle, to, args.get(to)!);
    made.push(middle);
    return middle;
  };
  const targets = [side(choice.yes), side(choice.no)];
  for (const to of [yes, no]) {
    if (targets.includes(to)) continue;
    const index = to.preds.indexOf(block);
    to.preds.splice(index, 1);
    for (const phi of phis(to)) phi.args.splice(index, 1);
  }
  for (const middle of made) middle.preds.push(block);
  block.end = { ...block.end, args: [choice.first], targets };
  return made;
}

/** Splits branches on composed conditions that nothing else uses; true if there were any. */
export function splitBranches(func: Func): boolean {
  const counts = useCounts(func);
  const work = [...func.blocks];
  let changed = false;
  for (let block = work.pop(); block !== undefined; block = work.pop()) {
    const condition = block.end.kind === "branch" ? block.end.args[0]! : undefined;
    if (condition === undefined || counts.get(condition) !== 1) continue;
    const choice = choiceOf(condition);
    if (choice === undefined || choice.yes === choice.no) continue;
    counts.delete(condition);
    work.push(block, ...splitBranch(func, block, choice));
    changed = true;
  }
  if (changed) prune(func);
  return changed;
}

/** Selects on composed conditions become nested selects; true if there were any. */
export function splitSelects(func: Func): boolean {
  const counts = useCounts(func);
  let changed = false;
  for (const block of func.blocks) {
    const values: Value[] = [];
    const put = (value: Value): void => {
      const [condition, a, b] = value.args as [Value, Value, Value];
      const choice = value.op === "select" && counts.get(condition) === 1 ? choiceOf(condition) : undefined;
      const sides = choice === undefined ? [] : [choice.yes, choice.no];
      if (choice !== undefined && sides.some((side) => typeof side === "boolean") && sides[0] !== sides[1]) {
        const pick = (side: Value | boolean): Value => {
          if (typeof side === "boolean") return side ? a : b;
          const inner = makeValue(func, block, "select", value.type, [side, a, b], { at: value.at });
          put(inner);
          return inner;
        };
        value.args = [choice.first, pick(choice.yes), pick(choice.no)];
        changed = true;
      }
      values.push(value);
    };
    for (const value of block.values) put(value);
    block.values = values;
  }
  return changed;
}

/** Whether a select's condition joins constants and other conditions, and serves nothing else. */
const isJoined = (condition: Value, block: Block, counts: ReadonlyMap<Value, number>): boolean =>
  condition.op === "phi" &&
  condition.block === block &&
  counts.get(condition) === 1 &&
  condition.args.some((arg) => arg.op === "const");

/**
 * A select whose condition is constant on the way from some predecessor becomes a branch, through which jump threading
 * leads that way. True if there were any.
 */
export function branchOnJoined(func: Func): boolean {
  const counts = useCounts(func);
  let changed = false;
  for (const block of [...func.blocks]) {
    const at = block.values.findIndex((value) => value.op === "select" && isJoined(value.args[0]!, block, counts));
    if (at < 0) continue;
    const select = block.values[at]!;
    const [condition, a, b] = select.args as [Value, Value, Value];
    const rest = newBlock(func);
    const yes = newBlock(func);
    rest.values = [select, ...block.values.slice(at + 1)];
    for (const value of rest.values) value.block = rest;
    rest.end = block.end;
    for (const target of rest.end.targets) target.preds[target.preds.indexOf(block)] = rest;
    block.values = block.values.slice(0, at);
    block.end = { ...rest.end, kind: "branch", args: [condition], targets: [yes, rest], cases: [] };
    yes.end = { ...block.end, kind: "jump", args: [], targets: [rest] };
    yes.preds = [block];
    rest.preds = [block, yes];
    Object.assign(select, { op: "phi", args: [b, a] });
    changed = true;
  }
  if (changed) prune(func);
  return changed;
}
