import { describe, expect, test } from "vitest";
import { link } from "../../src/compiler/link.ts";
import { int80Stub } from "../../src/image/int80-stub.ts";
import { FRAME_IP, FRAME_TO_PROGRAM, INT80_SAVED } from "../../src/image/layout.ts";
import { disassembleUnit } from "../helpers/disassemble.ts";

const others = {
  code: ["on_int80", "on_int80_exit"].map((name) => ({ name, bytes: Uint8Array.of(0xc3), relocs: [] })),
  data: [],
};
const image = link([int80Stub(), others], { base: 0x10000 });

describe("the way of int $0x80", () => {
  const lines = disassembleUnit(image, "zp_int80");
  const calls = lines.flatMap((line, i) => (line === "int 80h" ? [i] : []));

  test("all registers and flags are the program's at the call", () => {
    for (const at of calls) {
      const loaded = lines.slice(lines.lastIndexOf("popfq", at) + 1, at).map((line) => line.match(/^mov (\w+),/)?.[1]);
      for (const register of ["rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "r8", "r9", "r10", "r11", "rax"]) {
        expect(loaded).toContain(register);
      }
    }
    expect(calls).toHaveLength(2);
  });

  test("it leaves by one instruction that sets rip and rsp, no flag changes before it", () => {
    const end = lines.findIndex((line) => line.startsWith("ret"));
    expect(lines[end]).toBe(`ret ${(FRAME_TO_PROGRAM - FRAME_IP - 8).toString(16)}h`);
    expect(lines[end - 1]).toBe(`lea rsp,[rsp+0${(INT80_SAVED + FRAME_IP).toString(16).toUpperCase()}h]`);
    const restored = lines.slice(lines.lastIndexOf("popfq", end) + 1, end - 1);
    expect(restored.filter((line) => !line.startsWith("mov r"))).toEqual([]);
    expect(restored).toHaveLength(11);
  });
});
