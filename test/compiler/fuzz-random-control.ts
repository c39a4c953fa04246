/** Random control flow other than loops: conditions, blocks with values, branches, switches. */
import {
  AND,
  BLOCK,
  BR,
  BR_IF,
  BR_TABLE,
  ELSE,
  EMPTY_BLOCK,
  END,
  IF,
  RETURN,
  UNREACHABLE,
  type ValueType,
} from "./fuzz-opcodes.ts";
import type { Writer } from "./fuzz-random-writer.ts";
import { type Bytes, I32, unsigned } from "./wasm-binary.ts";

export function ifValue(w: Writer, type: ValueType): Bytes {
  const condition = w.condition();
  const arm = (): Bytes => w.inside([type], () => [w.statements(1), w.value(type)]);
  return [condition, IF, type, arm(), ELSE, arm(), END];
}

/** One of the labels, seldom the outermost: a function that mostly returns at once shows little. */
const pickTarget = (w: Writer, targets: readonly number[]): number =>
  targets.length > 1 && w.random.chance(80) ? w.random.pick(targets.slice(1)) : w.random.pick(targets);

export function branchIfValue(w: Writer, type: ValueType): Bytes {
  const targets = w.targets([type]);
  if (targets.length === 0) return w.leaf(type);
  return [w.value(type), w.condition(), BR_IF, unsigned(pickTarget(w, targets))];
}

export function ifStatement(w: Writer): Bytes {
  const condition = w.condition();
  const arm = (): Bytes => w.inside([], () => w.statements());
  return [condition, IF, EMPTY_BLOCK, arm(), w.random.chance(50) ? [ELSE, arm()] : [], END];
}

/** A block or if with parameters and several results. */
export function multiple(w: Writer): Bytes {
  const params = w.types(3);
  const results = w.types(3);
  const type = w.blockType(params, results);
  const arm = (): Bytes => w.inside(results, () => [w.take(params), w.statements(2), w.values(results)]);
  const given = w.values(params);
  const whole = w.random.chance(60) ? [BLOCK, type, arm(), END] : [w.condition(), IF, type, arm(), ELSE, arm(), END];
  return [given, whole, w.take(results)];
}

export function branchIf(w: Writer): Bytes {
  const depth = pickTarget(w, w.targets());
  const types = w.typesAt(depth);
  return [w.values(types), w.condition(), BR_IF, unsigned(depth), w.take(types)];
}

/** Leaves by a branch, a return or a trap: mostly under a condition, so that not everything after it is dead. */
export function exit(w: Writer): Bytes {
  if (w.random.chance(8)) return leave(w);
  return [w.condition(), IF, EMPTY_BLOCK, w.inside([], () => leave(w)), END];
}

function leave(w: Writer): Bytes {
  return w.random.weighted<() => Bytes>([
    [5, () => branch(w)],
    [6, () => branchTable(w)],
    [3, () => [w.values(w.resultTypes), RETURN]],
    [1, () => [UNREACHABLE]],
  ])();
}

function branch(w: Writer): Bytes {
  const depth = w.random.pick(w.targets());
  return [w.values(w.typesAt(depth)), BR, unsigned(depth)];
}

function branchTable(w: Writer): Bytes {
  const { random } = w;
  const last = random.pick(w.targets());
  const types = w.typesAt(last);
  const alike = w.targets(types);
  const depths = Array.from({ length: random.below(7) }, () => random.pick(alike));
  const values = w.values(types);
  const index = random.chance(70) ? w.withConstant(I32, w.value(I32), AND, 7n) : w.value(I32);
  return [values, index, BR_TABLE, unsigned(depths.length), depths.map(unsigned), unsigned(last)];
}

/** A block for each case, inside each other, as compilers write it. */
export function switchStatement(w: Writer): Bytes {
  const { random } = w;
  const cases = 2 + random.below(8);
  const index = w.newLocal(I32);
  const start = [w.withConstant(I32, w.value(I32), AND, random.chance(60) ? 7n : 15n), w.set(index)];
  const depths = Array.from({ length: cases }, (_, i) => (random.chance(80) ? i : random.below(cases)));
  const dispatch = [w.get(index), BR_TABLE, unsigned(cases), depths.map(unsigned), unsigned(cases)];
  const nested = (left: number): Bytes => {
    if (left === 0) return [BLOCK, EMPTY_BLOCK, dispatch, END];
    const inner = w.inside([], () => {
      const before = nested(left - 1);
      return [before, w.assign(), random.chance(60) ? [BR, unsigned(cases - left)] : []];
    });
    return [BLOCK, EMPTY_BLOCK, inner, END];
  };
  return [start, nested(cases)];
}
