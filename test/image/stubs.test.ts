import { Decoder, DecoderOptions, Formatter, FormatterSyntax, Mnemonic } from "iced-x86";
import { describe, expect, test } from "vitest";
import { link } from "../../src/compiler/link.ts";
import { landingStub } from "../../src/image/landing.ts";
import { entryStub } from "../../src/image/stubs.ts";

const hooks = {
  code: ["on_enter", "on_exit", "on_raw_exit", "on_unknown", "on_cancel_point", "on_cancel_return"].map((name) => ({
    name,
    bytes: Uint8Array.of(0xc3),
    relocs: [],
  })),
  data: [],
};
const image = link([entryStub(), landingStub(), hooks], { base: 0x10000 });
const address = (name: string): number => image.symbols.get(name)!.address;

const hex = (line: string | undefined): number => Number.parseInt(line!.match(/([0-9A-F]+)h/)![1]!, 16);

function disassemble(from: string): string[] {
  const start = address(from);
  const stub = image.symbols.get("zp_stub")!;
  const text = image.regions.text;
  const bytes = text.bytes.subarray(start - text.address, stub.address + stub.size - text.address);
  const decoder = new Decoder(64, bytes, DecoderOptions.None);
  decoder.ip = BigInt(start);
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

describe("the entry stub", () => {
  test("a number that nobody looks at costs five bytes and no flags", () => {
    expect(disassemble("zp_bypass").slice(0, 3)).toEqual(["syscall", "pop rcx", "jmp rcx"]);
  });

  test("lets known return addresses pass, and all others go to zp_unknown, without a change of flags", () => {
    const lines = disassemble("zp_entry");
    const end = lines.findIndex((line) => line.startsWith("jmp "));
    expect(lines.slice(0, end).filter((line) => !/^(mov|movzx|lea|jrcxz) /.test(line))).toEqual([]);
    expect(hex(lines[end - 1])).toBe(address("zp_known"));
    expect(hex(lines[end])).toBe(address("zp_unknown"));
  });

  test("looks up the action and leaves for the bypass before anything is changed", () => {
    const [table, action, branch, pop, frame] = disassemble("zp_known");
    expect(table).toMatch(/^lea r11,\[/);
    expect(hex(table)).toBe(address("zp_actions"));
    expect(action).toBe("movzx ecx,byte ptr [r11+rax]");
    expect(branch).toMatch(/^jrcxz /);
    expect(hex(branch)).toBe(address("zp_bypass"));
    expect(pop).toBe("pop rcx");
    expect(frame).toMatch(/^lea rsp,\[rsp-/);
  });

  test("has one `syscall` for each way to make the call, and leaves through rcx; by `ret` only without one, or to a function's caller", () => {
    const lines = disassemble("zp_bypass");
    expect(lines.filter((line) => line === "syscall")).toHaveLength(5);
    expect(lines.filter((line) => line === "jmp rcx")).toHaveLength(6);
    expect(lines.filter((line) => line === "ret")).toHaveLength(2);
    expect(lines.filter((line) => /^jmp r[^c]/.test(line))).toEqual([]);
  });

  test("touches no vector or x87 register", () => {
    expect(disassemble("zp_bypass").filter((line) => /[xyz]mm|\bst\b|\bmm\d/.test(line))).toEqual([]);
  });

  test("says where the caller's frame is at every instruction", () => {
    const { unwind = [], bytes } = entryStub().code[0]!;
    expect(unwind[0]!.at).toBe(0);
    expect(unwind.every((row, i) => row.at <= bytes.length && (i === 0 || row.at >= unwind[i - 1]!.at))).toBe(true);
  });
});
