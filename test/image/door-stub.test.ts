/** The first and the last instructions of zpoline-exec. */
import { describe, expect, test } from "vitest";
import { link } from "../../src/compiler/link.ts";
import { doorStub } from "../../src/image/door-stub.ts";
import { disassembleUnit } from "../helpers/disassemble.ts";

const onStart = { code: [{ name: "on_start", bytes: Uint8Array.of(0xc3), relocs: [] }], data: [] };
const image = link([doorStub(), onStart], { base: 0x10000, provided: { __rela_start: 0x10100, __rela_end: 0x10130 } });
const address = (name: string): number => image.symbols.get(name)!.address;

const at = (name: string, offset = 0): string => `[${(address(name) + offset).toString(16).toUpperCase()}h]`;

describe("the stub of the loader door", () => {
  const lines = disassembleUnit(image, "_start");

  test("adds the place of the image to its pointers, before anything else", () => {
    const [first, second, third] = lines;
    expect([first, second, third]).toEqual(["lea rax,[10100h]", "lea rcx,[10130h]", "lea rdx,[10000h]"]);
    expect(lines.slice(5, 11)).toEqual([
      "mov rsi,[rax]",
      "mov rdi,[rax+10h]",
      "add rdi,rdx",
      "add rsi,rdx",
      "mov [rsi],rdi",
      "add rax,18h",
    ]);
  });

  test("runs the guest on a stack of its own, and leaves that of the program as it is", () => {
    const call = lines.findIndex((line) => line.startsWith("call "));
    expect(lines.slice(call - 3, call)).toEqual([
      "mov rdi,rsp",
      `lea rsi,${at("zp_door_entry")}`,
      `lea rsp,${at("zp_door_stack", 8192)}`,
    ]);
    expect(lines.slice(call + 1, call + 4)).toEqual(["push 202h", "popfq", "mov rsp,rax"]);
  });

  test("begins the program with all registers 0, and changes no flag any more", () => {
    const leaving = lines.slice(lines.indexOf("mov rsp,rax") + 1);
    expect(leaving.pop()).toBe(`jmp qword ptr ${at("zp_door_entry")}`);
    expect(leaving.sort()).toEqual(
      ["eax", "ebx", "ecx", "edx", "esi", "edi", "ebp", ...Array.from({ length: 8 }, (_, i) => `r${i + 8}d`)]
        .map((register) => `mov ${register},0`)
        .sort(),
    );
  });
});
