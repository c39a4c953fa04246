/** Random addresses: an expression of the width that the module's memory has, and a constant offset. */
import { MEMORY_BASE, MEMORY_SIZE, type ModuleState, type ValueType } from "./fuzz-random-module.ts";
import { type Bytes, constant, I32, I64 } from "./wasm-binary.ts";

export interface Address {
  readonly code: Bytes;
  readonly offset: number;
}

/** The variable part of an address, and its constant part: in bounds with 8 KiB to spare. */
const INDEX_MASK = 0x7fff;
const MAX_OFFSET = 0x6000;
const AND = { [I32]: 0x71, [I64]: 0x83 } as const;
const ADD = { [I32]: 0x6a, [I64]: 0x7c } as const;

/**
 * @param value writes a random value of a type
 * @param options align: what address and offset are multiples of; far: percentage of addresses that are out of bounds
 */
export function randomAddress(
  state: ModuleState,
  value: (type: ValueType) => Bytes,
  { align, far }: { align: number; far: number },
): Address {
  const { random, is64 } = state;
  const own = is64 ? I64 : I32;
  const small = random.below(MAX_OFFSET) & -align;
  if (random.chance(far)) {
    // Only above: V8 has memory below the base, where a process has none.
    const address = BigInt(random.pick([MEMORY_BASE + MEMORY_SIZE, 0x80000000, 0xfffffff8]));
    return { code: constant(own, is64 ? address : BigInt.asIntN(32, address)), offset: small & 0xff };
  }
  const type = random.pick([I32, I64] as const);
  const masked: Bytes = [value(type), constant(type, BigInt(INDEX_MASK & -align)), AND[type]];
  const convert = (code: Bytes): Bytes => (type === own ? code : [code, is64 ? 0xad : 0xa7]);
  return random.weighted<() => Address>([
    // memory[i] with a static base, as the offset of the instruction or added before
    [3, () => ({ code: convert(masked), offset: MEMORY_BASE + small })],
    [3, () => ({ code: convert([masked, constant(type, BigInt(MEMORY_BASE)), ADD[type]]), offset: small })],
    [3, () => ({ code: [convert(masked), constant(own, BigInt(MEMORY_BASE + small)), ADD[own]], offset: 0 })],
    [2, () => ({ code: constant(own, BigInt(MEMORY_BASE + small)), offset: random.below(INDEX_MASK) & -align })],
    [1, () => ({ code: constant(own, 0n), offset: MEMORY_BASE + small })],
  ])();
}
