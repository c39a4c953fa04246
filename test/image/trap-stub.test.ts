import { expect, test } from "vitest";
import { link } from "../../src/compiler/link.ts";
import { trapStub } from "../../src/image/trap-stub.ts";
import { disassembleUnit } from "../helpers/disassemble.ts";

const others = {
  code: ["on_sigsys", "zp_jump_entry", "zp_signal"].map((name) => ({ name, bytes: Uint8Array.of(0xc3), relocs: [] })),
  data: [],
};
const stub = trapStub();
const image = link([stub, others], { base: 0x10000 });

test("the way of a known site writes one word, the instruction pointer of the context, and calls nothing", () => {
  const lines = disassembleUnit(image, "zp_trap_stub");
  const end = lines.findIndex((line) => line.startsWith("jmp"));
  const fast = lines.slice(0, end);
  expect(fast.filter((line) => line.startsWith("cmp"))).toEqual([
    "cmp qword ptr [rsi],1Fh",
    "cmp dword ptr [rsi+8],2",
    "cmp dword ptr [rsi+1Ch],0C000003Eh",
    "cmp dword ptr [rsi+18h],0Fh",
    "cmp rax,[r8+rcx*8]",
  ]);
  expect(fast.filter((line) => /^mov .*\],/.test(line))).toEqual(["mov [rdx+0A8h],rax"]);
  expect(fast.filter((line) => /^(call|push|pop)/.test(line))).toEqual([]);
  expect(fast.at(-1)).toBe("lea rsp,[rsp+8]");
  expect(lines[end]).toContain(image.symbols.get("zp_trap_return")!.address.toString(16).toUpperCase());
});

test("the restorer is what unwinders know, and has no rows of its own", () => {
  expect(disassembleUnit(image, "zp_trap_restorer")).toEqual(["mov rax,0Fh", "syscall"]);
  expect(stub.code.map(({ unwind = [], contexts = [] }) => unwind.length + contexts.length > 0)).toEqual([true, false]);
});
