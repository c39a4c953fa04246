/** Variables of loops that stay a constant distance apart need one register, not two. */
import { type Block, constant, type Func, makeValue, phis, truncate, type Value } from "./ir.ts";

const sameValue = (a: Value, b: Value): boolean =>
  a === b || (a.op === "const" && b.op === "const" && a.imm === b.imm && a.type === b.type);

/** `to` = `from` + the constant. */
function isSum(to: Value, from: Value, step: Value): boolean {
  if (to.op === "const" && from.op === "const") return to.imm === truncate(to.type, from.imm + step.imm);
  return to.op === "add" && sameValue(to.args[0]!, from) && sameValue(to.args[1]!, step);
}

/** The phi that is always `phi` + `step`: it starts so, and `phi` follows it by one round. */
function leaderOf(phi: Value): { readonly leader: Value; readonly step: Value } | undefined {
  for (const leader of phi.args) {
    if (leader === phi || leader.op !== "phi" || leader.block !== phi.block || leader.type !== phi.type) continue;
    const next = leader.args[phi.args.indexOf(leader)]!;
    const step = next.args[1];
    if (next.op !== "add" || step?.op !== "const" || next.args[0] !== leader) continue;
    const follows = phi.args.every((arg, i) =>
      arg === leader ? isSum(leader.args[i]!, leader, step) : isSum(leader.args[i]!, arg, step),
    );
    if (follows) return { leader, step };
  }
  return undefined;
}

/** Replaces phis that follow another one at a constant distance; true if there were any. */
export function mergeInductions(func: Func): boolean {
  let changed = false;
  const merge = (block: Block): void => {
    for (const phi of phis(block)) {
      const found = leaderOf(phi);
      if (found === undefined) continue;
      const { leader, step } = found;
      const distance = constant(func, phi.type || 64, -step.imm);
      const sum = makeValue(func, block, "add", phi.type, [leader, distance], { at: phi.at });
      const others = block.values.filter((value) => value !== phi);
      const first = others.findIndex((value) => value.op !== "phi");
      others.splice(first < 0 ? others.length : first, 0, sum);
      block.values = others;
      for (const other of func.blocks) {
        for (const value of other.values)
          if (value !== sum) value.args = value.args.map((arg) => (arg === phi ? sum : arg));
        other.end.args = other.end.args.map((arg) => (arg === phi ? sum : arg));
      }
      changed = true;
    }
  };
  for (const block of func.blocks) if (block.preds.length > 1) merge(block);
  return changed;
}
