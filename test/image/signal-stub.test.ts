import { Decoder, DecoderOptions, Formatter, FormatterSyntax, Mnemonic } from "iced-x86";
import { describe, expect, test } from "vitest";
import { link } from "../../src/compiler/link.ts";
import { UC_R8 } from "../../src/compiler/ucontext.ts";
import { INTERNED_HANDLER, INTERNED_RETURN, INTERNED_SELF, SHOWN_SIZE, SHOWN_WORDS } from "../../src/image/layout.ts";
import { signalStub } from "../../src/image/signal-stub.ts";

const guest = {
  code: ["zp_guest_text", "zp_stub_pools", "zp_jump_entry", "on_signal", "on_signal_return"].map((name) => ({
    name,
    bytes: Uint8Array.of(0xc3),
    relocs: [],
  })),
  data: [],
};
const image = link([signalStub(), guest], { base: 0x10000 });

/** Offset and text of each instruction, and by how much it moves rsp. */
function instructions(stub = image.symbols.get("zp_signal")!): { at: number; text: string; moved: number }[] {
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
    const ownMove = written.startsWith("call ") ? 0 : instruction.stackPointerIncrement;
    const moved = size ? Number.parseInt(`${sign}${size}`, 16) : ownMove;
    list.push({ at: Number(instruction.ip) - stub.address, text: written, moved });
    instruction.free();
  }
  formatter.free();
  decoder.free();
  return list;
}

test("handlers return by a call that is made as one from a jump patch", () => {
  const lines = instructions(image.symbols.get("zp_handler_restorer")!).map(({ text }) => text);
  expect(lines).toEqual([
    "nop",
    "mov eax,0Fh",
    expect.stringMatching(/^lea rcx,\[[0-9A-F]+h\]$/),
    expect.stringMatching(/^jmp /),
    "nop",
  ]);
});

describe("the handler of the program's signals", () => {
  const list = instructions();
  const lines = list.map(({ text }) => text);

  test("goes to the program's handler with its restorer in place, and all registers as the kernel set them", () => {
    const start = lines.indexOf("mov rax,[rsp]");
    expect(INTERNED_SELF).toBe(0);
    expect(lines[0]).toMatch(/^mov byte ptr \[[0-9A-F]+h\],1$/); // zp_handled
    expect(lines.slice(start, start + 9)).toEqual([
      "mov rax,[rsp]",
      "cmp [rax],rax",
      expect.stringMatching(/^jne /),
      `push qword ptr [rax+${INTERNED_HANDLER}]`,
      `mov rax,[rax+${INTERNED_RETURN.toString(16)}h]`,
      "mov [rsp+8],rax",
      "mov eax,0",
      "lea rsp,[rsp+8]",
      "jmp qword ptr [rsp-8]",
    ]);
  });

  test("changes no register but rax: rcx comes back on every way", () => {
    const way = lines.slice(0, lines.indexOf("mov rax,[rsp]"));
    expect(way.filter((line) => line === "mov [rsp-10h],rcx")).toHaveLength(1);
    expect(way.filter((line) => line === "mov rcx,[rsp-10h]")).toHaveLength(3);
    const pushes = lines.flatMap((line) => line.match(/^push (r\w+)$/)?.[1] ?? []);
    const pops = lines.flatMap((line) => line.match(/^pop (r\w+)$/)?.[1] ?? []);
    expect(pushes).toEqual(["rdi", "rsi", "rdx", "rcx", "r8", "r9", "r10", "r11"]);
    expect(pops).toEqual(pushes.toReversed());
  });

  test("keeps the stack aligned as the ABI has it, for the guest and for a handler that it calls", () => {
    expect(SHOWN_SIZE % 16).toBe(8);
    expect(SHOWN_SIZE).toBeGreaterThanOrEqual(2 * 8 * SHOWN_WORDS);
  });

  test("says where the interrupted registers are at every instruction", () => {
    const { contexts = [] } = signalStub().code[0]!;
    const offsetAt = (at: number) => contexts.findLast((row) => row.at <= at)!.offset;
    expect(contexts[0]).toEqual({ at: 0, offset: 8 });
    // In the context itself, or in the copy of its registers.
    const copied = SHOWN_SIZE + 8 + UC_R8;
    for (const [i, { at, text, moved }] of list.entries()) {
      const next = list[i + 1];
      if (next === undefined || /^(jmp|ret)/.test(text)) continue;
      expect([0, copied, -copied], text).toContain(offsetAt(next.at) - offsetAt(at) + moved);
    }
    expect(list.filter(({ at }) => offsetAt(at) < 0).map(({ text }) => text.split(" ")[0])).toContain("call");
  });
});
