/**
 * Register allocation by graph colouring (Chaitin, Briggs): build interferences, coalesce copies where that is safe,
 * simplify optimistically, colour, and where colours run out spill and start again.
 */
import { type BitSet, liveAtEnd, stepBack } from "./liveness.ts";
import {
  CALLEE_SAVED,
  FIRST_VIRTUAL,
  isReg,
  type MachineFunc,
  RBP,
  type Reg,
  RSP,
  rename,
  renameVariables,
  visit,
} from "./machine.ts";
import { settle } from "./settle.ts";
import { spill } from "./spill.ts";

/** Colours in order of preference: those that need not be saved first, short encodings before long ones. */
const COLOURS: readonly Reg[] = [0, 1, 2, 6, 7, 8, 9, 10, 11, ...CALLEE_SAVED];

interface Graph {
  readonly adjacent: Set<Reg>[];
  /** Copies: pairs of registers that would like to be the same, with how often the copy runs. */
  readonly copies: { readonly a: Reg; readonly b: Reg; readonly weight: number }[];
  readonly cost: Float64Array;
}

function build(func: MachineFunc): Graph {
  const size = func.registers;
  const adjacent = Array.from({ length: size }, () => new Set<Reg>());
  const copies: { a: Reg; b: Reg; weight: number }[] = [];
  const cost = new Float64Array(size);
  const interfere = (a: Reg, b: Reg): void => {
    if (a === b || a === RSP || b === RSP) return;
    adjacent[a]!.add(b);
    adjacent[b]!.add(a);
  };
  const ends = liveAtEnd(func);
  for (const block of func.blocks) {
    const weight = block.frequency;
    const live: BitSet = ends.get(block)!.copy();
    for (let i = block.insts.length - 1; i >= 0; i--) {
      const inst = block.insts[i]!;
      const source = inst.op === "copy" && isReg(inst.b) ? inst.b.reg : -1;
      if (source >= 0 && isReg(inst.a)) copies.push({ a: inst.a.reg, b: source, weight });
      const defs: Reg[] = [];
      visit(
        inst,
        (r) => {
          cost[r]! += weight;
        },
        (r) => {
          cost[r]! += weight;
          defs.push(r);
        },
      );
      for (const def of defs) {
        live.forEach((other) => {
          if (other !== source) interfere(def, other);
        });
        for (const other of defs) interfere(def, other);
      }
      stepBack(live, block, i);
    }
  }
  return { adjacent, copies, cost };
}

class Colouring {
  readonly #graph: Graph;
  readonly #alias: Reg[];
  readonly #colours: readonly Reg[];
  readonly #unspillable: ReadonlySet<Reg>;

  constructor(graph: Graph, colours: readonly Reg[], unspillable: ReadonlySet<Reg>) {
    this.#graph = graph;
    this.#colours = colours;
    this.#unspillable = unspillable;
    this.#alias = graph.adjacent.map((_, i) => i);
  }

  #find(r: Reg): Reg {
    let x = r;
    while (this.#alias[x] !== x) x = this.#alias[x]!;
    return x;
  }

  #isSignificant(r: Reg): boolean {
    return r < FIRST_VIRTUAL || this.#graph.adjacent[r]!.size >= this.#colours.length;
  }

  /** Joining must not make a graph that could be coloured into one that cannot (Briggs; George for machine registers). */
  #isSafe(a: Reg, b: Reg): boolean {
    const { adjacent } = this.#graph;
    if (a < FIRST_VIRTUAL) {
      for (const t of adjacent[b]!)
        if (t >= FIRST_VIRTUAL && this.#isSignificant(t) && !adjacent[a]!.has(t)) return false;
      return true;
    }
    let significant = 0;
    const limit = this.#colours.length;
    for (const t of adjacent[a]!) {
      // A neighbour of both loses one neighbour.
      const degree = adjacent[t]!.size - (adjacent[b]!.has(t) ? 1 : 0);
      if (t < FIRST_VIRTUAL || degree >= limit) significant++;
    }
    for (const t of adjacent[b]!) if (!adjacent[a]!.has(t) && this.#isSignificant(t)) significant++;
    return significant < limit;
  }

  #coalesce(): void {
    const { adjacent, copies, cost } = this.#graph;
    const ordered = [...copies].sort((x, y) => y.weight - x.weight);
    for (let changed = true; changed; ) {
      changed = false;
      for (const copy of ordered) {
        let a = this.#find(copy.a);
        let b = this.#find(copy.b);
        if (a === b) continue;
        if (b < a) [a, b] = [b, a];
        if (b < FIRST_VIRTUAL || a === RSP || (a < FIRST_VIRTUAL && !this.#colours.includes(a))) continue;
        if (adjacent[a]!.has(b) || this.#unspillable.has(a) !== this.#unspillable.has(b) || !this.#isSafe(a, b))
          continue;
        this.#alias[b] = a;
        cost[a]! += cost[b]!;
        for (const t of adjacent[b]!) {
          adjacent[t]!.delete(b);
          adjacent[t]!.add(a);
          adjacent[a]!.add(t);
        }
        adjacent[b]!.clear();
        changed = true;
      }
    }
  }

  /** The colour of each register, and those that get none. */
  run(): { colour: Reg[]; uncoloured: Reg[]; alias: (r: Reg) => Reg } {
    this.#coalesce();
    const { adjacent, copies, cost } = this.#graph;
    const size = adjacent.length;
    const degree = adjacent.map((set) => set.size);
    const removed = new Uint8Array(size);
    const remaining = new Set<Reg>();
    for (let r = FIRST_VIRTUAL; r < size; r++) if (this.#alias[r] === r) remaining.add(r);
    const stack: Reg[] = [];
    const low = [...remaining].filter((r) => degree[r]! < this.#colours.length);
    const remove = (r: Reg): void => {
      removed[r] = 1;
      remaining.delete(r);
      stack.push(r);
      for (const t of adjacent[r]!)
        if (--degree[t]! === this.#colours.length - 1 && t >= FIRST_VIRTUAL && removed[t] === 0) low.push(t);
    };
    while (remaining.size > 0) {
      const easy = low.pop();
      if (easy !== undefined) {
        if (removed[easy] === 0) remove(easy);
        continue;
      }
      let worst = -1;
      let least = Number.POSITIVE_INFINITY;
      for (const r of remaining) {
        const price = this.#unspillable.has(r) ? Number.MAX_VALUE : cost[r]! / degree[r]!;
        if (price < least) {
          least = price;
          worst = r;
        }
      }
      remove(worst);
    }
    const partners = new Map<Reg, Reg[]>();
    for (const { a, b } of copies) {
      const [x, y] = [this.#find(a), this.#find(b)];
      if (x === y) continue;
      for (const [from, to] of [
        [x, y],
        [y, x],
      ] as const) {
        const list = partners.get(from);
        if (list === undefined) partners.set(from, [to]);
        else list.push(to);
      }
    }
    const colour = Array.from({ length: size }, (_, r) => (r < FIRST_VIRTUAL ? r : -1));
    const uncoloured: Reg[] = [];
    for (let r = stack.pop(); r !== undefined; r = stack.pop()) {
      const taken = new Set([...adjacent[r]!].map((t) => colour[t]));
      const liked = partners
        .get(r)
        ?.map((t) => colour[t]!)
        .find((c) => this.#colours.includes(c) && !taken.has(c));
      const chosen = liked ?? this.#colours.find((c) => !taken.has(c));
      if (chosen === undefined) uncoloured.push(r);
      else colour[r] = chosen;
    }
    return { colour, uncoloured, alias: (r) => this.#find(r) };
  }
}

/** Gives every virtual register a machine register, in place. Copies that became no-ops are dropped. */
export function allocate(func: MachineFunc): void {
  const colours = func.aligned ? COLOURS.filter((r) => r !== RBP) : COLOURS;
  const unspillable = new Set<Reg>();
  for (;;) {
    const { colour, uncoloured, alias } = new Colouring(build(func), colours, unspillable).run();
    if (uncoloured.length === 0) {
      settle(
        func,
        () => true,
        (r) => r,
      );
      for (const block of func.blocks) {
        for (const inst of block.insts) {
          rename(inst, (r) => colour[alias(r)]!);
          renameVariables(inst, (r) => colour[alias(r)]!);
        }
        block.insts = block.insts.filter((inst) => {
          if (inst.op === "undef") return false;
          return !(
            (inst.op === "copy" || inst.op === "mov") &&
            inst.width === 64 &&
            isReg(inst.a) &&
            isReg(inst.b) &&
            inst.a.reg === inst.b.reg
          );
        });
      }
      return;
    }
    const spilled = new Set(uncoloured);
    const members = new Set<Reg>();
    for (let r = FIRST_VIRTUAL; r < func.registers; r++) if (spilled.has(alias(r))) members.add(r);
    if ([...members].some((r) => unspillable.has(r))) throw new Error(`${func.name}: out of registers`);
    spill(func, members, alias, unspillable);
  }
}
