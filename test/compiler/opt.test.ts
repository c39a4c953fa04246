/** What single passes of the optimiser do to hand-made functions. */
import { describe, expect, test } from "vitest";
import { splitBranches, splitSelects } from "../../src/compiler/branches.ts";
import { fold } from "../../src/compiler/fold.ts";
import { mergeInductions } from "../../src/compiler/induction.ts";
import {
  append,
  type Block,
  constant,
  type Func,
  newBlock,
  type Op,
  print,
  type Value,
} from "../../src/compiler/ir.ts";
import { sinkIncrements, sinkValues } from "../../src/compiler/motion.ts";
import { optimise } from "../../src/compiler/opt.ts";

function makeFunc(params: readonly (32 | 64)[]): { func: Func; entry: Block; args: Value[] } {
  const func: Func = { name: "f", params, result: 64, exported: true, blocks: [], nextValue: 0, nextBlock: 0 };
  const entry = newBlock(func);
  const args = params.map((type, i) => append(func, entry, "param", type, [], { imm: BigInt(i) }));
  return { func, entry, args };
}

const end = (kind: "jump" | "branch" | "return", args: Value[], targets: Block[]) => ({
  kind,
  args,
  targets,
  cases: [],
  at: 0,
});

/** f(x, …) with a branch on `condition` to blocks that return 1 and 2. */
function branching(params: readonly (32 | 64)[], condition: (func: Func, entry: Block, args: Value[]) => Value): Func {
  const { func, entry, args } = makeFunc(params);
  const [yes, no] = [newBlock(func), newBlock(func)];
  entry.end = end("branch", [condition(func, entry, args)], [yes, no]);
  for (const [block, result] of [
    [yes, 1],
    [no, 2],
  ] as const) {
    block.preds = [entry];
    block.end = end("return", [constant(func, 64, result)], []);
  }
  return func;
}

const compare = (func: Func, block: Block, op: Op, x: Value, limit: number): Value =>
  append(func, block, op, 32, [x, constant(func, 32, limit)]);

const branches = (func: Func): number => func.blocks.filter((block) => block.end.kind === "branch").length;
const opsOf = (block: Block): Op[] => block.values.map((value) => value.op).filter((op) => op !== "param");

describe("branches on composed conditions", () => {
  test.each(["and", "or"] as const)("%s of comparisons", (op) => {
    const func = branching([32, 32], (f, entry, [x, y]) =>
      append(f, entry, op, 32, [compare(f, entry, "lt_u", x!, 5), compare(f, entry, "eq", y!, 7)]),
    );
    expect(splitBranches(func)).toBe(true);
    expect(branches(func)).toBe(2);
    const [first] = func.blocks;
    // "and" goes on where the first condition holds, "or" where it does not.
    const middle = first!.end.targets[op === "and" ? 0 : 1]!;
    expect(middle.end.kind).toBe("branch");
    expect(middle.end.args[0]!.op).toBe("eq");
  });

  test("and of numbers stays", () => {
    const func = branching([32, 32], (f, entry, [x, y]) => append(f, entry, "and", 32, [x!, y!]));
    expect(splitBranches(func)).toBe(false);
  });

  test("a condition that is used elsewhere stays", () => {
    const func = branching([32, 32], (f, entry, [x, y]) => {
      const both = append(f, entry, "and", 32, [compare(f, entry, "lt_u", x!, 5), compare(f, entry, "eq", y!, 7)]);
      append(f, entry, "store", 0, [x!, both], { bits: 32 });
      return both;
    });
    expect(splitBranches(func)).toBe(false);
  });

  test("a select on them becomes nested selects", () => {
    const { func, entry, args } = makeFunc([32, 32]);
    const [x, y] = args as [Value, Value];
    const both = append(func, entry, "and", 32, [compare(func, entry, "lt_u", x, 5), compare(func, entry, "eq", y, 7)]);
    const chosen = append(func, entry, "select", 32, [both, x, y]);
    entry.end = end("return", [chosen], []);
    expect(splitSelects(func)).toBe(true);
    expect(chosen.args[0]!.op).toBe("lt_u");
    expect(chosen.args[1]!.op).toBe("select");
    expect(chosen.args[2]).toBe(y);
  });
});

describe("folding", () => {
  const folded = (op: Op, a: [Op, number], b: [Op, number]): string => {
    const { func, entry, args } = makeFunc([32]);
    const x = args[0]!;
    const value = append(func, entry, op, 32, [
      compare(func, entry, a[0], x, a[1]),
      compare(func, entry, b[0], x, b[1]),
    ]);
    const result = fold(func, value);
    if (result === undefined) return "";
    if (result.op === "const") return `${result.imm}`;
    const [left, right] = result.args as [Value, Value];
    const base = left === x ? "x" : `x + ${BigInt.asIntN(32, left.args[1]!.imm)}`;
    return `${base} ${result.op} ${right.imm}`;
  };

  test.each([
    ["and", ["ge_u", 3], ["le_u", 5], "x + -3 le_u 2"],
    ["and", ["lt_u", 3], ["gt_u", 5], "0"],
    ["or", ["eq", 57], ["eq", 56], "x + -56 le_u 1"],
    ["or", ["eq", 56], ["eq", 58], ""],
    ["or", ["lt_u", 10], ["eq", 10], "x le_u 10"],
    ["or", ["le_u", 9], ["eq", 4], ""],
  ] as const)("%s of %j and %j", (op, a, b, expected) => {
    expect(folded(op, [...a], [...b])).toBe(expected);
  });

  test("x + (y - x) is y", () => {
    const { func, entry, args } = makeFunc([64, 64]);
    const [x, y] = args as [Value, Value];
    const difference = append(func, entry, "sub", 64, [y, x]);
    expect(fold(func, append(func, entry, "add", 64, [x, difference]))).toBe(y);
    expect(fold(func, append(func, entry, "add", 64, [difference, x]))).toBe(y);
    const sum = append(func, entry, "add", 64, [x, y]);
    expect(fold(func, append(func, entry, "sub", 64, [sum, x]))).toBe(y);
    expect(fold(func, append(func, entry, "sub", 64, [sum, y]))).toBe(x);
  });
});

/** for (p = start; p < end; p++) sum += *p, rotated: the loop's block tests p + 1. */
function countingLoop(): { func: Func; loop: Block } {
  const { func, entry, args } = makeFunc([64, 64]);
  const [start, limit] = args as [Value, Value];
  const loop = newBlock(func);
  const exit = newBlock(func);
  const one = constant(func, 64, 1);
  const next0 = append(func, entry, "add", 64, [start, one]);
  entry.end = end("jump", [], [loop]);
  loop.preds = [entry, loop];
  const p = append(func, loop, "phi", 64, [start]);
  const q = append(func, loop, "phi", 64, [next0]);
  const sum = append(func, loop, "phi", 64, [constant(func, 64, 0)]);
  const step = append(func, loop, "add", 64, [q, one]);
  const byte = append(func, loop, "load", 64, [p], { bits: 8 });
  const total = append(func, loop, "add", 64, [sum, byte]);
  const again = append(func, loop, "lt_u", 32, [step, limit]);
  p.args.push(q);
  q.args.push(step);
  sum.args.push(total);
  loop.end = end("branch", [again], [loop, exit]);
  exit.preds = [loop];
  exit.end = end("return", [total], []);
  return { func, loop };
}

describe("loops", () => {
  test("a variable that follows another at a constant distance is computed from it", () => {
    const { func, loop } = countingLoop();
    expect(mergeInductions(func)).toBe(true);
    expect(opsOf(loop).filter((op) => op === "phi")).toHaveLength(2);
    const load = loop.values.find((value) => value.op === "load")!;
    expect(load.args[0]!.op).toBe("add");
    expect(BigInt.asIntN(64, load.args[0]!.args[1]!.imm)).toBe(-1n);
    expect(mergeInductions(func)).toBe(false);
  });

  test("a variable that does not start at the distance stays", () => {
    const { func, loop } = countingLoop();
    loop.values[1]!.args[0] = loop.values[0]!.args[0]!;
    expect(mergeInductions(func)).toBe(false);
  });

  test("an increment goes past the last use of what it increments", () => {
    const { func, entry, args } = makeFunc([64]);
    const [p] = args as [Value];
    const next = append(func, entry, "add", 64, [p, constant(func, 64, 1)]);
    const byte = append(func, entry, "load", 64, [p], { bits: 8 });
    append(func, entry, "store", 0, [next, byte], { bits: 8 });
    entry.end = end("return", [next], []);
    sinkIncrements(func);
    expect(opsOf(entry)).toEqual(["load", "add", "store"]);
  });
});

test("a value goes into the branch that needs it, but not into a loop", () => {
  const { func, entry, args } = makeFunc([64, 64]);
  const [x, y] = args as [Value, Value];
  const [loop, exit] = [newBlock(func), newBlock(func)];
  const product = append(func, entry, "mul", 64, [x, y]);
  const sum = append(func, entry, "add", 64, [x, y]);
  entry.end = end("branch", [append(func, entry, "lt_u", 32, [x, y])], [loop, exit]);
  loop.preds = [entry, loop];
  append(func, loop, "store", 0, [sum, product], { bits: 64 });
  loop.end = end("branch", [append(func, loop, "load", 32, [x], { bits: 32 })], [loop, exit]);
  exit.preds = [entry, loop];
  const last = append(func, exit, "xor", 64, [x, y]);
  exit.end = end("return", [append(func, exit, "or", 64, [last, last])], []);
  const early = append(func, entry, "and", 64, [x, y]);
  exit.end.args = [early];
  sinkValues(func);
  expect(opsOf(entry)).toEqual(["mul", "add", "lt_u"]);
  expect(opsOf(exit)[0]).toBe("and");
});

test("the same function gives the same text, every time", () => {
  const text = (): string => {
    const { func } = countingLoop();
    optimise(func);
    return print(func);
  };
  expect(text()).toBe(text());
});
