/** Instruction selection: from the intermediate representation to machine instructions with virtual registers. */
import { frequencies } from "./frequency.ts";
import { loopDepths, prune, splitEdge } from "./graph.ts";
import { type Block, type Func, phis } from "./ir.ts";
import {
  ARGUMENTS,
  FIRST_VIRTUAL,
  type Inst,
  imm,
  type MachineBlock,
  type MachineFunc,
  type Operand,
  RAX,
  type Reg,
  reg,
} from "./machine.ts";
import { emitCondition, emitValue } from "./select-ops.ts";
import { Selection } from "./selection.ts";
import type { Cond } from "./x64.ts";

/** Switches with more cases than this use a table. */
const CHAIN_LIMIT = 4;

/** Gives phis a place for their moves: no edge leads from a block with several successors to one with phis. */
function splitCriticalEdges(func: Func): void {
  for (const block of [...func.blocks]) {
    if (block.end.targets.length < 2) continue;
    for (const target of [...block.end.targets]) {
      if (phis(target).length > 0) splitEdge(func, block, target);
    }
  }
  prune(func);
}

interface Move {
  readonly to: Reg;
  readonly from: Operand;
  readonly load: () => void;
}

/** Emits moves that happen at once, one after the other; a cycle goes through a fresh register. */
function emitMoves(s: Selection, moves: readonly Move[]): void {
  let pending = moves.filter((move) => !(move.from.kind === "reg" && move.from.reg === move.to));
  while (pending.length > 0) {
    const isRead = (r: Reg): boolean => pending.some((move) => move.from.kind === "reg" && move.from.reg === r);
    const free = pending.filter((move) => !isRead(move.to));
    if (free.length === 0) {
      // Every target is still read: save one, and read the copy instead.
      const saved = pending[0]!.to;
      const copy = s.fresh();
      s.emit("copy", 64, reg(copy), reg(saved));
      pending = pending.map((move) => {
        if (move.from.kind !== "reg" || move.from.reg !== saved) return move;
        return { to: move.to, from: reg(copy), load: () => s.emit("copy", 64, reg(move.to), reg(copy)) };
      });
      continue;
    }
    for (const move of free) move.load();
    pending = pending.filter((move) => !free.includes(move));
  }
}

class Selector {
  readonly #func: Func;
  readonly #machine: MachineFunc;
  readonly #s: Selection;
  readonly #blocks = new Map<Block, MachineBlock>();
  readonly #depths: Map<Block, number>;
  readonly #frequencies: Map<Block, number>;
  /** Blocks made besides those of the function, after the block they belong to. */
  readonly #extra = new Map<Block, MachineBlock[]>();
  #nextBlock: number;

  constructor(func: Func) {
    this.#func = func;
    this.#nextBlock = func.nextBlock;
    this.#machine = {
      name: func.name,
      exported: func.exported,
      blocks: [],
      registers: FIRST_VIRTUAL,
      tables: [],
      outgoing: 0,
      aligned: false,
      slots: 0,
    };
    this.#s = new Selection(func, this.#machine);
    this.#depths = loopDepths(func);
    this.#frequencies = frequencies(func);
    for (const block of func.blocks) this.#blocks.set(block, this.#newBlock(block.id, block));
  }

  #newBlock(id: number, from: Block): MachineBlock {
    return { id, insts: [], succs: [], depth: this.#depths.get(from)!, frequency: this.#frequencies.get(from)! };
  }

  run(): MachineFunc {
    for (const block of [...this.#func.blocks].reverse()) this.#selectBlock(block);
    this.#s.settle();
    for (const block of this.#func.blocks)
      this.#machine.blocks.push(this.#blocks.get(block)!, ...(this.#extra.get(block) ?? []));
    return this.#machine;
  }

  #selectBlock(block: Block): void {
    const s = this.#s;
    const groups: Inst[][] = [];
    s.begin(block, undefined);
    this.#emitEnd(block);
    groups.push(s.take());
    for (const value of [...block.values].reverse()) {
      if (value.op === "phi" || value.op === "param" || !s.isWanted(value)) continue;
      s.begin(block, value);
      emitValue(s, value);
      groups.push(s.take());
    }
    if (block === this.#func.blocks[0]) {
      s.begin(block, undefined);
      this.#emitParams(block);
      groups.push(s.take());
    }
    this.#blocks.get(block)!.insts.unshift(...groups.reverse().flat());
  }

  #emitParams(block: Block): void {
    const s = this.#s;
    const wanted = block.values.filter((value) => value.op === "param" && s.isWanted(value));
    for (const param of wanted) {
      const number = Number(param.imm);
      const fixed = ARGUMENTS[number];
      const to = reg(s.regOf(param));
      const from: Operand =
        fixed === undefined ? { kind: "mem", stack: "incoming", disp: number - ARGUMENTS.length } : reg(fixed);
      if (param.type === 32 && this.#func.exported) {
        if (from.kind === "reg") s.emit("movzx", 32, to, from, { from: 32 });
        else s.emit("mov", 32, to, from);
      } else s.emit(from.kind === "reg" ? "copy" : "mov", 64, to, from);
    }
  }

  #emitEnd(block: Block): void {
    const s = this.#s;
    const { kind, args, targets } = block.end;
    const here = this.#blocks.get(block)!;
    const to = targets.map((target) => this.#blocks.get(target)!);
    switch (kind) {
      case "jump":
        this.#emitPhis(block, targets[0]!);
        this.#jump(here, to[0]!);
        return;
      case "branch": {
        const condition = args[0]!;
        const cond = emitCondition(s, condition, condition.block === block);
        this.#branch(here, cond, to[0]!, to[1]!);
        return;
      }
      case "switch":
        this.#emitSwitch(block, here, to);
        return;
      case "return": {
        if (args[0] !== undefined) s.load(RAX, args[0]);
        s.emit("ret", 64, undefined, undefined, { uses: args[0] === undefined ? [] : [RAX] });
        return;
      }
      case "trap":
        s.emit("trap", 64, undefined, undefined, { reason: block.end.reason ?? "unreachable code is reached" });
    }
  }

  #jump(from: MachineBlock, to: MachineBlock): void {
    this.#s.emit("jump", 64, undefined, undefined, { targets: [to] });
    from.succs.push(to);
  }

  #branch(from: MachineBlock, cond: Cond, then: MachineBlock, otherwise: MachineBlock): void {
    this.#s.emit("branch", 64, undefined, undefined, { cond, targets: [then, otherwise] });
    from.succs.push(then, otherwise);
  }

  #emitPhis(block: Block, target: Block): void {
    const s = this.#s;
    const index = target.preds.indexOf(block);
    const moves = phis(target).map((phi): Move => {
      const to = s.regOf(phi);
      const arg = phi.args[index]!;
      const constant = arg.op === "const" || arg.op === "symbol";
      return { to, from: constant ? imm(0) : reg(s.use(arg)), load: () => s.load(to, arg) };
    });
    emitMoves(s, moves);
  }

  /** The last target is for all values beyond the cases. Targets have no phis: their edges were split. */
  #emitSwitch(block: Block, here: MachineBlock, to: readonly MachineBlock[]): void {
    const s = this.#s;
    const cases = block.end.cases.map((index) => to[index]!);
    const otherwise = cases.pop()!;
    const index = s.use(block.end.args[0]!);
    const extra: MachineBlock[] = [];
    this.#extra.set(block, extra);
    const first = s.take();
    let from = here;
    const nextBlock = (): MachineBlock => {
      const next = this.#newBlock(this.#nextBlock++, block);
      extra.push(next);
      return next;
    };
    /** Continues in a block of its own. */
    const enter = (next: MachineBlock): void => {
      s.begin(block, undefined);
      from = next;
    };
    const leave = (): void => {
      if (from !== here) from.insts = s.take();
    };
    if (cases.length <= CHAIN_LIMIT) {
      cases.forEach((target, i) => {
        const next = i === cases.length - 1 ? otherwise : nextBlock();
        s.emit("cmp", 32, reg(index), imm(i));
        if (next === target) this.#jump(from, target);
        else this.#branch(from, "e", target, next);
        leave();
        if (i < cases.length - 1) enter(next);
      });
    } else {
      const dispatch = nextBlock();
      s.emit("cmp", 32, reg(index), imm(cases.length));
      this.#branch(from, "ae", otherwise, dispatch);
      enter(dispatch);
      const symbol = `${this.#func.name}.switch${this.#machine.tables.length}`;
      this.#machine.tables.push({ symbol, targets: cases });
      const start = s.fresh();
      const distance = s.fresh();
      s.emit("lea", 64, reg(start), { kind: "mem", symbol, disp: 0 });
      s.emit("movsx", 64, reg(distance), { kind: "mem", base: start, index, scale: 4, disp: 0 }, { from: 32 });
      s.emit("alu", 64, reg(distance), reg(start), { sub: "add" });
      const targets = [...new Set(cases)];
      s.emit("switch", 64, reg(distance), undefined, { targets });
      dispatch.succs.push(...targets);
      leave();
    }
    s.resume(first);
  }
}

/** Selects machine instructions for `func`, which is changed (critical edges are split). */
export function select(func: Func): MachineFunc {
  splitCriticalEdges(func);
  return new Selector(func).run();
}
