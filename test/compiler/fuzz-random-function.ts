/** One random function: its values and statements, chosen by weight. */
import {
  ADD,
  AND,
  ATOMIC_FENCE,
  BINARY,
  BINARY_COUNT,
  COMPARE,
  COMPARE_COUNT,
  DIV_S,
  DROP,
  EQZ,
  EXTEND_S,
  EXTEND_U,
  GLOBAL_GET,
  GLOBAL_SET,
  LOCAL_TEE,
  NOP,
  OR,
  REM_S,
  REM_U,
  ROTL,
  ROTR,
  SELECT,
  SELECT_TYPED,
  SHL,
  SHR_S,
  SHR_U,
  STORES,
  SUB,
  UNARY,
  type ValueType,
  WRAP,
  XOR,
} from "./fuzz-opcodes.ts";
import { call, callIndirect, machineStatement, machineValue } from "./fuzz-random-call.ts";
import {
  branchIf,
  branchIfValue,
  exit,
  ifStatement,
  ifValue,
  multiple,
  switchStatement,
} from "./fuzz-random-control.ts";
import { loop } from "./fuzz-random-loop.ts";
import { atomic, atomicStore, bulk, load, setPointer, store } from "./fuzz-random-memory.ts";
import { type ModuleState, type RandomFunction, randomValue, type Signature } from "./fuzz-random-module.ts";
import { Writer } from "./fuzz-random-writer.ts";
import { type Bytes, body, constant, I32, I64, unsigned } from "./wasm-binary.ts";

const MAX_DEPTH = 7;

class FunctionWriter extends Writer {
  readonly #parameters: number;
  #depth = 0;

  constructor(state: ModuleState, params: readonly ValueType[]) {
    super(state, params);
    this.#parameters = params.length;
  }

  write(fuel: number, results: readonly ValueType[]): Bytes {
    this.fuel = fuel;
    return this.inside(results, () => {
      const code: Bytes[] = [setPointer(this, (type) => this.leaf(type)), this.#startLocals()];
      while (this.fuel > 0) code.push(this.statement());
      if (this.random.chance(60)) code.push(this.#witness());
      return [code, this.values(results)];
    });
  }

  /** Gives most locals a value that a compiler cannot know. */
  #startLocals(): Bytes {
    return this.assignable.slice(this.#parameters).map((local) => {
      const type = this.locals[local]!;
      return this.random.chance(80) ? [load(this, type), this.set(local)] : [];
    });
  }

  /** Writes a number that depends on all locals to memory. */
  #witness(): Bytes {
    const sum = this.assignable.reduce<Bytes>(
      (before, local) => [
        this.withConstant(I64, before, ROTL, 7n),
        this.get(local),
        this.locals[local] === I32 ? EXTEND_U : [],
        BINARY[I64] + XOR,
      ],
      constant(I64, 0n),
    );
    const pointer = this.get(this.pointer);
    return [this.state.is64 ? pointer : [pointer, WRAP], sum, STORES[I64][0]![0], 3, unsigned(32)];
  }

  /** What `write` gives, or something that ends here: a leaf at the greatest depth, or what is simplest. */
  #deeper(simplest: () => Bytes, leaf: () => Bytes, write: () => Bytes): Bytes {
    this.spend();
    return this.random.optional(simplest, () => {
      if (this.fuel <= 0 || this.#depth >= MAX_DEPTH) return leaf();
      this.#depth++;
      const code = write();
      this.#depth--;
      return code;
    });
  }

  // ── Values ───────────────────────────────────────────────────────────────────────────────────────────────────────

  override value(type: ValueType): Bytes {
    const kinds: [number, () => Bytes][] = [
      [16, () => this.leaf(type)],
      [24, () => this.#binary(type)],
      [8, () => [this.value(type), this.random.pick(UNARY[type])]],
      [8, () => (type === I32 ? this.#compare() : this.#extend())],
      [14, () => load(this, type)],
      [5, () => this.#select(type)],
      [4, () => ifValue(this, type)],
      [3, () => this.block([type], () => [this.statements(), this.value(type)])],
      [1, () => branchIfValue(this, type)],
      [4, () => call(this, type)],
      [3, () => callIndirect(this, type)],
      [4, () => this.#globalGet(type)],
      [3, () => this.#tee(type)],
      [3, () => atomic(this, type)],
      [3, () => this.#narrow(type)],
      [3, () => this.#constants(type)],
      [4, () => machineValue(this, type)],
    ];
    const simplest = (): Bytes => constant(type, 0n);
    return this.#deeper(
      simplest,
      () => this.leaf(type),
      () => this.random.weighted(kinds)(),
    );
  }

  #binary(type: ValueType): Bytes {
    const { random } = this;
    const op = random.below(BINARY_COUNT);
    const left = this.value(type);
    const right = (): Bytes => (random.chance(40) ? this.const(type) : this.value(type));
    if (op === REM_S && random.chance(20)) return this.#edgeOfRemainder(type);
    if (op >= DIV_S && op <= REM_U && random.chance(92)) return [left, this.#divisor(type, op), BINARY[type] + op];
    if (op >= SHL && op <= ROTR && random.chance(50))
      return this.withConstant(type, left, op, BigInt(random.below(70)));
    return [left, right(), BINARY[type] + op];
  }

  /** Operations on constants: a compiler does them itself. */
  #constants(type: ValueType): Bytes {
    const { random } = this;
    const count = (): bigint => BigInt(random.below(70));
    const op = random.below(BINARY_COUNT);
    const isDivision = op >= DIV_S && op <= REM_U;
    const right = isDivision ? this.#divisor(type, op, true) : op >= SHL ? constant(type, count()) : this.const(type);
    return random.weighted<() => Bytes>([
      [4, () => [this.const(type), right, BINARY[type] + op]],
      [1, () => [this.const(type), random.pick(UNARY[type])]],
      [
        1,
        () => [this.const(type), this.const(type), COMPARE[type] + random.below(COMPARE_COUNT), this.#fromFlag(type)],
      ],
    ])();
  }

  #fromFlag(type: ValueType): Bytes {
    return type === I32 ? [] : [EXTEND_U];
  }

  /** Neither zero nor, for a signed operation, -1. */
  #divisor(type: ValueType, op: number, isConstant = this.random.chance(40)): Bytes {
    if (isConstant) {
      const value = randomValue(this.random, type);
      return constant(type, value === 0n || value === -1n ? 10n : value);
    }
    const value = this.value(type);
    const positive = op === DIV_S || op === REM_S ? this.withConstant(type, value, AND, 0xffn) : value;
    return this.withConstant(type, positive, OR, 1n);
  }

  /** The least value or 0, by -1 or 1: the quotient may overflow, the remainder may not. */
  #edgeOfRemainder(type: ValueType): Bytes {
    const least = -1n << (type === I32 ? 31n : 63n);
    const dividend = this.withConstant(type, this.value(type), OR, least);
    const divisor = this.withConstant(type, this.withConstant(type, this.value(type), AND, 2n), SUB, 1n);
    return [this.withConstant(type, dividend, AND, least), divisor, BINARY[type] + REM_S];
  }

  override condition(): Bytes {
    return this.random.chance(75) ? this.#compare() : this.value(I32);
  }

  #compare(): Bytes {
    const type = this.anyType();
    const left = this.value(type);
    if (this.random.chance(20)) return [left, EQZ[type]];
    const right = this.random.chance(50) ? this.const(type) : this.value(type);
    return [left, right, COMPARE[type] + this.random.below(COMPARE_COUNT)];
  }

  #extend(): Bytes {
    const { random } = this;
    // Of a value as it lies in its register or slot, where the upper half shows.
    return [random.chance(50) ? this.leaf(I32) : this.value(I32), random.pick([EXTEND_S, EXTEND_U, EXTEND_U])];
  }

  /** Masks and shifts, as compilers write them for small integers and fields. */
  #narrow(type: ValueType): Bytes {
    const { random } = this;
    const value = type === I32 && random.chance(40) ? [this.value(I64), WRAP] : this.value(type);
    const bits = BigInt(random.pick([1, 4, 8, 16, 24, 31]));
    const shift = (type === I32 ? 32n : 64n) - bits;
    return random.pick<() => Bytes>([
      () => this.withConstant(type, value, AND, (1n << bits) - 1n),
      () => {
        const left = this.withConstant(type, value, SHL, shift);
        return this.withConstant(type, left, random.pick([SHR_S, SHR_U]), shift);
      },
      () => this.withConstant(type, this.withConstant(type, value, SHR_U, bits), AND, 0xffn),
    ])();
  }

  #select(type: ValueType): Bytes {
    const op = this.random.chance(70) ? [SELECT] : [SELECT_TYPED, 1, type];
    return [this.value(type), this.value(type), this.condition(), op];
  }

  #globalGet(type: ValueType): Bytes {
    const globals = this.state.globals.flatMap((global, i) => (global.type === type ? [i] : []));
    return globals.length === 0 ? this.leaf(type) : [GLOBAL_GET, unsigned(this.random.pick(globals))];
  }

  #tee(type: ValueType): Bytes {
    const locals = this.assignable.filter((i) => this.locals[i] === type);
    return locals.length === 0 ? this.leaf(type) : [this.value(type), LOCAL_TEE, unsigned(this.random.pick(locals))];
  }

  // ── Statements ───────────────────────────────────────────────────────────────────────────────────────────────────

  override statement(): Bytes {
    const kinds: [number, () => Bytes][] = [
      [30, () => this.assign()],
      [20, () => store(this)],
      [8, () => this.#globalSet()],
      [10, () => ifStatement(this)],
      [4, () => this.block([], () => this.statements(4))],
      [8, () => loop(this) ?? ifStatement(this)],
      [6, () => multiple(this)],
      [4, () => branchIf(this)],
      [4, () => exit(this)],
      [5, () => this.#permute()],
      [5, () => switchStatement(this)],
      [6, () => this.#callStatement()],
      [4, () => bulk(this)],
      [3, () => atomicStore(this)],
      [3, () => machineStatement(this)],
      [3, () => [this.value(this.anyType()), DROP]],
      [1, () => setPointer(this, (type) => this.value(type))],
      [1, () => [...ATOMIC_FENCE]],
      [1, () => [NOP]],
    ];
    const nothing = (): Bytes => [];
    return this.#deeper(nothing, nothing, () => this.random.weighted(kinds)());
  }

  override assign(): Bytes {
    if (this.assignable.length === 0) return store(this);
    const local = this.random.pick(this.assignable);
    const type = this.locals[local]!;
    const step = (): Bytes => [this.get(local), this.const(type), BINARY[type] + ADD];
    return [this.random.chance(20) ? step() : this.value(type), this.set(local)];
  }

  #globalSet(): Bytes {
    const globals = this.state.globals.flatMap((global, i) => (global.mutable ? [{ ...global, i }] : []));
    if (globals.length === 0) return this.assign();
    const { type, i } = this.random.pick(globals);
    return [this.value(type), GLOBAL_SET, unsigned(i)];
  }

  /** Exchanges locals. */
  #permute(): Bytes {
    const type = this.anyType();
    const alike = this.assignable.filter((i) => this.locals[i] === type).slice(0, 4);
    const [first, ...rest] = alike;
    if (first === undefined) return this.assign();
    return [alike.map((local) => this.get(local)), [...rest, first].toReversed().map((local) => this.set(local))];
  }

  #callStatement(): Bytes {
    const result = this.random.pick([undefined, I32, I64] as const);
    const code = this.random.chance(60) ? call(this, result) : callIndirect(this, result);
    return [code, result === undefined ? [] : this.take([result])];
  }
}

/** @param fuel about how many instructions to write */
export function randomFunction(
  state: ModuleState,
  { params, result }: Signature,
  fuel: number,
): Pick<RandomFunction, "code" | "cost"> {
  const writer = new FunctionWriter(state, params);
  const results = result === undefined ? [] : [result];
  const code = state.random.optional<Bytes>(
    () => results.map((type) => constant(type, 0n)),
    () => writer.write(fuel, results),
  );
  return { code: body(writer.locals.slice(params.length), code), cost: writer.cost };
}
