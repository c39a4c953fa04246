/** Random addresses: an expression of the width that the module's memory has, and a constant offset. */
import { ADD, AND, BINARY, EXTEND_U, VALUE_TYPES, type ValueType, WRAP } from "./fuzz-opcodes.ts";
import { MEMORY_SIZE, type ModuleState } from "./fuzz-random-module.ts";
import { type Bytes, constant, I32, I64 } from "./wasm-binary.ts";

export interface Address {
  readonly code: Bytes;
  readonly offset: number;
}

/** The variable part of an address, and its constant part: in bounds with 8 KiB to spare. */
const INDEX_MASK = 0x7fff;
const MAX_OFFSET = 0x6000;
/** Most accesses go to few bytes, so that they meet each other. */
const HOT_MASK = 0x1f;
const HOT = 70;

/**
 * @param value writes a random value of a type
 * @param options align: what address and offset are multiples of; isFar: the address is out of bounds
 */
export function randomAddress(
  state: ModuleState,
  value: (type: ValueType) => Bytes,
  { align, isFar }: { readonly align: number; readonly isFar: boolean },
): Address {
  const { random, is64, memoryBase, isRelocatable } = state;
  const own = is64 ? I64 : I32;
  const small = random.below(random.chance(HOT) ? HOT_MASK : MAX_OFFSET) & -align;
  const mask = (random.chance(HOT) ? HOT_MASK : INDEX_MASK) & -align;
  if (isFar) {
    // Only above: V8 has memory below the base, where a process has none. What follows relocatable memory may be mapped.
    const address = BigInt(
      random.pick([isRelocatable ? 0x80000000 : memoryBase + MEMORY_SIZE, 0x80000000, 0xfffffff8]),
    );
    return { code: constant(own, is64 ? address : BigInt.asIntN(32, address)), offset: small & 0xff };
  }
  // A relocatable address is never narrowed.
  const type = isRelocatable ? own : random.pick(VALUE_TYPES);
  const index: Bytes = [value(type), constant(type, BigInt(mask)), BINARY[type] + AND];
  const convert = (code: Bytes): Bytes => (type === own ? code : [code, is64 ? EXTEND_U : WRAP]);
  return random.weighted<() => Address>([
    // memory[i] with a static base, as the offset of the instruction or added before
    [3, () => ({ code: convert(index), offset: memoryBase + small })],
    [3, () => ({ code: convert([index, constant(type, BigInt(memoryBase)), BINARY[type] + ADD]), offset: small })],
    [3, () => ({ code: [convert(index), constant(own, BigInt(memoryBase + small)), BINARY[own] + ADD], offset: 0 })],
    [2, () => ({ code: constant(own, BigInt(memoryBase + small)), offset: random.below(mask + 1) & -align })],
    [1, () => ({ code: constant(own, 0n), offset: memoryBase + small })],
  ])();
}
