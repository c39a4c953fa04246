/** Random calls: of other functions, through the table, of imported operations and foreign functions. */
import { FOREIGN_MOST, FOREIGN_STACK, GS_SIZE, importIndex } from "./fuzz-environment.ts";
import { AND, CALL, CALL_INDIRECT, COMPARE, EXTEND_U, LT_U, OR, type ValueType, WRAP } from "./fuzz-opcodes.ts";
import type { Writer } from "./fuzz-random-writer.ts";
import { type Bytes, constant, I32, I64, unsigned } from "./wasm-binary.ts";

/** A call with this result; a constant or nothing where there is no function for it. */
export function call(w: Writer, result: ValueType | undefined): Bytes {
  const fitting = w.state.functions.filter((f) => f.signature.result === result && w.canAfford(f.cost));
  if (fitting.length === 0) return result === undefined ? [] : w.const(result);
  const callee = w.random.pick(fitting);
  w.spend(callee.cost);
  return [w.values(callee.signature.params), CALL, unsigned(callee.index)];
}

export function callIndirect(w: Writer, result: ValueType | undefined): Bytes {
  const { state, random } = w;
  const callees = state.table.map((index) => (index === undefined ? undefined : state.function(index)));
  const places = callees.flatMap((callee, place) =>
    callee !== undefined && callee.signature.result === result ? [{ place, signature: callee.signature }] : [],
  );
  const worst = Math.max(0, ...callees.map((callee) => callee?.cost ?? 0));
  if (places.length === 0 || !w.canAfford(worst)) return call(w, result);
  const { place, signature } = random.pick(places);
  w.spend(worst);
  const args = w.values(signature.params);
  const index = random.weighted<() => Bytes>([
    [12, () => constant(I32, BigInt(place))],
    // The right place, but the compiler cannot know.
    [4, () => w.withConstant(I32, w.withConstant(I32, w.value(I32), AND, 0n), OR, BigInt(place))],
    [1, () => w.withConstant(I32, w.value(I32), AND, 7n)],
    [1, () => w.const(I32)],
  ])();
  return [args, index, CALL_INDIRECT, unsigned(state.signatureType(signature)), 0];
}

const importCall = (name: string, ...args: readonly Bytes[]): Bytes => [args, CALL, unsigned(importIndex(name))];

const gsOffset = (w: Writer): Bytes => constant(I32, BigInt(8 * w.random.below(GS_SIZE / 8)));

/** A number that no system call has: the answer is -ENOSYS. */
const noSystemCall = (w: Writer): Bytes => {
  const large = 100_000n;
  return w.random.chance(50)
    ? constant(I64, large)
    : w.withConstant(I64, w.withConstant(I64, w.value(I64), AND, 0xffn), OR, large);
};

/** An i64 from an operation of the machine or a foreign function. */
function machineLong(w: Writer): Bytes {
  const { random } = w;
  return random.weighted<() => Bytes>([
    [
      4,
      () => {
        const count = random.below(FOREIGN_MOST + 1);
        w.spend(FOREIGN_STACK);
        const address = importCall(`foreign${count}`);
        return importCall(`call${count}`, address, ...Array.from({ length: count }, () => w.value(I64)));
      },
    ],
    [2, () => importCall("gs_load64", gsOffset(w))],
    [2, () => importCall("gs_xadd64", gsOffset(w), w.value(I64))],
    [2, () => importCall("gs_xchg64", gsOffset(w), w.value(I64))],
    [1, () => importCall("syscall6", noSystemCall(w), ...Array.from({ length: 6 }, () => w.value(I64)))],
    // The counter has long passed 2: what it says more exactly differs from run to run.
    [1, () => [importCall("rdtsc"), constant(I64, 2n), COMPARE[I64] + LT_U, EXTEND_U]],
  ])();
}

/** The result of an operation that only machines have; a leaf where the program imports none. */
export function machineValue(w: Writer, type: ValueType): Bytes {
  if (!w.state.hasImports) return w.leaf(type);
  return type === I64 ? machineLong(w) : [machineLong(w), WRAP];
}

export function machineStatement(w: Writer): Bytes {
  if (!w.state.hasImports) return [];
  return w.random.weighted<() => Bytes>([
    [4, () => importCall("gs_store64", gsOffset(w), w.value(I64))],
    [1, () => importCall("pause")],
    [1, () => importCall("fence")],
  ])();
}
