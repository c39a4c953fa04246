/**
 * Shrink wrapping: a function that can return without a call needs no frame on that way. Before register allocation,
 * what runs after a call may have happened (the frame's region) gets registers of its own; the others then take no
 * register that must be saved, and the prologue moves to where control enters the region.
 */
import { liveAtEnd } from "./liveness.ts";
import {
  CALLEE_SAVED,
  copyInst,
  FIRST_VIRTUAL,
  type Inst,
  type MachineBlock,
  type MachineFunc,
  type Operand,
  type Reg,
  reg,
  rename,
  renameVariables,
  visit,
} from "./machine.ts";

/** Most instructions of a block that is copied for those who come without a frame, and most such blocks. */
const COPIED_LENGTH = 6;
const COPIED_BLOCKS = 8;

const isStack = (operand: Operand | undefined): boolean => operand?.kind === "mem" && operand.stack !== undefined;
const needsFrame = (inst: Inst): boolean => inst.op === "call" || isStack(inst.a) || isStack(inst.b);

/** Jumps through a table are left alone: their targets stand in the table as well. */
const isFree = ({ insts }: MachineBlock): boolean => !insts.some(needsFrame) && insts.at(-1)!.op !== "switch";
const isReturn = (block: MachineBlock): boolean => block.insts.at(-1)!.op === "ret";

/** All blocks that `step` leads to from `start`. */
function closure(
  start: readonly MachineBlock[],
  step: (block: MachineBlock) => readonly MachineBlock[],
): Set<MachineBlock> {
  const found = new Set<MachineBlock>();
  const work = [...start];
  for (let block = work.pop(); block !== undefined; block = work.pop()) {
    if (found.has(block)) continue;
    found.add(block);
    work.push(...step(block));
  }
  return found;
}

/** The blocks among `blocks` from which a return can be reached without leaving them. */
function returning(blocks: readonly MachineBlock[]): Set<MachineBlock> {
  const among = new Set(blocks);
  const preds = new Map<MachineBlock, MachineBlock[]>(blocks.map((block) => [block, []]));
  for (const block of blocks) for (const next of block.succs) if (among.has(next)) preds.get(next)!.push(block);
  return closure(blocks.filter(isReturn), (block) => preds.get(block)!);
}

function retarget(block: MachineBlock, from: MachineBlock, to: MachineBlock): void {
  const last = block.insts.length - 1;
  const change = (target: MachineBlock): MachineBlock => (target === from ? to : target);
  block.insts[last] = { ...block.insts[last]!, targets: block.insts[last]!.targets!.map(change) };
  block.succs.splice(0, block.succs.length, ...block.succs.map(change));
}

/**
 * Parts the function: gives the blocks that need a frame or have one because they follow such blocks. Short blocks that
 * both parts lead to are copied, where they lead on to a return.
 */
function partition(func: MachineFunc): Set<MachineBlock> {
  const inside = closure(
    func.blocks.filter((block) => !isFree(block)),
    (block) => block.succs,
  );
  const ways = returning(func.blocks.filter(isFree));
  const outside = func.blocks.filter((block) => !inside.has(block));
  let nextId = Math.max(...func.blocks.map((block) => block.id)) + 1;
  const copies = new Map<MachineBlock, MachineBlock>();
  for (let at = 0; at < outside.length; at++) {
    const from = outside[at]!;
    for (const to of [...from.succs]) {
      if (!inside.has(to) || !ways.has(to) || to.insts.length > COPIED_LENGTH) continue;
      let copy = copies.get(to);
      if (copy === undefined) {
        if (copies.size === COPIED_BLOCKS) continue;
        copy = { ...to, id: nextId++, insts: to.insts.map(copyInst), succs: [...to.succs] };
        copies.set(to, copy);
        func.blocks.push(copy);
        outside.push(copy);
      }
      retarget(from, to, copy);
    }
  }
  // Where the frame cannot be avoided it is made early.
  const free = returning(outside);
  return new Set(func.blocks.filter((block) => !free.has(block)));
}

/** Splits the function where its frame begins, if there is a way round the frame. */
export function splitAtFrame(func: MachineFunc): void {
  if (func.aligned || !func.blocks.some(({ insts }) => insts.some(needsFrame))) return;
  if (!returning(func.blocks.filter(isFree)).has(func.blocks[0]!)) return;
  const inside = partition(func);
  if (inside.has(func.blocks[0]!)) return;
  const outside = func.blocks.filter((block) => !inside.has(block));
  let nextId = Math.max(...func.blocks.map((block) => block.id)) + 1;

  const ends = liveAtEnd(func);
  const known = new Set<Reg>();
  for (const block of outside) {
    for (const inst of block.insts)
      visit(
        inst,
        (r) => known.add(r),
        (r) => known.add(r),
      );
  }
  const own = new Map<Reg, Reg>();
  const ownOf = (r: Reg): Reg => {
    if (r < FIRST_VIRTUAL || !known.has(r)) return r;
    let mine = own.get(r);
    if (mine === undefined) {
      mine = func.registers++;
      own.set(r, mine);
    }
    return mine;
  };
  const liveInto = (block: MachineBlock): Reg[] => {
    const live = ends.get(block)!.copy();
    for (let i = block.insts.length - 1; i >= 0; i--) {
      const uses: Reg[] = [];
      visit(
        block.insts[i]!,
        (r) => uses.push(r),
        (r) => live.remove(r),
      );
      for (const r of uses) live.add(r);
    }
    const out: Reg[] = [];
    live.forEach((r) => {
      if (r >= FIRST_VIRTUAL) out.push(r);
    });
    return out;
  };
  const carried = new Map([...inside].map((block) => [block, liveInto(block)]));
  for (const block of inside) for (const inst of block.insts) rename(inst, ownOf);
  for (const block of inside) for (const inst of block.insts) renameVariables(inst, (r) => own.get(r) ?? r);
  const enters = new Map<MachineBlock, MachineBlock>();
  for (const from of outside) {
    from.frameless = true;
    for (const to of [...from.succs]) {
      if (!inside.has(to)) continue;
      let enter = enters.get(to);
      if (enter === undefined) {
        const { at } = from.insts.at(-1)!;
        const moves = carried
          .get(to)!
          .filter((r) => known.has(r))
          .map((r): Inst => ({ op: "mov", width: 64, a: reg(ownOf(r)), b: reg(r), at }));
        const jump: Inst = { op: "jump", width: 64, a: undefined, b: undefined, targets: [to], at };
        enter = { ...to, id: nextId++, insts: [...moves, jump], succs: [to], entersFrame: true };
        enters.set(to, enter);
        func.blocks.push(enter);
      }
      retarget(from, to, enter);
    }
  }
}

/** Whether the blocks before the frame really do without: else the frame begins at the function's start. */
export function isFrameLate(func: MachineFunc): boolean {
  const saved = new Set<Reg>(CALLEE_SAVED);
  const before = func.blocks.filter((block) => block.frameless);
  if (before.length === 0) return false;
  let late = true;
  const note = (r: Reg): void => {
    if (saved.has(r)) late = false;
  };
  for (const { insts } of before) {
    for (const inst of insts) {
      visit(inst, note, note);
      if (needsFrame(inst)) late = false;
    }
  }
  return late;
}
