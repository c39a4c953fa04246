/**
 * Where the parameters of a function are at each of its instructions: in which registers and stack slots, after register
 * allocation. A forward analysis over what the instructions do: a place holds a parameter from when it gets its value
 * until something else is written there, whether or not the value is needed any more.
 */
import {
  ARGUMENTS,
  type Inst,
  isReg,
  type MachineBlock,
  type MachineFunc,
  modeOf,
  type Operand,
  visit,
} from "./machine.ts";

/** A machine register, or a word of the spill slots or of the incoming arguments. */
export type Holder =
  | { readonly kind: "register"; readonly number: number }
  | { readonly kind: "slot" | "incoming"; readonly number: number };

const [SLOT, INCOMING] = [1 << 8, 1 << 16];

/** Holders as numbers, so that sets can compare them; lower ones are preferred. */
const keyOf = (operand: Operand | undefined): number | undefined => {
  if (isReg(operand)) return operand.reg;
  if (operand?.kind !== "mem") return undefined;
  if (operand.stack === "slot") return SLOT + operand.disp;
  return operand.stack === "incoming" ? INCOMING + operand.disp : undefined;
};

function holderOf(key: number): Holder {
  if (key >= INCOMING) return { kind: "incoming", number: key - INCOMING };
  return key >= SLOT ? { kind: "slot", number: key - SLOT } : { kind: "register", number: key };
}

/** For each parameter the places that hold it. */
type State = readonly ReadonlySet<number>[];

/** Whether the whole of a parameter of `width` bits goes from b to a. */
const moves = ({ op, width, from }: Inst, parameter: number): boolean =>
  op === "copy" || (op === "mov" && width >= parameter) || (op === "movzx" && parameter === 32 && from === 32);

function step(state: State, inst: Inst, widths: readonly number[]): State {
  const written: number[] = [];
  visit(
    inst,
    () => {},
    (r) => written.push(r),
  );
  const target = keyOf(inst.a);
  if (target !== undefined && target >= SLOT && modeOf(inst, "a") !== "u") written.push(target);
  if (written.length === 0) return state;
  const source = keyOf(inst.b);
  return state.map((places, i) => {
    const gets =
      source !== undefined && target !== undefined && places.has(source) && moves(inst, widths[i]!)
        ? target
        : undefined;
    if (gets === undefined && !written.some((key) => places.has(key))) return places;
    const next = new Set(places);
    for (const key of written) next.delete(key);
    if (gets !== undefined) next.add(gets);
    return next;
  });
}

const meet = (a: State, b: State): State => a.map((places, i) => new Set([...places].filter((key) => b[i]!.has(key))));
const same = (a: State, b: State): boolean => a.every((places, i) => places.size === b[i]!.size);

export class Holders {
  readonly #widths: readonly number[];
  readonly #entry = new Map<MachineBlock, State>();

  /** `widths`: of the parameters, in bits. */
  constructor(func: MachineFunc, widths: readonly number[]) {
    this.#widths = widths;
    const first = func.blocks[0]!;
    const count = ARGUMENTS.length;
    this.#entry.set(
      first,
      widths.map((_, i) => new Set([i < count ? ARGUMENTS[i]! : INCOMING + i - count])),
    );
    const work = [first];
    for (let block = work.pop(); block !== undefined; block = work.pop()) {
      const end = block.insts.reduce((state, inst) => step(state, inst, widths), this.#entry.get(block)!);
      for (const next of block.insts.flatMap((inst) => inst.targets ?? [])) {
        const known = this.#entry.get(next);
        const merged = known === undefined ? end : meet(known, end);
        if (known !== undefined && same(known, merged)) continue;
        this.#entry.set(next, merged);
        work.push(next);
      }
    }
  }

  /** For each instruction of `block`, where the parameters are before it; one more for the end. */
  in(block: MachineBlock): (readonly (Holder | undefined)[])[] {
    let state = this.#entry.get(block) ?? this.#widths.map(() => new Set<number>());
    const states = [state];
    for (const inst of block.insts) {
      state = step(state, inst, this.#widths);
      states.push(state);
    }
    return states.map((places) => places.map((keys) => (keys.size === 0 ? undefined : holderOf(Math.min(...keys)))));
  }
}
