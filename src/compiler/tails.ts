/** Jumps that need not be: after register allocation, before the layout. */
import { liveAtEnd } from "./liveness.ts";
import { copyInst, type Inst, isReg, type MachineBlock, type MachineFunc, visit } from "./machine.ts";

/** Most instructions of a block that is copied in place of a jump to it, its end included. */
const COPY_LIMIT = 4;

function predecessors(func: MachineFunc): Map<MachineBlock, MachineBlock[]> {
  const preds = new Map<MachineBlock, MachineBlock[]>(func.blocks.map((block) => [block, []]));
  for (const block of func.blocks) for (const next of block.succs) preds.get(next)!.push(block);
  return preds;
}

/** A move between registers, or of a constant: no flag is changed. */
const isMove = (inst: Inst): boolean =>
  (inst.op === "copy" || inst.op === "mov") && isReg(inst.a) && (isReg(inst.b) || inst.b?.kind === "imm");

/** Whether `inst` compares, and does so just as well after `moves`: it then stays beside its branch. */
function compareFits(inst: Inst | undefined, moves: readonly Inst[]): boolean {
  if (inst?.op !== "cmp" && inst?.op !== "test") return false;
  const written = new Set(moves.map((move) => (isReg(move.a) ? move.a.reg : -1)));
  let fits = true;
  visit(
    inst,
    (r) => {
      if (written.has(r)) fits = false;
    },
    () => {},
  );
  return fits;
}

/**
 * Does the moves on a loop's back edge before the branch, where the other way does not mind: the branch then goes
 * straight to the loop's head.
 */
export function hoistMoves(func: MachineFunc): void {
  const preds = predecessors(func);
  const ends = liveAtEnd(func);
  const liveInto = (block: MachineBlock, r: number): boolean => {
    for (const inst of block.insts) {
      let used = false;
      let defined = false;
      visit(
        inst,
        (x) => {
          used ||= x === r;
        },
        (x) => {
          defined ||= x === r;
        },
      );
      if (used) return true;
      if (defined) return false;
    }
    return ends.get(block)!.has(r);
  };
  for (const block of func.blocks) {
    const branch = block.insts.at(-1);
    if (branch?.op !== "branch") continue;
    branch.targets!.forEach((middle, i) => {
      const other = branch.targets![1 - i]!;
      const moves = middle.insts.slice(0, -1);
      const isEdge = middle.insts.at(-1)?.op === "jump" && moves.length > 0 && moves.every(isMove);
      if (
        !isEdge ||
        middle.entersFrame ||
        middle === other ||
        preds.get(middle)!.length !== 1 ||
        middle.depth <= other.depth
      )
        return;
      if (moves.some((move) => isReg(move.a) && liveInto(other, move.a.reg))) return;
      const from = compareFits(block.insts.at(-2), moves) ? -2 : -1;
      // What they write over is not there any more.
      for (const inst of block.insts.slice(from)) inst.variables = undefined;
      block.insts.splice(from, 0, ...moves);
      middle.insts.splice(0, moves.length);
    });
  }
}

/** Copies a short end of a loop (compare, branch) in place of a jump to it from inside the loop. */
export function copyTails(func: MachineFunc): void {
  for (const block of func.blocks) {
    const jump = block.insts.at(-1);
    const target = jump?.op === "jump" ? jump.targets![0]! : undefined;
    if (target === undefined || target === block || target.depth === 0 || block.depth < target.depth) continue;
    if (target.insts.length > COPY_LIMIT || target.insts.at(-1)!.op !== "branch") continue;
    block.insts.splice(-1, 1, ...target.insts.map(copyInst));
    block.succs.splice(0, block.succs.length, ...target.succs);
  }
}
