/** iced-x86 as the oracle for what an instruction is. */
import {
  Code,
  CodeExt,
  Decoder,
  DecoderOptions,
  EncodingKind,
  FlowControl,
  Instruction,
  InstructionInfoFactory,
  MandatoryPrefix,
  Mnemonic,
  OpAccess,
  OpCodeTableKind,
  OpKind,
  Register,
  RegisterExt,
} from "iced-x86";

export interface OracleInsn {
  readonly length: number;
  readonly flow: FlowControl;
  readonly mnemonic: Mnemonic;
  readonly isCall: boolean;
  /** Low 32 bits of the target of a relative jump, branch or call. */
  readonly target: number | undefined;
  readonly ripRelative: boolean;
  /** Has a memory operand with ModRM; its base is 0…15, 16 (rip) or 255 (none), its displacement
   * the low 32 bits. */
  readonly memory: { readonly base: number; readonly displacement: number } | undefined;
  readonly displacementAt: number;
  readonly displacementSize: number;
}

const infos = new InstructionInfoFactory();
const WRITES = new Set([OpAccess.Write, OpAccess.CondWrite, OpAccess.ReadWrite, OpAccess.ReadCondWrite]);

/** Decodes at any offset of one block of code. `address` is that of its first byte. */
export class Oracle {
  readonly #decoder: Decoder;
  readonly #insn = new Instruction();
  readonly #address: number;

  constructor(bytes: Uint8Array, address: number) {
    this.#decoder = new Decoder(64, bytes, DecoderOptions.None);
    this.#address = address;
  }

  free(): void {
    this.#decoder.free();
    this.#insn.free();
  }

  /** Length of the instruction at `offset`, 0 when there is none. Later questions are about this instruction. */
  at(offset: number): number {
    this.#decoder.position = offset;
    this.#decoder.ip = BigInt(this.#address + offset);
    this.#decoder.decodeOut(this.#insn);
    return this.#insn.code === Code.INVALID ? 0 : this.#insn.length;
  }

  text(): string {
    return this.#insn.toString();
  }

  details(): OracleInsn {
    const insn = this.#insn;
    const constants = this.#decoder.getConstantOffsets(insn);
    const near = [OpKind.NearBranch16, OpKind.NearBranch32, OpKind.NearBranch64].includes(insn.op0Kind);
    const hasMemory = Array.from({ length: insn.opCount }, (_, i) => insn.opKind(i)).includes(OpKind.Memory);
    const explicit =
      hasMemory && !ADDRESS_ONLY.has(insn.mnemonic) && !isMoffs(insn.code) && insn.mnemonic !== Mnemonic.Xlatb;
    const base = insn.memoryBase;
    const result = {
      length: insn.length,
      flow: insn.flowControl,
      mnemonic: insn.mnemonic,
      isCall: insn.flowControl === FlowControl.Call || insn.flowControl === FlowControl.IndirectCall,
      target: near ? Number(BigInt.asUintN(32, insn.nearBranchTarget)) : undefined,
      ripRelative: insn.isIpRelMemoryOperand,
      memory: explicit
        ? {
            base: base === Register.None ? 255 : insn.isIpRelMemoryOperand ? 16 : RegisterExt.number(base),
            displacement: Number(BigInt.asIntN(32, insn.memoryDisplacement)),
          }
        : undefined,
      displacementAt: constants.displacementOffset,
      displacementSize: isMoffs(insn.code) ? 0 : constants.displacementSize,
    };
    constants.free();
    return result;
  }

  /** Whether the instruction changes rsp. */
  writesSp(): boolean {
    const info = infos.info(this.#insn);
    let result = false;
    for (const used of info.usedRegisters()) {
      if (RegisterExt.fullRegister(used.register) === Register.RSP && WRITES.has(used.access)) result = true;
      used.free();
    }
    info.free();
    return result;
  }
}

/** ModRM names an address here, but the instruction does not touch the memory. */
const ADDRESS_ONLY = new Set(
  Object.entries(Mnemonic)
    .filter(([name]) => /^(Lea|Nop|Reservednop|Prefetch\w*|Cldemote|Bnd\w+)$/.test(name))
    .map(([, value]) => value as Mnemonic),
);

function isMoffs(code: Code): boolean {
  return code >= Code.Mov_AL_moffs8 && code <= Code.Mov_moffs64_RAX;
}

/** Names of all VEX and EVEX opcodes: encoding, map, opcode, mandatory prefix as VEX.pp counts them. */
export function vectorOpcodes(): Set<string> {
  const result = new Set<string>();
  for (const code of Object.values(Code)) {
    if (typeof code !== "number") continue;
    const info = CodeExt.opCode(code);
    const encoding = info.encoding === EncodingKind.VEX ? "vex" : info.encoding === EncodingKind.EVEX ? "evex" : "";
    if (encoding && info.mode64) {
      const opcode = info.opCodeLength === 2 ? info.opCode >> 8 : info.opCode;
      result.add(`${encoding} ${MAPS.get(info.table)} ${opcode} ${IMPLIED.get(info.mandatoryPrefix)}`);
    }
    info.free();
  }
  return result;
}

const MAPS = new Map([
  [OpCodeTableKind.T0F, 1],
  [OpCodeTableKind.T0F38, 2],
  [OpCodeTableKind.T0F3A, 3],
  [OpCodeTableKind.MAP5, 5],
  [OpCodeTableKind.MAP6, 6],
]);

const IMPLIED = new Map([
  [MandatoryPrefix.None, 0],
  [MandatoryPrefix.PNP, 0],
  [MandatoryPrefix.P66, 1],
  [MandatoryPrefix.PF3, 2],
  [MandatoryPrefix.PF2, 3],
]);
