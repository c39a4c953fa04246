/** A call on another stack. */
import { expect, test } from "vitest";
import { link } from "../../src/compiler/link.ts";
import { elsewhereStub } from "../../src/image/elsewhere.ts";
import { disassembleUnit } from "../helpers/disassemble.ts";

test("zp_elsewhere calls a function on the stack that it is told, and comes back", () => {
  const image = link([elsewhereStub()], { base: 0x10000 });
  expect(disassembleUnit(image, "zp_elsewhere")).toEqual([
    "push rbp",
    "mov rbp,rsp",
    "mov rsp,rcx",
    "mov rax,rdi",
    "mov rdi,rsi",
    "mov rsi,rdx",
    "call rax",
    "mov rsp,rbp",
    "pop rbp",
    "ret",
  ]);
});
