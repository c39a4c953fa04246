/** Compiled code against its own claims, by following every path: unwind rows, red zone, instructions, stack bound. */
import {
  CpuidFeature,
  Decoder,
  DecoderOptions,
  FlowControl,
  type Instruction,
  InstructionInfoFactory,
  Mnemonic,
  OpAccess,
  OpKind,
  Register,
  RegisterExt,
} from "iced-x86";
import { beforeAll, describe, expect, test } from "vitest";
import { compileGuest } from "../../src/compiler/compile.ts";
import type { CodeUnit, ObjectFile } from "../../src/compiler/object.ts";
import { callAll, compileText, i64, repository } from "./guest-fixture.ts";

/** Registers that a function gives back: iced's number → DWARF's. */
const CALLEE_SAVED = new Map([
  [Register.RBX, 3],
  [Register.RBP, 6],
  [Register.R12, 12],
  [Register.R13, 13],
  [Register.R14, 14],
  [Register.R15, 15],
]);
const DWARF_RBP = 6;
const DWARF_RSP = 7;
const WRITES: ReadonlySet<OpAccess> = new Set([
  OpAccess.Write,
  OpAccess.CondWrite,
  OpAccess.ReadWrite,
  OpAccess.ReadCondWrite,
]);
const infos = new InstructionInfoFactory();

/** What is true before an instruction. The CFA is the stack pointer of the caller before its call. */
interface State {
  /** CFA - rsp, if that is known. */
  readonly depth: number | undefined;
  /** CFA - rbp, if rbp is a frame pointer. */
  readonly frame: number | undefined;
  /** DWARF number → CFA - where it was pushed. */
  readonly pushed: ReadonlyMap<number, number>;
  /** Callee-saved registers that do not hold what the caller left in them. */
  readonly changed: ReadonlySet<number>;
}

const sameFrame = (a: State, b: State): boolean =>
  a.depth === b.depth && a.frame === b.frame && String([...a.pushed]) === String([...b.pushed]);

/** Where two paths meet, a register is changed if it is on either. Undefined: nothing new. */
function meet(known: State, state: State): State | undefined {
  const changed = new Set([...known.changed, ...state.changed]);
  return changed.size === known.changed.size ? undefined : { ...known, changed };
}

function step(insn: Instruction, before: State): State {
  let { depth, frame } = before;
  const pushed = new Map(before.pushed);
  const changed = new Set(before.changed);
  const info = infos.info(insn);
  const written = info
    .usedRegisters()
    .filter((used) => WRITES.has(used.access))
    .map((used) => RegisterExt.fullRegister(used.register));
  const to = insn.opCount > 0 && insn.op0Kind === OpKind.Register ? insn.op0Register : Register.None;
  if (insn.mnemonic === Mnemonic.Push) {
    depth = depth! + 8;
    const dwarf = CALLEE_SAVED.get(to);
    if (dwarf !== undefined && !changed.has(dwarf)) pushed.set(dwarf, depth);
  } else if (insn.mnemonic === Mnemonic.Pop) {
    const dwarf = CALLEE_SAVED.get(to);
    if (dwarf !== undefined && pushed.get(dwarf) === depth) {
      pushed.delete(dwarf);
      changed.delete(dwarf);
      if (to === Register.RBP) frame = undefined;
    }
    depth = depth! - 8;
    return { depth, frame, pushed, changed };
  } else if (insn.mnemonic === Mnemonic.Sub && to === Register.RSP) depth = depth! + Number(insn.immediate(1));
  else if (insn.mnemonic === Mnemonic.Add && to === Register.RSP) depth = depth! - Number(insn.immediate(1));
  else if (insn.mnemonic === Mnemonic.And && to === Register.RSP) depth = undefined;
  else if (insn.mnemonic === Mnemonic.Lea && to === Register.RSP)
    depth = frame! - Number(BigInt.asIntN(64, insn.memoryDisplacement));
  else if (insn.mnemonic === Mnemonic.Mov && to === Register.RBP && insn.op1Register === Register.RSP) {
    frame = depth;
    changed.add(DWARF_RBP);
    return { depth, frame, pushed, changed };
  }
  for (const register of written) {
    const dwarf = CALLEE_SAVED.get(register);
    if (dwarf === undefined) continue;
    changed.add(dwarf);
    if (register === Register.RBP) frame = undefined;
  }
  return { depth, frame, pushed, changed };
}

/** What is wrong with a unit: with its unwind rows, or with the instructions it uses. */
function problemsOf(unit: CodeUnit, tableTargets: readonly number[]): string[] {
  const problems: string[] = [];
  const decoder = new Decoder(64, unit.bytes, DecoderOptions.None);
  const instructions = new Map(decoder.decodeAll().map((insn) => [Number(insn.ip), insn]));
  const states = new Map<number, State>();
  const work: [number, State][] = [[0, { depth: 8, frame: undefined, pushed: new Map(), changed: new Set() }]];
  for (const target of work) {
    const at = target[0];
    let state = target[1];
    const known = states.get(at);
    if (known !== undefined) {
      if (!sameFrame(state, known)) problems.push(`${unit.name}+${at}: two frames meet`);
      const joined = meet(known, state);
      if (joined === undefined) continue;
      state = joined;
    }
    states.set(at, state);
    const insn = instructions.get(at);
    if (insn === undefined) {
      problems.push(`${unit.name}+${at}: no instruction`);
      continue;
    }
    problems.push(...checkRow(unit, at, state), ...checkInstruction(unit, insn));
    const after = step(insn, state);
    const next = at + insn.length;
    if (insn.flowControl === FlowControl.Return) {
      if (state.depth !== 8 || state.changed.size > 0) problems.push(`${unit.name}+${at}: returns with a wrong frame`);
    } else if (insn.flowControl === FlowControl.UnconditionalBranch) work.push([Number(insn.nearBranchTarget), after]);
    else if (insn.flowControl === FlowControl.ConditionalBranch)
      work.push([Number(insn.nearBranchTarget), after], [next, after]);
    else if (insn.flowControl === FlowControl.IndirectBranch)
      work.push(...tableTargets.map((t): [number, State] => [t, after]));
    else if (insn.mnemonic !== Mnemonic.Ud2) work.push([next, after]);
  }
  // What stands before an aligned loop need not be reached.
  const counts = ([at, insn]: [number, Instruction]): boolean => states.has(at) || insn.mnemonic === Mnemonic.Nop;
  const reached = [...instructions].filter(counts).reduce((sum, [, insn]) => sum + insn.length, 0);
  if (reached !== unit.bytes.length)
    problems.push(`${unit.name}: ${unit.bytes.length - reached} bytes are never reached`);
  return problems;
}

function checkRow(unit: CodeUnit, at: number, state: State): string[] {
  const row = unit.unwind?.findLast((r) => r.at <= at);
  if (row === undefined) return [`${unit.name}+${at}: no unwind row`];
  const expected = row.cfa.reg === DWARF_RSP ? state.depth : row.cfa.reg === DWARF_RBP ? state.frame : undefined;
  const problems: string[] = [];
  if (row.cfa.offset !== expected)
    problems.push(`${unit.name}+${at}: CFA is r${row.cfa.reg}+${row.cfa.offset}, found ${expected}`);
  const saved = new Map(row.saved);
  for (const register of state.changed)
    if (saved.get(register) !== -state.pushed.get(register)!)
      problems.push(`${unit.name}+${at}: r${register} is not where the row says`);
  for (const [register, offset] of saved)
    if (state.pushed.get(register) !== -offset)
      problems.push(`${unit.name}+${at}: r${register} is not saved yet, or no more`);
  return problems;
}

const STRING_OPERATIONS: ReadonlySet<Mnemonic> = new Set([
  Mnemonic.Movsb,
  Mnemonic.Movsd,
  Mnemonic.Movsq,
  Mnemonic.Stosb,
  Mnemonic.Stosq,
  Mnemonic.Cmpsb,
  Mnemonic.Scasb,
]);
const BASELINE: ReadonlySet<CpuidFeature> = new Set([
  CpuidFeature.INTEL8086,
  CpuidFeature.INTEL186,
  CpuidFeature.INTEL286,
  CpuidFeature.INTEL386,
  CpuidFeature.INTEL486,
  CpuidFeature.X64,
  CpuidFeature.CMOV,
  CpuidFeature.TSC,
  CpuidFeature.SYSCALL,
  CpuidFeature.PAUSE,
  CpuidFeature.POPCNT,
  CpuidFeature.BMI1, // tzcnt, which is bsf where it is not known
  CpuidFeature.SSE2, // mfence
  CpuidFeature.FSGSBASE,
  CpuidFeature.MULTIBYTENOP,
]);

function checkInstruction(unit: CodeUnit, insn: Instruction): string[] {
  const problems: string[] = [];
  const place = `${unit.name}+${insn.ip}: ${insn}`;
  const info = infos.info(insn);
  const registers = info.usedRegisters().map((used) => used.register);
  if (registers.some((r) => RegisterExt.isVectorRegister(r) || RegisterExt.isMM(r) || RegisterExt.isST(r)))
    problems.push(`${place}: vector register`);
  if (STRING_OPERATIONS.has(insn.mnemonic)) problems.push(`${place}: depends on the direction flag`);
  if (insn.cpuidFeatures().some((feature) => !BASELINE.has(feature)))
    problems.push(`${place}: needs a newer processor`);
  const below = insn.memoryBase === Register.RSP && BigInt.asIntN(64, insn.memoryDisplacement) < 0n;
  if (below) problems.push(`${place}: red zone`);
  return problems;
}

function problemsOfObject(object: ObjectFile): string[] {
  return object.code.flatMap((unit) => {
    const targets = object.data.flatMap((table) =>
      table.relocs
        .filter((reloc) => reloc.kind === "rel32" && reloc.symbol === unit.name)
        .map((reloc) => reloc.addend - reloc.at - 4),
    );
    return problemsOf(unit, [...new Set(targets)]);
  });
}

describe("the guest of this project", () => {
  let object: ObjectFile;
  beforeAll(async () => {
    ({ object } = await compileGuest({ entry: `${repository}/guest/main.ts`, root: repository }));
  });

  test("every instruction has the right unwind row, and none is of a kind that must not be", () => {
    expect(object.code.length).toBeGreaterThan(10);
    expect(problemsOfObject(object)).toEqual([]);
  });

  test("line rows name guest files, in order", () => {
    for (const { name, lines = [] } of object.code.filter((unit) => !unit.name.startsWith("zpoline."))) {
      expect(lines.length, name).toBeGreaterThan(0);
      expect(lines[0]!.at).toBe(0);
      for (const [i, row] of lines.entries()) {
        expect(row.file).toMatch(/^(guest|src\/image|~lib)\/.*\.ts$/);
        if (i > 0) expect(row.at).toBeGreaterThanOrEqual(lines[i - 1]!.at);
      }
    }
  });
});

const DEEP = `
// @ts-ignore: decorator
@external("zpoline", "call2") declare function call2(f: u64, a: u64, b: u64): u64;
// @ts-ignore: decorator
@external("symbol", "leaf") declare function leafAddress(): u64;
let sink: u64 = 0;
export function leaf(a: u64, b: u64): u64 { sink += a * b; return sink; }
function many(p: usize, a: u64, b: u64, c: u64, d: u64, e: u64, f: u64, g: u64): u64 {
  const v0 = load<u64>(p), v1 = load<u64>(p, 8), v2 = load<u64>(p, 16), v3 = load<u64>(p, 24);
  const v4 = load<u64>(p, 32), v5 = load<u64>(p, 40), v6 = load<u64>(p, 48), v7 = load<u64>(p, 56);
  const x = leaf(v0 + a, v1 + b) + leaf(v2 + c, v3 + d);
  const y = leaf(v4 + e, v5 + f) + leaf(v6 + g, v7 + a);
  return x * v0 + y * v1 + v2 * v3 + v4 * v5 + v6 * v7 + a * b * c + d * e * f * g;
}
export function deep(p: usize, a: u64): u64 {
  return many(p, a, 1, 2, 3, 4, 5, 6) + many(p + 8, a + 1, a, a + 2, a + 3, a * 5, a + 7, a - 9);
}
export function foreign(p: usize, a: u64): u64 { return call2(leafAddress(), a, 7) + many(p, a, a, a, a, a, a, 1); }
`;

describe("stack", () => {
  test("frames with spilled registers and arguments on the stack are exact, and as deep as they say", async () => {
    const { object, entries } = await compileText({ "main.ts": DEEP });
    expect(problemsOfObject(object)).toEqual([]);
    const memory = {
      name: "memory",
      bytes: Uint8Array.from({ length: 128 }, (_, i) => i),
      size: 128,
      align: 8,
      writable: true,
      relocs: [],
    };
    const stackOf = new Map(entries.map((entry) => [entry.name, entry.maxStack!]));
    // 0x2000_0000_0000 - 4096 is mapped: the stack of the calls.
    const somewhere = i64(0x2000_0000_0000n - 4096n * 8n);
    for (const name of ["leaf", "deep"]) {
      const [result] = callAll([object, { code: [], data: [memory] }], [[name, somewhere, i64(3)]], 64);
      expect(result!.depth, name).toBe(stackOf.get(name));
    }
    // The caller's alignment decides whether 8 bytes are skipped, and the callee is foreign.
    const results = callAll(
      [object],
      [
        ["foreign", somewhere, i64(3)],
        ["foreign", somewhere, i64(3)],
      ],
      64,
    );
    for (const result of results) expect(result.depth).toBeLessThanOrEqual(stackOf.get("foreign")!);
  });
});
