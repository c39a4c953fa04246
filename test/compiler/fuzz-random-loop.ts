/** Random loops, each with a counter that its body cannot set: four shapes that compilers write. */
import {
  ADD,
  BLOCK,
  BR,
  BR_IF,
  COMPARE,
  EMPTY_BLOCK,
  END,
  EQZ,
  LOCAL_TEE,
  LOOP,
  LT_U,
  NE,
  SUB,
} from "./fuzz-opcodes.ts";
import type { Writer } from "./fuzz-random-writer.ts";
import { type Bytes, constant, I32, I64, unsigned } from "./wasm-binary.ts";

const MOST_TRIPS = 8;

/** A loop, or undefined where it would cost too much. */
export function loop(w: Writer): Bytes | undefined {
  const trips = 1 + w.random.below(MOST_TRIPS);
  return w.repeated(trips, () => w.random.pick([doWhile, forUp, whileDown, withParameters])(w, trips));
}

/** The type of a counter and code around it. */
function counterOf(w: Writer) {
  const type = w.random.pick([I32, I32, I64] as const);
  const local = w.newLocal(type);
  const step = (op: number): Bytes => w.withConstant(type, w.get(local), op, 1n);
  return {
    type,
    get: w.get(local),
    start: (value: number): Bytes => [constant(type, BigInt(value)), w.set(local)],
    up: [step(ADD), w.set(local)],
    down: [step(SUB), w.set(local)],
    /** --counter != 0 */
    downIsNotZero: [
      [step(SUB), LOCAL_TEE, unsigned(local)],
      type === I32 ? [] : [constant(I64, 0n), COMPARE[I64] + NE],
    ],
  };
}

const statements = (w: Writer): Bytes => [w.statement(), w.statements()];

/** do { … } while (--counter) */
function doWhile(w: Writer, trips: number): Bytes {
  const counter = counterOf(w);
  const inner = w.inside(undefined, () => statements(w));
  return [counter.start(trips), LOOP, EMPTY_BLOCK, inner, counter.downIsNotZero, BR_IF, 0, END];
}

/** for (counter = 0; counter < trips; counter++) …, tested at the top */
function forUp(w: Writer, trips: number): Bytes {
  const counter = counterOf(w);
  const isDone = [counter.get, constant(counter.type, BigInt(trips)), COMPARE[counter.type] + LT_U, EQZ[I32]];
  const inner = w.inside([], () => w.inside(undefined, () => statements(w)));
  return [
    [counter.start(0), BLOCK, EMPTY_BLOCK, LOOP, EMPTY_BLOCK, isDone, BR_IF, 1],
    [inner, counter.up, BR, 0, END, END],
  ];
}

/** while (counter--) …, where branches to the loop's start are allowed */
function whileDown(w: Writer, trips: number): Bytes {
  const counter = counterOf(w);
  const inner = w.inside([], () =>
    w.inside([], () => [statements(w), w.random.chance(70) ? [BR, 0] : [w.condition(), BR_IF, 0]]),
  );
  return [
    [counter.start(trips), BLOCK, EMPTY_BLOCK, LOOP, EMPTY_BLOCK],
    [counter.get, EQZ[counter.type], BR_IF, 1, counter.down, inner, END, END],
  ];
}

function withParameters(w: Writer, trips: number): Bytes {
  const counter = counterOf(w);
  const params = w.types(3);
  const results = w.types(2);
  const given = w.values(params);
  const inner = w.inside(undefined, () => [
    [w.take(params), w.statements(2), w.values(params), counter.downIsNotZero, BR_IF, 0],
    [w.take(params), w.values(results)],
  ]);
  return [counter.start(trips), given, LOOP, w.blockType(params, results), inner, END, w.take(results)];
}
