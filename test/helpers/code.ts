/** Machine code as text, by iced-x86: what is relative is shown as what it means. */
import { Code, Decoder, DecoderOptions, type FlowControl, Instruction, OpKind } from "iced-x86";

export interface CodeLine {
  readonly address: number;
  readonly length: number;
  /** Addresses are absolute, and how far a jump reaches is left out. */
  readonly text: string;
  /** Of a direct branch or call. */
  readonly target: number | undefined;
  readonly flow: FlowControl;
}

/** The instructions of `bytes`, which stand at `address`; bytes that are none are left out one by one. */
export function* codeLines(bytes: Uint8Array, address: number): Generator<CodeLine> {
  const decoder = new Decoder(64, bytes, DecoderOptions.None);
  const insn = new Instruction();
  decoder.ip = BigInt(address);
  try {
    while (decoder.canDecode) {
      decoder.decodeOut(insn);
      const at = Number(insn.ip);
      if (insn.code === Code.INVALID) {
        decoder.position = at - address + 1;
        decoder.ip = BigInt(at + 1);
        continue;
      }
      const near = insn.op0Kind === OpKind.NearBranch64;
      yield {
        address: at,
        length: insn.length,
        text: insn.toString().replace(/ (short|near ptr) /, " "),
        target: near ? Number(insn.nearBranchTarget) : undefined,
        flow: insn.flowControl,
      };
    }
  } finally {
    insn.free();
    decoder.free();
  }
}
