/** What the parts of a random function share while it is written: locals, labels, and how much may still be written. */
import {
  BINARY,
  BLOCK,
  DROP,
  EMPTY_BLOCK,
  END,
  LOCAL_GET,
  LOCAL_SET,
  VALUE_TYPES,
  type ValueType,
} from "./fuzz-opcodes.ts";
import { type ModuleState, randomValue } from "./fuzz-random-module.ts";
import type { Random } from "./random.ts";
import { type Bytes, constant, I64, unsigned } from "./wasm-binary.ts";

export interface Label {
  /** What a branch to it carries; undefined: no branch may go there. */
  readonly types: readonly ValueType[] | undefined;
}

/** Greatest cost of a function: about the instructions that a call runs. */
const MAX_COST = 50_000;
/** Greatest product of the trip counts of nested loops. */
const MAX_TRIPS = 64;

export abstract class Writer {
  readonly state: ModuleState;
  readonly random: Random;
  readonly locals: ValueType[];
  /** Locals that statements may assign. */
  readonly assignable: readonly number[];
  /** A local that always holds an address with 8 KiB in bounds after it, as i64. */
  readonly pointer: number;
  /** About how many instructions are still to be written. */
  fuel = 0;
  cost = 0;
  readonly #labels: Label[] = [];
  #trips = 1;

  constructor(state: ModuleState, params: readonly ValueType[]) {
    this.state = state;
    this.random = state.random;
    this.locals = [...params];
    const own = this.random.weighted([
      [6, this.random.below(7)],
      [1, 8 + this.random.below(14)],
    ]);
    for (let i = 0; i < own; i++) this.newLocal(this.anyType());
    this.assignable = this.locals.map((_, i) => i);
    this.pointer = this.newLocal(I64);
  }

  abstract value(type: ValueType): Bytes;
  /** An i32 to branch on. */
  abstract condition(): Bytes;
  abstract statement(): Bytes;
  /** A statement that gives a local a value. */
  abstract assign(): Bytes;

  /** At most `most` statements. */
  statements(most = 3): Bytes {
    return Array.from({ length: this.random.below(most + 1) }, () => (this.fuel > 0 ? this.statement() : []));
  }

  values(types: readonly ValueType[]): Bytes {
    return types.map((type) => this.value(type));
  }

  anyType(): ValueType {
    return this.random.pick(VALUE_TYPES);
  }

  types(most: number): ValueType[] {
    return Array.from({ length: this.random.below(most + 1) }, () => this.anyType());
  }

  /** Instructions at this place run once for each trip of the loops around it. */
  spend(instructions = 1): void {
    this.fuel--;
    this.cost += instructions * this.#trips;
  }

  canAfford(instructions: number): boolean {
    return this.cost + instructions * this.#trips <= MAX_COST;
  }

  /** Writes what is inside a loop, or undefined where another loop would cost too much. */
  repeated(trips: number, write: () => Bytes): Bytes | undefined {
    if (this.#trips * trips > MAX_TRIPS || !this.canAfford(trips * Math.max(0, this.fuel))) return undefined;
    this.#trips *= trips + 1;
    const code = write();
    this.#trips /= trips + 1;
    return code;
  }

  // ── Constants and locals ─────────────────────────────────────────────────────────────────────────────────────────

  const(type: ValueType): Bytes {
    return constant(type, randomValue(this.random, type));
  }

  /** A local of this type, or a constant. The pointer is never shown: addresses differ between two runs. */
  leaf(type: ValueType): Bytes {
    const locals = this.locals.flatMap((local, i) => (local === type && i !== this.pointer ? [i] : []));
    return locals.length > 0 && this.random.chance(75) ? this.get(this.random.pick(locals)) : this.const(type);
  }

  newLocal(type: ValueType): number {
    this.locals.push(type);
    return this.locals.length - 1;
  }

  get(local: number): Bytes {
    return [LOCAL_GET, unsigned(local)];
  }

  set(local: number): Bytes {
    return [LOCAL_SET, unsigned(local)];
  }

  /** `left op constant` */
  withConstant(type: ValueType, left: Bytes, op: number, right: bigint): Bytes {
    return [left, constant(type, right), BINARY[type] + op];
  }

  /** Takes values from the stack, into locals where some fit. */
  take(types: readonly ValueType[]): Bytes {
    return types.toReversed().map((type): Bytes => {
      const locals = this.assignable.filter((i) => this.locals[i] === type);
      return locals.length > 0 && this.random.chance(80) ? this.set(this.random.pick(locals)) : [DROP];
    });
  }

  // ── Labels ───────────────────────────────────────────────────────────────────────────────────────────────────────

  /** What `write` gives, inside a label. */
  inside(types: readonly ValueType[] | undefined, write: () => Bytes): Bytes {
    this.#labels.push({ types });
    const code = write();
    this.#labels.pop();
    return code;
  }

  /** Depths of the labels that carry exactly `types`, or any when not given. */
  targets(types?: readonly ValueType[]): number[] {
    return this.#labels.flatMap((label, i) =>
      label.types !== undefined && (types === undefined || `${label.types}` === `${types}`)
        ? [this.#labels.length - 1 - i]
        : [],
    );
  }

  /** What a branch to the label at `depth` carries. */
  typesAt(depth: number): readonly ValueType[] {
    return this.#labels[this.#labels.length - 1 - depth]!.types!;
  }

  get resultTypes(): readonly ValueType[] {
    return this.#labels[0]!.types!;
  }

  blockType(params: readonly ValueType[], results: readonly ValueType[]): Bytes {
    if (params.length === 0 && results.length <= 1) return [results[0] ?? EMPTY_BLOCK];
    return unsigned(this.state.type(params, results));
  }

  block(types: readonly ValueType[], write: () => Bytes): Bytes {
    return [BLOCK, this.blockType([], types), this.inside(types, write), END];
  }
}
