/** One random function. Control flow is structured so that it ends: each loop has a counter that its body cannot set. */
import { type Address, randomAddress } from "./fuzz-random-address.ts";
import {
  type ModuleState,
  type RandomFunction,
  randomValue,
  type Signature,
  type ValueType,
} from "./fuzz-random-module.ts";
import type { Random } from "./random.ts";
import { type Bytes, body, constant, I32, I64, unsigned } from "./wasm-binary.ts";

interface Label {
  /** What a branch to it carries; undefined: no branch may go there. */
  readonly types: readonly ValueType[] | undefined;
}

/** Opcodes by type of the operands. */
const BINARY = { [I32]: 0x6a, [I64]: 0x7c } as const;
const COMPARE = { [I32]: 0x46, [I64]: 0x51 } as const;
const EQZ = { [I32]: 0x45, [I64]: 0x50 } as const;
const COUNT = { [I32]: 0x67, [I64]: 0x79 } as const;
const EXTEND = { [I32]: [0xc0, 0xc1], [I64]: [0xc2, 0xc3, 0xc4] } as const;
/** Numbers of operations from `BINARY` on. */
const ADD = 0;
const SUB = 1;
const DIVIDE = 3;
const AND = 7;
const OR = 8;
const SHIFT = 10;
const OPERATIONS = 15;
const ROTATE_RIGHT = 14;
const EMPTY_BLOCK = 0x40;

/** Loads and stores: opcode, bytes. */
const LOADS: Record<ValueType, readonly (readonly [number, number])[]> = {
  [I32]: [
    [0x28, 4],
    [0x2c, 1],
    [0x2d, 1],
    [0x2e, 2],
    [0x2f, 2],
  ],
  [I64]: [
    [0x29, 8],
    [0x30, 1],
    [0x31, 1],
    [0x32, 2],
    [0x33, 2],
    [0x34, 4],
    [0x35, 4],
  ],
};
const STORES: Record<ValueType, readonly (readonly [number, number])[]> = {
  [I32]: [
    [0x36, 4],
    [0x3a, 1],
    [0x3b, 2],
  ],
  [I64]: [
    [0x37, 8],
    [0x3c, 1],
    [0x3d, 2],
    [0x3e, 4],
  ],
};
/** The forms of atomic instructions in the order of their opcodes, by bytes; the first of each list is the whole value. */
const ATOMIC_FORMS: Record<ValueType, readonly (readonly [form: number, bytes: number])[]> = {
  [I32]: [
    [0, 4],
    [2, 1],
    [3, 2],
  ],
  [I64]: [
    [1, 8],
    [4, 1],
    [5, 2],
    [6, 4],
  ],
};
const ATOMIC = 0xfe;
const ATOMIC_LOAD = 0x10;
const ATOMIC_STORE = 0x17;
const ATOMIC_UPDATE = 0x1e;
const ATOMIC_COMPARE_EXCHANGE = 0x48;
const UPDATES = 6;

const MAX_DEPTH = 7;
/** Greatest product of the trip counts of nested loops, and greatest cost of a function. */
const MAX_TRIPS = 64;
const MAX_COST = 50_000;

export class FunctionWriter {
  readonly #state: ModuleState;
  readonly #random: Random;
  readonly #signature: Signature;
  readonly #locals: ValueType[];
  /** Locals that statements may assign. */
  readonly #assignable: number[];
  readonly #labels: Label[] = [];
  /** A local that always holds the address of 8 KiB in bounds, as i64. */
  readonly #pointer: number;
  #fuel = 0;
  #depth = 0;
  #trips = 1;
  #cost = 0;

  constructor(state: ModuleState, signature: Signature) {
    this.#state = state;
    this.#random = state.random;
    this.#signature = signature;
    this.#locals = [...signature.params];
    const own = state.random.weighted([
      [6, state.random.below(5)],
      [1, 8 + state.random.below(14)],
    ]);
    for (let i = 0; i < own; i++) this.#locals.push(state.random.pick([I32, I64] as const));
    this.#assignable = this.#locals.map((_, i) => i);
    this.#pointer = this.#newLocal(I64);
  }

  /** `fuel`: about how many instructions to write. */
  write(fuel: number): Pick<RandomFunction, "code" | "cost"> {
    this.#fuel = fuel;
    const { result, params } = this.#signature;
    const results = result === undefined ? [] : [result];
    this.#labels.push({ types: results });
    const start = randomAddress(this.#state, (type) => this.#leaf(type), { align: 1, far: 0 });
    const code: Bytes[] = [this.#setPointer(start)];
    while (this.#fuel > 0) code.push(this.#statement());
    if (result !== undefined) code.push(this.#value(result));
    this.#labels.pop();
    return { code: body(this.#locals.slice(params.length), code), cost: this.#cost };
  }

  #newLocal(type: ValueType): number {
    this.#locals.push(type);
    return this.#locals.length - 1;
  }

  #setPointer({ code, offset }: Address): Bytes {
    const base = this.#state.is64 ? code : [code, 0xad];
    return [base, constant(I64, BigInt(offset)), 0x7c, 0x21, unsigned(this.#pointer)];
  }

  #spend(): void {
    this.#fuel--;
    this.#cost += this.#trips;
  }

  // ── Values ───────────────────────────────────────────────────────────────────────────────────────────────────────

  #const = (type: ValueType): Bytes => constant(type, randomValue(this.#random, type));

  /** A local of this type, or a constant. */
  #leaf(type: ValueType): Bytes {
    const locals = this.#locals.flatMap((local, i) => (local === type && i !== this.#pointer ? [i] : []));
    return locals.length > 0 && this.#random.chance(75) ? this.#get(this.#random.pick(locals)) : this.#const(type);
  }

  #get = (local: number): Bytes => [0x20, unsigned(local)];
  #set = (local: number): Bytes => [0x21, unsigned(local)];

  #value(type: ValueType): Bytes {
    this.#spend();
    if (this.#fuel <= 0 || this.#depth >= MAX_DEPTH) return this.#leaf(type);
    this.#depth++;
    const make = this.#random.weighted<(type: ValueType) => Bytes>([
      [16, (t) => this.#leaf(t)],
      [24, (t) => this.#binary(t)],
      [8, (t) => this.#unary(t)],
      [8, (t) => (t === I32 ? this.#compare() : this.#extend())],
      [8, (t) => this.#load(t)],
      [5, (t) => this.#select(t)],
      [4, (t) => this.#ifValue(t)],
      [3, (t) => this.#blockValue(t)],
      [3, (t) => this.#branchIfValue(t)],
      [4, (t) => this.#call(t)],
      [3, (t) => this.#callIndirect(t)],
      [4, (t) => this.#globalGet(t)],
      [3, (t) => this.#tee(t)],
      [3, (t) => this.#atomic(t)],
      [3, (t) => this.#mask(t)],
    ]);
    const code = make(type);
    this.#depth--;
    return code;
  }

  #binary(type: ValueType): Bytes {
    const random = this.#random;
    const op = random.below(OPERATIONS);
    const left = this.#value(type);
    let right = random.chance(40) ? this.#const(type) : this.#value(type);
    if (op >= DIVIDE && op < AND && random.chance(92)) right = this.#divisor(type, op);
    else if (op >= SHIFT && op <= ROTATE_RIGHT && random.chance(50)) right = constant(type, BigInt(random.below(70)));
    return [left, right, BINARY[type] + op];
  }

  /** Not zero, and for a signed operation not -1, mostly. */
  #divisor(type: ValueType, op: number): Bytes {
    if (this.#random.chance(40)) {
      const value = randomValue(this.#random, type);
      return constant(type, value === 0n || value === -1n ? 10n : value);
    }
    const isSigned = op === DIVIDE || op === DIVIDE + 2;
    const value = this.#value(type);
    const positive = isSigned ? [value, constant(type, 0xffn), BINARY[type] + AND] : value;
    return [positive, constant(type, 1n), BINARY[type] + OR];
  }

  #unary(type: ValueType): Bytes {
    const operand = this.#value(type);
    return [operand, this.#random.chance(50) ? COUNT[type] + this.#random.below(3) : this.#random.pick(EXTEND[type])];
  }

  #condition(): Bytes {
    return this.#random.chance(75) ? this.#compare() : this.#value(I32);
  }

  #compare(): Bytes {
    const type = this.#random.pick([I32, I64] as const);
    const left = this.#value(type);
    if (this.#random.chance(20)) return [left, EQZ[type]];
    const right = this.#random.chance(50) ? this.#const(type) : this.#value(type);
    return [left, right, COMPARE[type] + this.#random.below(10)];
  }

  #extend(): Bytes {
    return [this.#value(I32), this.#random.pick([0xac, 0xad])];
  }

  /** Narrowing by masks and shifts, as compilers write it for small integers. */
  #mask(type: ValueType): Bytes {
    const value = type === I32 && this.#random.chance(40) ? [this.#value(I64), 0xa7] : this.#value(type);
    const bits = BigInt(this.#random.pick([1, 4, 8, 16, 24, 31]));
    const width = type === I32 ? 32n : 64n;
    return this.#random.pick<() => Bytes>([
      () => [value, constant(type, (1n << bits) - 1n), BINARY[type] + AND],
      () => {
        const shift = constant(type, width - bits);
        return [value, shift, BINARY[type] + SHIFT, shift, BINARY[type] + SHIFT + 1 + this.#random.below(2)];
      },
      () => [value, constant(type, bits), BINARY[type] + SHIFT + 2, constant(type, 0xffn), BINARY[type] + AND],
    ])();
  }

  #select(type: ValueType): Bytes {
    const op = this.#random.chance(70) ? [0x1b] : [0x1c, 1, type];
    return [this.#value(type), this.#value(type), this.#condition(), op];
  }

  #globalGet(type: ValueType): Bytes {
    const globals = this.#state.globals.flatMap((global, i) => (global.type === type ? [i] : []));
    return globals.length === 0 ? this.#leaf(type) : [0x23, unsigned(this.#random.pick(globals))];
  }

  #tee(type: ValueType): Bytes {
    const locals = this.#assignable.filter((i) => this.#locals[i] === type);
    return locals.length === 0 ? this.#leaf(type) : [this.#value(type), 0x22, unsigned(this.#random.pick(locals))];
  }

  // ── Memory ───────────────────────────────────────────────────────────────────────────────────────────────────────

  #address(align: number, far = 1): Address {
    const random = this.#random;
    if (align === 1 && random.chance(30)) {
      const pointer = this.#get(this.#pointer);
      return { code: this.#state.is64 ? pointer : [pointer, 0xa7], offset: random.below(0x1000) };
    }
    return randomAddress(this.#state, (type) => this.#value(type), { align, far });
  }

  #access(op: Bytes, bytes: number, align: number, operands: () => Bytes): Bytes {
    const { code, offset } = this.#address(align);
    return [code, operands(), op, Math.log2(bytes), unsigned(offset)];
  }

  #load(type: ValueType): Bytes {
    const [op, bytes] = this.#random.pick(LOADS[type]);
    return this.#access([op], bytes, 1, () => []);
  }

  #store(): Bytes {
    const type = this.#random.pick([I32, I64] as const);
    const [op, bytes] = this.#random.pick(STORES[type]);
    return this.#access([op], bytes, 1, () => this.#value(type));
  }

  #atomic(type: ValueType): Bytes {
    const random = this.#random;
    const [form, bytes] = random.pick(ATOMIC_FORMS[type]);
    const value = (): Bytes => this.#value(type);
    return random.pick<() => Bytes>([
      () => this.#access([ATOMIC, ATOMIC_LOAD + form], bytes, 8, () => []),
      () => this.#access([ATOMIC, ATOMIC_UPDATE + 7 * random.below(UPDATES) + form], bytes, 8, value),
      () => this.#access([ATOMIC, ATOMIC_UPDATE + 7 * random.below(UPDATES) + form], bytes, 8, value),
      () => this.#access([ATOMIC, ATOMIC_COMPARE_EXCHANGE + form], bytes, 8, () => [value(), value()]),
    ])();
  }

  #atomicStore(): Bytes {
    const type = this.#random.pick([I32, I64] as const);
    const [form, bytes] = this.#random.pick(ATOMIC_FORMS[type]);
    return this.#access([ATOMIC, ATOMIC_STORE + form], bytes, 8, () => this.#value(type));
  }

  /** memory.copy or memory.fill, in bounds. */
  #bulk(): Bytes {
    const random = this.#random;
    const is64 = this.#state.is64;
    const at = (): Bytes => {
      const { code, offset } = this.#address(1, 0);
      const type = is64 ? I64 : I32;
      return [code, constant(type, BigInt(offset)), BINARY[type] + ADD];
    };
    const most = random.chance(90) ? 31 : 1023;
    const length: Bytes = random.chance(50)
      ? constant(is64 ? I64 : I32, BigInt(random.below(most + 1)))
      : [this.#value(I32), constant(I32, BigInt(most)), BINARY[I32] + AND, is64 ? 0xad : []];
    this.#cost += this.#trips * (most >> 2);
    return random.chance(60) ? [at(), at(), length, 0xfc, 10, 0, 0] : [at(), this.#value(I32), length, 0xfc, 11, 0];
  }

  // ── Calls ────────────────────────────────────────────────────────────────────────────────────────────────────────

  #canAfford(cost: number): boolean {
    return this.#cost + cost * this.#trips <= MAX_COST;
  }

  #arguments(signature: Signature): Bytes {
    return signature.params.map((param) => this.#value(param));
  }

  /** A call with this result; a constant or nothing where there is no function for it. */
  #call(result: ValueType | undefined): Bytes {
    const fitting = this.#state.functions.filter((f) => f.signature.result === result && this.#canAfford(f.cost));
    if (fitting.length === 0) return result === undefined ? [] : this.#const(result);
    const callee = this.#random.pick(fitting);
    this.#cost += callee.cost * this.#trips;
    return [this.#arguments(callee.signature), 0x10, unsigned(callee.index)];
  }

  #callIndirect(result: ValueType | undefined): Bytes {
    const { table, functions } = this.#state;
    const places = table.flatMap((index, place) => {
      const callee = index === undefined ? undefined : functions[index]!;
      return callee?.signature.result === result && callee !== undefined ? [{ place, callee }] : [];
    });
    const worst = Math.max(0, ...table.map((index) => (index === undefined ? 0 : functions[index]!.cost)));
    if (places.length === 0 || !this.#canAfford(worst)) return this.#call(result);
    const { place, callee } = this.#random.pick(places);
    this.#cost += worst * this.#trips;
    const index = this.#random.weighted<() => Bytes>([
      [12, () => constant(I32, BigInt(place))],
      [1, () => this.#const(I32)],
      [1, () => [this.#value(I32), constant(I32, 7n), BINARY[I32] + AND]],
      // The right place, but the compiler cannot know.
      [
        4,
        () => [this.#value(I32), constant(I32, 0n), BINARY[I32] + AND, constant(I32, BigInt(place)), BINARY[I32] + OR],
      ],
    ])();
    const type = this.#state.signatureType(callee.signature);
    return [this.#arguments(callee.signature), index, 0x11, unsigned(type), 0];
  }

  // ── Control ──────────────────────────────────────────────────────────────────────────────────────────────────────

  #blockType(params: readonly ValueType[], results: readonly ValueType[]): Bytes {
    if (params.length === 0 && results.length <= 1) return [results[0] ?? EMPTY_BLOCK];
    return unsigned(this.#state.type(params, results));
  }

  /** `code` inside a label. */
  #inside(label: Label, code: () => Bytes): Bytes {
    this.#labels.push(label);
    const out = code();
    this.#labels.pop();
    return out;
  }

  #statements(most = 3): Bytes {
    return Array.from({ length: this.#random.below(most + 1) }, () => (this.#fuel > 0 ? this.#statement() : []));
  }

  #ifValue(type: ValueType): Bytes {
    const condition = this.#condition();
    const arm = (): Bytes => this.#inside({ types: [type] }, () => [this.#statements(1), this.#value(type)]);
    return [condition, 0x04, type, arm(), 0x05, arm(), 0x0b];
  }

  #blockValue(type: ValueType): Bytes {
    return [0x02, type, this.#inside({ types: [type] }, () => [this.#statements(), this.#value(type)]), 0x0b];
  }

  /** Depths of the labels that carry exactly `types`, or any when not given. */
  #targets(types?: readonly ValueType[]): number[] {
    return this.#labels.flatMap((label, i) =>
      label.types !== undefined && (types === undefined || `${label.types}` === `${types}`)
        ? [this.#labels.length - 1 - i]
        : [],
    );
  }

  #branchIfValue(type: ValueType): Bytes {
    const targets = this.#targets([type]);
    if (targets.length === 0) return this.#leaf(type);
    return [this.#value(type), this.#condition(), 0x0d, unsigned(this.#random.pick(targets))];
  }

  #types(most: number): ValueType[] {
    return Array.from({ length: this.#random.below(most + 1) }, () => this.#random.pick([I32, I64] as const));
  }

  #values = (types: readonly ValueType[]): Bytes => types.map((type) => this.#value(type));

  /** Takes values from the stack, into locals where some fit. */
  #take(types: readonly ValueType[]): Bytes {
    return types.toReversed().map((type): Bytes => {
      const locals = this.#assignable.filter((i) => this.#locals[i] === type);
      return locals.length > 0 && this.#random.chance(80) ? this.#set(this.#random.pick(locals)) : [0x1a];
    });
  }

  /** A block or if with parameters and several results. */
  #multiple(): Bytes {
    const params = this.#types(3);
    const results = this.#types(3);
    const type = this.#blockType(params, results);
    const inner = (): Bytes =>
      this.#inside({ types: results }, () => [this.#take(params), this.#statements(2), this.#values(results)]);
    const given = this.#values(params);
    const block =
      this.#random.chance(60) || this.#fuel < 5
        ? [0x02, type, inner(), 0x0b]
        : [this.#condition(), 0x04, type, inner(), 0x05, inner(), 0x0b];
    return [given, block, this.#take(results)];
  }

  #if(): Bytes {
    const condition = this.#condition();
    const arm = (): Bytes => this.#inside({ types: [] }, () => this.#statements());
    return [condition, 0x04, EMPTY_BLOCK, arm(), this.#random.chance(50) ? [0x05, arm()] : [], 0x0b];
  }

  #block(): Bytes {
    return [0x02, EMPTY_BLOCK, this.#inside({ types: [] }, () => this.#statements(4)), 0x0b];
  }

  /** A loop with a counter; four shapes that compilers write. */
  #loop(): Bytes {
    const random = this.#random;
    const trips = 1 + random.below(8);
    if (this.#trips * trips > MAX_TRIPS || !this.#canAfford(trips * this.#fuel)) return this.#if();
    this.#trips *= trips + 1;
    const type = random.pick([I32, I32, I64] as const);
    const counter = this.#newLocal(type);
    const one = constant(type, 1n);
    const limit = constant(type, BigInt(trips));
    const step = (op: number): Bytes => [this.#get(counter), one, BINARY[type] + op];
    const isNotZero: Bytes = type === I32 ? [] : [constant(I64, 0n), COMPARE[I64] + 1];
    const lessUnsigned = COMPARE[type] + 3;
    const closed: Label = { types: undefined };
    const open: Label = { types: [] };
    const statements = (): Bytes => [this.#statement(), this.#statements(3)];
    const code = random.pick<() => Bytes>([
      // do { … } while (--counter)
      () => [
        [limit, this.#set(counter), 0x03, EMPTY_BLOCK, this.#inside(closed, statements)],
        [step(SUB), 0x22, unsigned(counter), isNotZero, 0x0d, 0, 0x0b],
      ],
      // for (counter = 0; counter < limit; counter++), tested at the top
      () => [
        [constant(type, 0n), this.#set(counter), 0x02, EMPTY_BLOCK, 0x03, EMPTY_BLOCK],
        [this.#get(counter), limit, lessUnsigned, 0x45, 0x0d, 1],
        this.#inside(open, () => this.#inside(closed, statements)),
        [step(ADD), this.#set(counter), 0x0c, 0, 0x0b, 0x0b],
      ],
      // while (counter--) …, where branches to the loop's start are allowed
      () => [
        [limit, this.#set(counter), 0x02, EMPTY_BLOCK, 0x03, EMPTY_BLOCK],
        [this.#get(counter), EQZ[type], 0x0d, 1, step(SUB), this.#set(counter)],
        this.#inside(open, () => this.#inside(open, statements)),
        [random.chance(70) ? [0x0c, 0] : [this.#condition(), 0x0d, 0], 0x0b, 0x0b],
      ],
      () => this.#loopWithParameters(limit, counter, [step(SUB), 0x22, unsigned(counter), isNotZero]),
    ])();
    this.#trips /= trips + 1;
    return code;
  }

  #loopWithParameters(limit: Bytes, counter: number, countDown: Bytes): Bytes {
    const params = this.#types(3);
    const results = this.#types(2);
    const inner = this.#inside({ types: undefined }, () => [
      [this.#take(params), this.#statements(2), this.#values(params), countDown, 0x0d, 0],
      [this.#take(params), this.#values(results)],
    ]);
    const start = [limit, this.#set(counter), this.#values(params)];
    return [start, 0x03, this.#blockType(params, results), inner, 0x0b, this.#take(results)];
  }

  #statement(): Bytes {
    this.#spend();
    const make = this.#random.weighted<() => Bytes>([
      [30, () => this.#assign()],
      [20, () => this.#store()],
      [8, () => this.#globalSet()],
      [10, () => this.#if()],
      [4, () => this.#block()],
      [8, () => this.#loop()],
      [6, () => this.#multiple()],
      [8, () => this.#branchIf()],
      [5, () => this.#exit()],
      [6, () => this.#callStatement()],
      [4, () => this.#bulk()],
      [3, () => this.#atomicStore()],
      [3, () => [this.#value(this.#random.pick([I32, I64] as const)), 0x1a]],
      [1, () => this.#movePointer()],
      [1, () => [ATOMIC, 3, 0]],
      [1, () => [0x01]],
    ]);
    this.#depth++;
    const code = this.#depth > MAX_DEPTH ? this.#assign() : make();
    this.#depth--;
    return code;
  }

  #assign(): Bytes {
    if (this.#assignable.length === 0) return this.#store();
    const local = this.#random.pick(this.#assignable);
    const type = this.#locals[local]!;
    if (this.#random.chance(20)) return [this.#get(local), this.#const(type), BINARY[type] + ADD, this.#set(local)];
    return [this.#value(type), this.#set(local)];
  }

  #globalSet(): Bytes {
    const globals = this.#state.globals.flatMap((global, i) => (global.mutable ? [{ ...global, i }] : []));
    if (globals.length === 0) return this.#assign();
    const { type, i } = this.#random.pick(globals);
    return [this.#value(type), 0x24, unsigned(i)];
  }

  #callStatement(): Bytes {
    const result = this.#random.pick([undefined, I32, I64] as const);
    const code = this.#random.chance(60) ? this.#call(result) : this.#callIndirect(result);
    return [code, result === undefined ? [] : this.#take([result])];
  }

  #movePointer(): Bytes {
    return this.#setPointer(randomAddress(this.#state, (type) => this.#value(type), { align: 1, far: 0 }));
  }

  #branchIf(): Bytes {
    const targets = this.#targets();
    if (targets.length === 0) return [0x01];
    const depth = this.#random.pick(targets);
    const types = this.#typesAt(depth);
    return [this.#values(types), this.#condition(), 0x0d, unsigned(depth), this.#take(types)];
  }

  #typesAt(depth: number): readonly ValueType[] {
    return this.#labels[this.#labels.length - 1 - depth]!.types!;
  }

  /** Leaves by a branch, a return or a trap: mostly under a condition, so that not everything after it is dead. */
  #exit(): Bytes {
    if (this.#random.chance(8)) return this.#leave();
    return [this.#condition(), 0x04, EMPTY_BLOCK, this.#inside({ types: [] }, () => this.#leave()), 0x0b];
  }

  #leave(): Bytes {
    const random = this.#random;
    return random.weighted<() => Bytes>([
      [5, () => this.#branch()],
      [6, () => this.#branchTable()],
      [3, () => [this.#values(this.#labels[0]!.types!), 0x0f]],
      [1, () => [0x00]],
    ])();
  }

  #branch(): Bytes {
    const targets = this.#targets();
    const depth = this.#random.pick(targets);
    return [this.#values(this.#typesAt(depth)), 0x0c, unsigned(depth)];
  }

  #branchTable(): Bytes {
    const random = this.#random;
    const last = random.pick(this.#targets());
    const types = this.#typesAt(last);
    const alike = this.#targets(types);
    const depths = Array.from({ length: random.below(7) }, () => random.pick(alike));
    const index = random.chance(70) ? [this.#value(I32), constant(I32, 7n), BINARY[I32] + AND] : this.#value(I32);
    return [this.#values(types), index, 0x0e, unsigned(depths.length), depths.map(unsigned), unsigned(last)];
  }
}
