import { Decoder, DecoderOptions, Formatter, FormatterSyntax, Mnemonic } from "iced-x86";
import { expect } from "vitest";
import type { LinkedImage } from "../../src/compiler/link.ts";

/** The text of each instruction of `bytes`, all of which must be instructions. */
export function disassemble(bytes: Uint8Array, address = 0): string[] {
  const decoder = new Decoder(64, bytes, DecoderOptions.None);
  decoder.ip = BigInt(address);
  const formatter = new Formatter(FormatterSyntax.Intel);
  const lines: string[] = [];
  while (decoder.canDecode) {
    const instruction = decoder.decode();
    expect(instruction.mnemonic).not.toBe(Mnemonic.INVALID);
    lines.push(formatter.format(instruction));
    instruction.free();
  }
  formatter.free();
  decoder.free();
  return lines;
}

/** The same of a linked unit of code, from a symbol in it on. */
export function disassembleUnit({ symbols, regions: { text } }: LinkedImage, unit: string, from = unit): string[] {
  const start = symbols.get(from)!.address;
  const { address, size } = symbols.get(unit)!;
  return disassemble(text.bytes.subarray(start - text.address, address + size - text.address), start);
}
