/** Bugs that compilers have, each as a change of one place in our compiler's source. Tests must notice every one. */

export interface Mutation {
  readonly name: string;
  /** In src/compiler. */
  readonly file: string;
  /** Occurs exactly once in the file. */
  readonly from: string;
  readonly to: string;
}

export const MUTATIONS: readonly Mutation[] = [
  {
    name: "the operands of a subtraction are swapped",
    file: "select-ops.ts",
    from: 'if (op !== "sub" && ((s.canFold(a)',
    to: "if (((s.canFold(a)",
  },
  {
    name: "an unsigned comparison is done signed",
    file: "select-ops.ts",
    from: 'lt_u: "b",',
    to: 'lt_u: "l",',
  },
  {
    name: "a 32-bit argument is not zero-extended",
    file: "select.ts",
    from: "param.type === 32 && this.#func.exported",
    to: "param.type === 32 && !this.#func.exported",
  },
  {
    name: "a constant shift count is masked for the other width",
    file: "select-ops.ts",
    from: "imm(b.imm % BigInt(width))",
    to: "imm(b.imm % 32n)",
  },
  {
    name: "a shift by a constant is folded with the wrong mask",
    file: "fold.ts",
    from: "return x << (y % width);",
    to: "return x << (y % 64n);",
  },
  {
    name: "the condition of a branch is negated",
    file: "codegen.ts",
    from: "a.jcc(negate(inst.cond!), this.#labels.get(otherwise)!)",
    to: "a.jcc(inst.cond!, this.#labels.get(otherwise)!)",
  },
  {
    name: "a spill slot is used again while it is needed",
    file: "spill.ts",
    from: "slots.set(group, func.slots++)",
    to: "slots.set(group, func.slots === 0 ? func.slots++ : 0)",
  },
  {
    name: "the seventh argument is looked for 8 bytes too low",
    file: "frame.ts",
    from: "8 * this.#saved.length + 8 + 8 * disp",
    to: "8 * this.#saved.length + 8 * disp",
  },
  {
    name: "a callee-saved register is not restored",
    file: "frame.ts",
    from: "return CALLEE_SAVED.filter((r) => defined.has(r));",
    to: "return CALLEE_SAVED.filter((r) => r !== RBP && defined.has(r));",
  },
  {
    name: "a register that a call spends is taken to survive it",
    file: "machine.ts",
    from: "RDI, R8, R9, R10, R11];",
    to: "RDI, R8, R9, R10];",
  },
  {
    name: "a load has the wrong width",
    file: "select-ops.ts",
    from: "address, { from: value.bits as 8 | 16 | 32 }",
    to: "address, { from: value.bits === 16 ? 8 : (value.bits as 8 | 32) }",
  },
  {
    name: "a load is moved across a store",
    file: "selection.ts",
    from: "this.#effects.get(value)! + 1 === this.#effectsBefore",
    to: "this.#effects.get(value)! <= this.#effectsBefore",
  },
  {
    name: "a subtraction of constants is folded wrongly",
    file: "fold.ts",
    from: "return x - y;",
    to: "return y - x;",
  },
  {
    name: "moves that happen at once are done one after the other",
    file: "select.ts",
    from: 'pending.some((move) => move.from.kind === "reg" && move.from.reg === r)',
    to: "pending.length > 5 && r < 0",
  },
  {
    name: "the last case of a jump table is left out",
    file: "select.ts",
    from: "imm(cases.length));",
    to: "imm(cases.length - 1));",
  },
  {
    name: "the type of a function in the table is not checked",
    file: "select-ops.ts",
    from: '{ cond: "ne", reason: NO_FUNCTION }',
    to: '{ cond: "p", reason: NO_FUNCTION }',
  },
  {
    name: "the remainder by -1 overflows",
    file: "select-ops.ts",
    from: "imm(-1));",
    to: "imm(-2));",
  },
  {
    name: "memory that overlaps is copied in the wrong direction",
    file: "runtime.ts",
    from: 'a.jcc("b", backward);',
    to: 'a.jcc("o", backward);',
  },
  {
    name: "an atomic operation gives the new value",
    file: "codegen.ts",
    from: "a.mov(64, scratch, rax);",
    to: "a.mov(64, scratch, rax);\n    a.alu(inst.sub as AluOp, inst.width, rax, this.#source(inst.b));",
  },
  {
    name: "the stack of a foreign call is not aligned",
    file: "frame.ts",
    from: "if (aligned) a.and(64, rsp, -16);",
    to: "if (aligned) a.and(64, rsp, -8);",
  },
];
