import { expect, test } from "vitest";
import { instructionText } from "../../src/scan/instruction.ts";

test.each([
  ["0f05", "syscall"],
  ["0f34", "sysenter"],
  ["b801010000", "mov $0x101,%eax"],
  ["41ba08000000", "mov $0x8,%r10d"],
  ["bf9cffffff", "mov $0xffffff9c,%edi"],
  ["48c7c00f000000", "mov $0xf,%rax"],
  ["49c7c0ffffffff", "mov $0xffffffffffffffff,%r8"],
  ["c7c03c000000", "mov $0x3c,%eax"],
  ["31c0", "xor %eax,%eax"],
  ["4531c0", "xor %r8d,%r8d"],
  ["33c1", "xor %ecx,%eax"],
  ["4889f8", "mov %rdi,%rax"],
  ["4d89c8", "mov %r9,%r8"],
  ["8bc7", "mov %edi,%eax"],
  ["48b80102030405060708", undefined],
  ["8b07", undefined],
  ["c70007000000", undefined],
  ["4c8b4c2408", undefined],
  ["90", undefined],
  ["740f", undefined],
])("%s: %s", (hex, text) => {
  expect(instructionText(Buffer.from(hex, "hex"))).toBe(text);
});
