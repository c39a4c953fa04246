/** Random accesses to memory: loads, stores, atomic operations, memory.copy and memory.fill. */
import {
  type Access,
  ADD,
  AND,
  ATOMIC,
  ATOMIC_COMPARE_EXCHANGE,
  ATOMIC_FORMS,
  ATOMIC_LOAD,
  ATOMIC_STORE,
  ATOMIC_UPDATE,
  ATOMIC_UPDATES,
  BINARY,
  EXTEND_U,
  LOADS,
  LOCAL_SET,
  MEMORY_COPY,
  MEMORY_FILL,
  STORES,
  type ValueType,
  WRAP,
} from "./fuzz-opcodes.ts";
import { type Address, randomAddress } from "./fuzz-random-address.ts";
import type { Writer } from "./fuzz-random-writer.ts";
import { type Bytes, constant, I32, I64, unsigned } from "./wasm-binary.ts";

const FORMS = 7;
/** One in so many accesses is out of bounds. */
const FAR = 400;
/** What atomic accesses are aligned to: WebAssembly traps where they are not. */
const ATOMIC_ALIGNMENT = 8;

function address(w: Writer, align: number, mayBeFar: boolean): Address {
  if (align === 1 && w.random.chance(50)) {
    const pointer = w.get(w.pointer);
    return { code: w.state.is64 ? pointer : [pointer, WRAP], offset: w.random.below(w.random.chance(85) ? 16 : 4096) };
  }
  const isFar = mayBeFar && w.random.below(FAR) === 1;
  return randomAddress(w.state, (type) => w.value(type), { align, isFar });
}

function access(w: Writer, op: Bytes, bytes: number, align: number, operands: () => Bytes): Bytes {
  const { code, offset } = address(w, align, true);
  return [code, operands(), op, Math.log2(bytes), unsigned(offset)];
}

/** Gives the pointer of the function a new value. `value` writes what it is computed from. */
export function setPointer(w: Writer, value: (type: ValueType) => Bytes): Bytes {
  const { code, offset } = randomAddress(w.state, value, { align: 1, isFar: false });
  const wide = w.state.is64 ? code : [code, EXTEND_U];
  return [w.withConstant(I64, wide, ADD, BigInt(offset)), LOCAL_SET, unsigned(w.pointer)];
}

/** The whole value in half of the cases. */
const pickAccess = (w: Writer, accesses: readonly Access[]): Access =>
  w.random.chance(50) ? accesses[0]! : w.random.pick(accesses);

export function load(w: Writer, type: ValueType): Bytes {
  const [op, bytes] = pickAccess(w, LOADS[type]);
  return access(w, [op], bytes, 1, () => []);
}

export function store(w: Writer): Bytes {
  const type = w.anyType();
  const [op, bytes] = pickAccess(w, STORES[type]);
  return access(w, [op], bytes, 1, () => w.value(type));
}

export function atomic(w: Writer, type: ValueType): Bytes {
  const [form, bytes] = w.random.pick(ATOMIC_FORMS[type]);
  const value = (): Bytes => w.value(type);
  const of = (op: number, operands: () => Bytes): Bytes =>
    access(w, [ATOMIC, op + form], bytes, ATOMIC_ALIGNMENT, operands);
  return w.random.weighted<() => Bytes>([
    [1, () => of(ATOMIC_LOAD, () => [])],
    [2, () => of(ATOMIC_UPDATE + FORMS * w.random.below(ATOMIC_UPDATES), value)],
    [1, () => of(ATOMIC_COMPARE_EXCHANGE, () => [value(), value()])],
  ])();
}

export function atomicStore(w: Writer): Bytes {
  const type = w.anyType();
  const [form, bytes] = w.random.pick(ATOMIC_FORMS[type]);
  return access(w, [ATOMIC, ATOMIC_STORE + form], bytes, ATOMIC_ALIGNMENT, () => w.value(type));
}

/** memory.copy or memory.fill, in bounds. */
export function bulk(w: Writer): Bytes {
  const own = w.state.is64 ? I64 : I32;
  const place = (): Bytes => {
    const { code, offset } = address(w, 1, false);
    return w.withConstant(own, code, ADD, BigInt(offset));
  };
  const most = w.random.chance(90) ? 31 : 1023;
  w.spend(most >> 2);
  const length = (): Bytes =>
    w.random.chance(50)
      ? constant(own, BigInt(w.random.below(most + 1)))
      : [w.value(I32), constant(I32, BigInt(most)), BINARY[I32] + AND, w.state.is64 ? EXTEND_U : []];
  return w.random.chance(60)
    ? [place(), place(), length(), MEMORY_COPY]
    : [place(), w.value(I32), length(), MEMORY_FILL];
}
