import { Decoder, DecoderOptions, Formatter, FormatterSyntax, Mnemonic } from "iced-x86";
import { describe, expect, test } from "vitest";
import { link } from "../../src/compiler/link.ts";
import { INTERNED_HANDLER, INTERNED_RESTORER, INTERNED_SELF } from "../../src/image/layout.ts";
import { signalStub } from "../../src/image/signal-stub.ts";

const image = link([signalStub()], { base: 0x10000 });
const stub = image.symbols.get("zp_signal")!;

/** Offset and text of each instruction, and by how much it moves rsp. */
function instructions(): { at: number; text: string; moved: number }[] {
  const text = image.regions.text;
  const bytes = text.bytes.subarray(stub.address - text.address, stub.address - text.address + stub.size);
  const decoder = new Decoder(64, bytes, DecoderOptions.None);
  decoder.ip = BigInt(stub.address);
  const formatter = new Formatter(FormatterSyntax.Intel);
  const list: { at: number; text: string; moved: number }[] = [];
  while (decoder.canDecode) {
    const instruction = decoder.decode();
    expect(instruction.mnemonic).not.toBe(Mnemonic.INVALID);
    const written = formatter.format(instruction);
    const [, sign, size] = written.match(/^lea rsp,\[rsp([+-])([0-9A-F]+)h?\]/) ?? [];
    const moved = size ? Number.parseInt(`${sign}${size}`, 16) : instruction.stackPointerIncrement;
    list.push({ at: Number(instruction.ip) - stub.address, text: written, moved });
    instruction.free();
  }
  formatter.free();
  decoder.free();
  return list;
}

describe("the handler of the program's signals", () => {
  const list = instructions();
  const lines = list.map(({ text }) => text);

  test("goes to the program's handler with its restorer in place, and all registers as the kernel set them", () => {
    const end = lines.findIndex((line) => line.startsWith("jmp "));
    expect(INTERNED_SELF).toBe(0);
    expect(lines.slice(0, end + 1)).toEqual([
      "mov rax,[rsp]",
      "cmp [rax],rax",
      expect.stringMatching(/^jne /),
      `push qword ptr [rax+${INTERNED_HANDLER}]`,
      `mov rax,[rax+${INTERNED_RESTORER.toString(16)}h]`,
      "mov [rsp+8],rax",
      "mov eax,0",
      "lea rsp,[rsp+8]",
      "jmp qword ptr [rsp-8]",
    ]);
  });

  test("changes no register but rax", () => {
    const changed = lines.flatMap((line) => line.match(/^(?:mov|lea|pop|xor|add|sub) ([a-z0-9]+),/)?.[1] ?? []);
    expect(new Set(changed)).toEqual(new Set(["rax", "eax", "rsp"]));
  });

  test("says where the interrupted registers are at every instruction", () => {
    const { contexts = [] } = signalStub().code[0]!;
    const offsetAt = (at: number) => contexts.findLast((row) => row.at <= at)!.offset;
    expect(contexts[0]).toEqual({ at: 0, offset: 8 });
    for (const [i, { at, text, moved }] of list.entries()) {
      const next = list[i + 1];
      if (next === undefined || /^(jmp|ret)/.test(text)) continue;
      expect(offsetAt(next.at), text).toBe(offsetAt(at) - moved);
    }
  });
});
