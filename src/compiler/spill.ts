/** Moves registers to the stack: each use and definition goes through memory, or a short-lived register. */
import {
  type Inst,
  isReg,
  type MachineFunc,
  type MachineOp,
  type MemRef,
  modeOf,
  type Operand,
  type Reg,
  reg,
  rename,
  visit,
} from "./machine.ts";
import { settle } from "./settle.ts";

/** Instructions whose operand b may be memory (64 bits of it are valid in a slot), when a is none. */
const MEMORY_B: ReadonlySet<MachineOp> = new Set<MachineOp>([
  "alu",
  "cmp",
  "imul",
  "imul3",
  "cmov",
  "movsx",
  "movzx",
  "popcnt",
  "copy",
]);
/** Instructions whose operand a may be memory although it is only read, when b is none. */
const MEMORY_A: ReadonlySet<MachineOp> = new Set<MachineOp>(["cmp", "test", "divide"]);

/** The instruction that alone defines a register, if it can be repeated anywhere: a constant or an address. */
function repeatable(func: MachineFunc, registers: ReadonlySet<Reg>): Map<Reg, Inst> {
  const out = new Map<Reg, Inst>();
  const seen = new Set<Reg>();
  for (const block of func.blocks) {
    for (const inst of block.insts) {
      visit(
        inst,
        () => {},
        (r) => {
          if (!registers.has(r)) return;
          const constant = inst.op === "mov" && inst.b?.kind === "imm";
          const address = inst.op === "lea" && inst.b?.kind === "mem" && inst.b.symbol !== undefined;
          if (!seen.has(r) && (constant || address)) out.set(r, inst);
          else out.delete(r);
          seen.add(r);
        },
      );
    }
  }
  return out;
}

const occurs = (inst: Inst, r: Reg): number => {
  let count = 0;
  for (const operand of [inst.a, inst.b]) {
    if (isReg(operand) && operand.reg === r) count++;
    if (operand?.kind === "mem") count += (operand.base === r ? 1 : 0) + (operand.index === r ? 1 : 0);
  }
  return count + (inst.c === r ? 1 : 0);
};

/** Reads `r` from memory inside `inst` itself; false if it cannot. */
function foldUse(inst: Inst, r: Reg, slot: MemRef): boolean {
  if (occurs(inst, r) !== 1) return false;
  if (isReg(inst.b) && inst.b.reg === r && MEMORY_B.has(inst.op) && isReg(inst.a)) {
    inst.b = slot;
    return true;
  }
  if (
    isReg(inst.a) &&
    inst.a.reg === r &&
    modeOf(inst, "a") === "u" &&
    MEMORY_A.has(inst.op) &&
    inst.b?.kind !== "mem"
  ) {
    inst.a = slot;
    return true;
  }
  return false;
}

/**
 * Spills `members`. Registers with the same `alias` share a slot. The short-lived registers that take their place are
 * added to `unspillable`.
 */
export function spill(
  func: MachineFunc,
  members: ReadonlySet<Reg>,
  alias: (r: Reg) => Reg,
  unspillable: Set<Reg>,
): void {
  const again = repeatable(func, members);
  const slots = new Map<Reg, number>();
  const slotOf = (r: Reg): MemRef => {
    const group = alias(r);
    if (!slots.has(group)) slots.set(group, func.slots++);
    return { kind: "mem", stack: "slot", disp: slots.get(group)! };
  };
  // A group of several registers is repeatable only as a whole; keep to single ones.
  const groups = new Map<Reg, number>();
  for (const r of members) groups.set(alias(r), (groups.get(alias(r)) ?? 0) + 1);
  for (const r of [...again.keys()]) if (groups.get(alias(r))! > 1) again.delete(r);

  // Slots are numbered by the code alone, so that variables do not change it.
  const places = new Map<Reg, { slot: number }>();
  settle(
    func,
    (r) => members.has(r),
    (r) => {
      if (again.has(r)) return undefined;
      const place = places.get(alias(r)) ?? { slot: -1 };
      places.set(alias(r), place);
      return place;
    },
  );
  for (const block of func.blocks) {
    const out: Inst[] = [];
    for (const inst of block.insts) {
      const used = new Set<Reg>();
      const defined = new Set<Reg>();
      visit(
        inst,
        (r) => {
          if (members.has(r)) used.add(r);
        },
        (r) => {
          if (members.has(r)) defined.add(r);
        },
      );
      if (used.size === 0 && defined.size === 0) {
        out.push(inst);
        continue;
      }
      if ([...defined].some((r) => again.get(r) === inst)) continue;
      const isCopy = inst.op === "copy" && isReg(inst.a) && isReg(inst.b);
      if (
        isCopy &&
        used.size + defined.size === 2 &&
        alias((inst.a as { reg: Reg }).reg) === alias((inst.b as { reg: Reg }).reg)
      )
        continue;
      const temporary = new Map<Reg, Reg>();
      const temp = (r: Reg): Reg => {
        let t = temporary.get(r);
        if (t === undefined) {
          t = func.registers++;
          unspillable.add(t);
          temporary.set(r, t);
        }
        return t;
      };
      const before: Inst[] = [];
      const after: Inst[] = [];
      const move = (a: Operand, b: Operand): Inst => ({ op: "mov", width: 64, a, b, at: inst.at });
      const { variables } = inst;
      let current = inst;
      for (const r of used) {
        const repeat = again.get(r);
        if (repeat !== undefined) before.push({ ...repeat, a: reg(temp(r)), b: { ...repeat.b! }, at: inst.at });
        else if (!defined.has(r) && !(isCopy && defined.size > 0) && foldUse(current, r, slotOf(r))) {
          if (isCopy) current = { ...current, op: "mov" };
        } else before.push({ ...move(reg(temp(r)), slotOf(r)), variables });
      }
      for (const r of defined) {
        if (isCopy) current = move(slotOf(r), current.b!);
        else if (inst.op !== "undef") after.push(move(slotOf(r), reg(temp(r))));
      }
      if (inst.op === "undef") continue;
      rename(current, (r) => temporary.get(r) ?? r);
      out.push(...before, current, ...after);
    }
    block.insts = out;
  }
  for (const [group, place] of places) place.slot = slots.get(group) ?? -1;
}
