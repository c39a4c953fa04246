/**
 * How often each block runs, guessed from the shape of the function (Ball and Larus, "Branch prediction for free"; Wu
 * and Larus, "Static branch frequency and program profile analysis").
 */
import { dominators, loops, reversePostorder } from "./graph.ts";
import type { Block, Func, Op, Value } from "./ir.ts";

const CALLS: ReadonlySet<Op> = new Set<Op>(["call", "calltable", "callptr", "syscall"]);

/** Probabilities that a branch goes where the heuristic points. */
const STAYS_IN_LOOP = 0.88;
const GOES_TO_CALL = 0.22;
const IS_EQUAL = 0.35;
const TRAPS = 0.0001;

/** Rounds of the flow through the graph; each takes a loop once more. */
const ROUNDS = 12;

/** Two independent guesses as one (Dempster and Shafer). */
const combine = (p: number, q: number): number => (p * q) / (p * q + (1 - p) * (1 - q));

/** The block and those it leads to without a choice. */
function* chain(block: Block): Generator<Block> {
  let b = block;
  for (let i = 0; i < 4; i++) {
    yield b;
    if (b.end.kind !== "jump" || b.end.targets[0]!.preds.length !== 1) return;
    b = b.end.targets[0]!;
  }
}

const some = (block: Block, test: (block: Block) => boolean): boolean => [...chain(block)].some(test);
const calls = (block: Block): boolean => some(block, (b) => b.values.some((value) => CALLS.has(value.op)));
const traps = (block: Block): boolean => some(block, (b) => b.end.kind === "trap");

function byCondition(condition: Value): number {
  const constant = condition.args[1]?.op === "const";
  if (condition.op === "eq" && constant) return IS_EQUAL;
  return condition.op === "ne" && constant ? 1 - IS_EQUAL : 0.5;
}

/** Probability that the branch at the end of `block` goes to its first target. */
function probability(block: Block, innermost: ReadonlyMap<Block, ReadonlySet<Block>>): number {
  const [yes, no] = block.end.targets as [Block, Block];
  let p = byCondition(block.end.args[0]!);
  const guess = (test: (target: Block) => boolean, chance: number): void => {
    if (test(yes) !== test(no)) p = combine(p, test(yes) ? chance : 1 - chance);
  };
  guess(traps, TRAPS);
  guess(calls, GOES_TO_CALL);
  const loop = innermost.get(block);
  if (loop !== undefined) guess((target) => loop.has(target), STAYS_IN_LOOP);
  return p;
}

/** Runs of each block for one of the function. */
export function frequencies(func: Func): Map<Block, number> {
  const innermost = new Map<Block, ReadonlySet<Block>>();
  for (const { blocks } of loops(func, dominators(func)).sort((a, b) => b.blocks.size - a.blocks.size))
    for (const block of blocks) innermost.set(block, blocks);
  const shares = new Map<Block, readonly number[]>();
  for (const block of func.blocks) {
    const { kind, targets } = block.end;
    const p = kind === "branch" ? probability(block, innermost) : 1 / targets.length;
    shares.set(block, kind === "branch" ? [p, 1 - p] : targets.map(() => p));
  }
  const order = reversePostorder(func);
  const out = new Map<Block, number>(func.blocks.map((block) => [block, 0]));
  for (let round = 0; round < ROUNDS; round++) {
    for (const block of order) {
      const flow = (pred: Block): number => out.get(pred)! * shares.get(pred)![pred.end.targets.indexOf(block)]!;
      out.set(
        block,
        block.preds.map(flow).reduce((a, b) => a + b, block === order[0] ? 1 : 0),
      );
    }
  }
  return out;
}
