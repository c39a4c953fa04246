/** The instructions of a unit of a linked image. */
import { Decoder, DecoderOptions, Formatter, FormatterSyntax } from "iced-x86";
import type { LinkedImage } from "../../src/compiler/link.ts";

export function disassembled(image: LinkedImage, unit: string): string[] {
  const { address: start, size } = image.symbols.get(unit)!;
  const { text } = image.regions;
  const decoder = new Decoder(
    64,
    text.bytes.subarray(start - text.address, start - text.address + size),
    DecoderOptions.None,
  );
  decoder.ip = BigInt(start);
  const formatter = new Formatter(FormatterSyntax.Intel);
  const lines: string[] = [];
  while (decoder.canDecode) {
    const instruction = decoder.decode();
    lines.push(formatter.format(instruction));
    instruction.free();
  }
  formatter.free();
  decoder.free();
  return lines;
}
