import fc from "fast-check";
import { beforeAll, expect, test } from "vitest";
import { type GuestModule, loadGuest } from "../helpers/guest-wasm.ts";
import { CALL, INDIRECT, RELATIVE, STOPS } from "./decoder.ts";

// As in guest/rewrite/common.ts.
const LENGTH = 15;
const BYTE = 0x10;
const KIND = 0x700;
const KIND_FLAGS = new Map([
  [0, 0],
  [0x100, RELATIVE],
  [0x200, RELATIVE | STOPS],
  [0x300, RELATIVE | CALL],
  [0x400, STOPS],
]);
const FLOW = RELATIVE | CALL | STOPS | INDIRECT;
const NO_REGISTER = 255;

let guest: GuestModule;
let insn: number;
let at: number;

beforeAll(async () => {
  guest = await loadGuest("guest/rewrite/common.ts", "guest/rewrite/decode.ts", "guest/rewrite/insn.ts");
  insn = guest.alloc(64);
  at = guest.alloc(64);
});

/** What the short way says of an instruction that the long way does not say; empty when they agree, or it is not common. */
function disagreement(encoding: readonly number[], watchSp: boolean): string {
  guest
    .bytes()
    .fill(0, at, at + 32)
    .set(encoding, at);
  const common = guest.call["commonInsn"]!(at, watchSp ? 1 : 0);
  if (!common) return "";
  const length = guest.call["decode"]!(insn, at, at + 32);
  if (length !== (common & LENGTH)) return `length ${common & LENGTH}, not ${length}`;
  const view = guest.view();
  const flags = view.getUint32(insn, true);
  if ((flags & FLOW) !== KIND_FLAGS.get(common & KIND)) return `kind ${common & KIND}, flags ${flags}`;
  if (flags & RELATIVE) {
    const end = at + length;
    const distance = common & BYTE ? view.getInt8(end - 1) : view.getInt32(end - 4, true);
    if ((end + distance) >>> 0 !== view.getUint32(insn + 20, true)) return `distance ${distance}`;
  }
  if (!watchSp) return "";
  if (guest.call["namesRedZone"]!(insn)) return "names the red zone";
  return guest.call["copyOfSp"]!(insn) === NO_REGISTER ? "" : "copies rsp";
}

const byte = Array.from({ length: 256 }, (_, value) => value);
const show = (encoding: readonly number[]) => encoding.map((value) => value.toString(16).padStart(2, "0")).join(" ");

test("every opcode and ModRM, with and without REX, says what the decoder says", () => {
  const wrong: string[] = [];
  const rest = [0xf8, 0xff, 0xff, 0xff, 0x12, 0x34, 0x56, 0x78];
  for (const rex of [[], [0x40], [0x41], [0x44], [0x48], [0x4f]]) {
    for (const map of [[], [0x0f]]) {
      for (const opcode of byte) {
        for (const modrm of byte) {
          for (const sib of [0x24, 0x25, 0x0c, 0x65, 0x00]) {
            const encoding = [...rex, ...map, opcode, modrm, sib, ...rest];
            const why = disagreement(encoding, true) || disagreement(encoding, false);
            if (why) wrong.push(`${show(encoding)}: ${why}`);
          }
        }
      }
    }
  }
  expect(wrong.slice(0, 20)).toEqual([]);
});

test("any bytes", () => {
  const encodings = fc.array(fc.integer({ min: 0, max: 255 }), { minLength: 16, maxLength: 16 });
  fc.assert(
    fc.property(encodings, (encoding) => {
      expect(disagreement(encoding, true)).toBe("");
      expect(disagreement(encoding, false)).toBe("");
    }),
    { numRuns: 5000 },
  );
});

test.each([
  ["push %rbp", [0x55], 1],
  ["mov %rdi,8(%rsp)", [0x48, 0x89, 0x7c, 0x24, 0x08], 5],
  ["cmp $0xfffffffffffff000,%rax", [0x48, 0x3d, 0x00, 0xf0, 0xff, 0xff], 6],
  ["movzbl (%rdi,%rax),%eax", [0x0f, 0xb6, 0x04, 0x07], 4],
  ["je, near", [0x0f, 0x84, 0x10, 0x00, 0x00, 0x00], 0x100 | 6],
  ["je, short", [0x74, 0x10], 0x100 | 2],
  ["jmp, short", [0xeb, 0x10], 0x200 | 2],
  ["call", [0xe8, 0x10, 0x00, 0x00, 0x00], 0x300 | 5],
  ["ret", [0xc3], 0x400 | 1],
  ["testb $1,(%rdi)", [0xf6, 0x07, 0x01], 3],
  ["neg %eax", [0xf7, 0xd8], 2],
  ["movl $1,(%rdi)", [0xc7, 0x07, 0x01, 0x00, 0x00, 0x00], 6],
])("%s is common", (_, encoding, expected) => {
  guest
    .bytes()
    .fill(0, at, at + 32)
    .set(encoding, at);
  expect(guest.call["commonInsn"]!(at, 1) & (KIND | LENGTH)).toBe(expected);
});
