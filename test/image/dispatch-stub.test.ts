import { expect, test } from "vitest";
import { link } from "../../src/compiler/link.ts";
import { dispatchStub } from "../../src/image/dispatch-stub.ts";
import { disassembleUnit } from "../helpers/disassemble.ts";

const others = { code: [{ name: "on_dispatch", bytes: Uint8Array.of(0xc3), relocs: [] }], data: [] };
const image = link([dispatchStub(), others], { base: 0x10000 });

test("a landing gets every register by its number, and the flags, before any of them is spent", () => {
  const lines = disassembleUnit(image, "zp_dispatch_stub");
  const begin = lines.findLastIndex((line) => line.startsWith("lea rsp,[rsp-"));
  const stores = lines.slice(begin + 1, lines.indexOf("pushfq"));
  const numbers = stores.map((line) => {
    const [, at = "0", register] = line.match(/^mov \[rsp\+?([0-9A-F]*)h?\],(\w+)$/) ?? [];
    return [register, Number.parseInt(at || "0", 16) / 8];
  });
  const names = "rax rcx rdx rbx - rbp rsi rdi r8 r9 r10 r11 r12 r13 r14 r15".split(" ");
  expect(new Map(numbers as [string, number][])).toEqual(
    new Map(names.flatMap((name, number) => (name === "-" ? [] : [[name, number]]))),
  );
  expect(lines.indexOf("ud2")).toBeGreaterThan(lines.findIndex((line) => line.startsWith("call")));
});
