/** Places of variables through register allocation: a register counts as long as its value is live. */
import { liveAtEnd, stepBack } from "./liveness.ts";
import { FIRST_VIRTUAL, type MachineBlock, type MachineFunc, type Reg, type VariableAt, visit } from "./machine.ts";

/** The virtual registers that are written in more than one block: those of phis, and of what was duplicated. */
function writtenTwice(func: MachineFunc): Set<Reg> {
  const home = new Map<Reg, MachineBlock>();
  const out = new Set<Reg>();
  for (const block of func.blocks)
    for (const inst of block.insts)
      visit(
        inst,
        () => {},
        (r) => {
          if (r >= FIRST_VIRTUAL && (home.get(r) ?? block) !== block) out.add(r);
          home.set(r, block);
        },
      );
  return out;
}

/**
 * Replaces the virtual registers in `concerned` by their final places, and by nothing where they are not live. A phi is
 * written at the end of its predecessors; from there on its register holds the value of the next round.
 */
export function settle(func: MachineFunc, concerned: (r: Reg) => boolean, placeOf: (r: Reg) => VariableAt): void {
  if (!func.blocks.some(({ insts }) => insts.some(({ variables }) => variables !== undefined))) return;
  const ends = liveAtEnd(func);
  const again = writtenTwice(func);
  for (const block of func.blocks) {
    const written = new Map<Reg, number>();
    block.insts.forEach((inst, i) => {
      visit(
        inst,
        () => {},
        (r) => {
          if (again.has(r) && !written.has(r)) written.set(r, i);
        },
      );
    });
    const live = ends.get(block)!.copy();
    for (let i = block.insts.length - 1; i >= 0; i--) {
      stepBack(live, block, i);
      const inst = block.insts[i]!;
      inst.variables = inst.variables?.map((place) => {
        if (typeof place !== "number" || !concerned(place)) return place;
        return live.has(place) && i <= (written.get(place) ?? i) ? placeOf(place) : undefined;
      });
    }
  }
}
