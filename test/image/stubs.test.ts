import { Decoder, DecoderOptions, FlowControl, type Instruction, Mnemonic, OpKind, Register } from "iced-x86";
import { describe, expect, test } from "vitest";
import { link } from "../../src/compiler/link.ts";
import { type CodeUnit, RETURN_ADDRESS, type UnwindRow } from "../../src/compiler/object.ts";
import { rsp } from "../../src/compiler/x64.ts";
import { dispatchStub } from "../../src/image/dispatch-stub.ts";
import { hookStub } from "../../src/image/hook-stub.ts";
import { landingStub } from "../../src/image/landing.ts";
import { FRAME_IP, FRAME_TO_PROGRAM } from "../../src/image/layout.ts";
import { entryStub } from "../../src/image/stubs.ts";
import { disassembleUnit } from "../helpers/disassemble.ts";

const hooks = {
  code: [
    "on_dispatch",
    "on_enter",
    "on_enter_any",
    "on_exit",
    "on_raw_exit",
    "on_unknown",
    "on_cancel_point",
    "on_hook_enter",
    "on_hook_exit",
    "on_next",
    "on_next_exit",
    "on_fault",
    "zp_signal",
    "zp_trap_return",
  ].map((name) => ({ name, bytes: Uint8Array.of(0xc3), relocs: [] })),
  data: [],
};
const image = link([entryStub(), landingStub(), dispatchStub(), hookStub(), hooks], { base: 0x10000 });
const address = (name: string): number => image.symbols.get(name)!.address;

const hex = (line: string | undefined): number => Number.parseInt(line!.match(/([0-9A-F]+)h/)![1]!, 16);

const disassemble = (from: string, unit = "zp_stub"): string[] => disassembleUnit(image, unit, from);

/** By how much an instruction moves rsp, once it and what it calls are done; undefined when that cannot be told. */
function stackChange(instruction: Instruction): number | undefined {
  if ([FlowControl.Call, FlowControl.IndirectCall].includes(instruction.flowControl)) return 0;
  if (instruction.op0Kind !== OpKind.Register || instruction.op0Register !== Register.RSP)
    return instruction.stackPointerIncrement;
  if (instruction.mnemonic !== Mnemonic.Lea || instruction.memoryBase !== Register.RSP) return undefined;
  return Number(BigInt.asIntN(64, instruction.memoryDisplacement));
}

/** Where the instructions of a unit begin, from a symbol on. */
function addresses(from: string, unit: string): Set<number> {
  const start = address(from);
  const { address: at, size } = image.symbols.get(unit)!;
  const text = image.regions.text;
  const decoder = new Decoder(64, text.bytes.subarray(start - text.address, at + size - text.address), 0);
  decoder.ip = BigInt(start);
  const starts = new Set<number>();
  while (decoder.canDecode) {
    const instruction = decoder.decode();
    starts.add(Number(instruction.ip));
    instruction.free();
  }
  decoder.free();
  return starts;
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
    const lines = disassemble("zp_known");
    const [table, action, branch] = lines;
    expect(table).toMatch(/^lea r11,\[/);
    expect(hex(table)).toBe(address("zp_actions"));
    expect(action).toBe("movzx ecx,byte ptr [r11+rax]");
    expect(branch).toMatch(/^jrcxz /);
    expect(hex(branch)).toBe(address("zp_bypass"));
    const frame = lines.findIndex((line) => /^lea rsp,\[rsp-/.test(line));
    expect(lines[frame - 1]).toBe("pop rcx");
    expect(lines.slice(0, frame - 1).filter((line) => !/^(movzx|mov r11d|lea rcx,|lea r11,|jrcxz)/.test(line))).toEqual(
      [],
    );
  });

  test.each([
    ["first", "rdi"],
    ["second", "rsi"],
  ])("makes a call whose %s argument points beyond 4 GiB without a change of flags", (name, register) => {
    expect(disassemble(`zp_${name}_pointer`).slice(0, 7)).toEqual([
      ...[`mov rcx,${register}`, "bswap rcx", "mov ecx,ecx", expect.stringMatching(/^jrcxz /)],
      ...["syscall", "pop rcx", "jmp rcx"],
    ]);
  });

  test("has one `syscall` for each way to make the call, and leaves through rcx; by `ret` only without one", () => {
    const lines = disassemble("zp_bypass");
    expect(lines.filter((line) => line === "syscall")).toHaveLength(9);
    expect(lines.filter((line) => line === "jmp rcx")).toHaveLength(10);
    expect(lines.filter((line) => line === "ret")).toHaveLength(1);
    expect(lines.filter((line) => /^jmp r[^c]/.test(line))).toEqual([]);
  });

  test("a jump patch leaves for the bypass before anything is changed but two words below the red zone", () => {
    const before = disassemble("zp_jump_entry");
    const lines = before.slice(0, before.indexOf("syscall"));
    expect(lines.slice(0, 3)).toEqual(["lea rsp,[rsp-80h]", "push rcx", "push rcx"]);
    expect(
      lines.slice(3).filter((line) => !/^(mov|movzx|lea) (ecx|r11d?),|^bswap ecx|^jrcxz |^jmp /.test(line)),
    ).toEqual([]);
    const known = disassemble("zp_jump_known");
    expect(known.slice(0, 7)).toEqual([
      ...["lea rsp,[rsp-80h]", "push rcx", "push rcx", expect.stringMatching(/^lea r11,/), "mov ecx,eax"],
      ...["movzx ecx,byte ptr [r11+rcx]", expect.stringMatching(/^jrcxz /)],
    ]);
    expect(hex(known[6])).toBe(address("zp_jump_bypass"));
    expect(disassemble("zp_jump_bypass").slice(0, 4)).toEqual(["syscall", "pop rcx", "lea rsp,[rsp+88h]", "jmp rcx"]);
    const [lea, ...pushes] = disassemble("zp_jump_tail");
    expect([lea, ...pushes.slice(0, 2)]).toEqual(["lea rsp,[rsp-80h]", "push r11", "push rcx"]);
  });

  test("touches no vector or x87 register", () => {
    expect(disassemble("zp_bypass").filter((line) => /[xyz]mm|\bst\b|\bmm\d/.test(line))).toEqual([]);
  });

  test("says where the caller's frame is at every instruction", () => {
    const { unwind = [], bytes } = entryStub().code[0]!;
    expect(unwind[0]!.at).toBe(0);
    expect(unwind.every((row, i) => row.at <= bytes.length && (i === 0 || row.at >= unwind[i - 1]!.at))).toBe(true);
  });

  test("the distance to the program's stack pointer changes with the stack pointer, and by as much", () => {
    const { wrong, moves } = distances(entryStub().code[0]!, ({ saved: [saved] }) =>
      !saved || (saved[0] === RETURN_ADDRESS && saved[1] === FRAME_IP - FRAME_TO_PROGRAM) ? "program" : undefined,
    );
    expect(wrong).toEqual([]);
    expect(moves).toBeGreaterThan(50);
  });
});

/**
 * Where the distance from rsp to what the rows describe does not change as rsp does; and how often rsp moves. Rows describe
 * the same frame when `frameOf` says so.
 */
function distances(
  unit: CodeUnit,
  frameOf: (row: UnwindRow) => string | undefined,
): { wrong: string[]; moves: number } {
  const { unwind = [], bytes } = unit;
  const rowAt = (offset: number) => unwind.findLast(({ at }) => at <= offset)!;
  const decoder = new Decoder(64, bytes, DecoderOptions.None);
  const wrong: string[] = [];
  let moves = 0;
  while (decoder.canDecode) {
    const at = decoder.position;
    const instruction = decoder.decode();
    const change = stackChange(instruction);
    const [before, after] = [rowAt(at), rowAt(decoder.position)];
    const goesOn = ![FlowControl.UnconditionalBranch, FlowControl.IndirectBranch, FlowControl.Return].includes(
      instruction.flowControl,
    );
    const frame = frameOf(before);
    const isSame = frame !== undefined && frame === frameOf(after);
    if (goesOn && isSame && change !== undefined) {
      if (change !== 0) moves++;
      if (after.cfa.offset !== before.cfa.offset - change) {
        wrong.push(`${at}: ${instruction}: ${before.cfa.offset}, then ${after.cfa.offset}`);
      }
    }
    instruction.free();
  }
  decoder.free();
  return { wrong, moves };
}

describe("the stub of C hooks", () => {
  const lines = disassemble("zp_hook", "zp_hook_stub");

  test("says at every instruction where the frame is, as far as it counts from rsp", () => {
    const units = hookStub().code.filter(({ unwind = [] }) => unwind[0]?.at === 0);
    const found = units.map((unit) =>
      distances(unit, ({ cfa, saved }) => (cfa.reg === rsp.dwarf ? JSON.stringify(saved) : undefined)),
    );
    expect(found.flatMap(({ wrong }) => wrong)).toEqual([]);
    expect(found.reduce((sum, { moves }) => sum + moves, 0)).toBeGreaterThan(10);
  });

  test("makes calls in three ways: the usual one, one for on_next, one with all registers of the program", () => {
    // The usual one on two stacks, one elsewhere, that of on_next at cancellation points and elsewhere, and clone.
    expect(lines.filter((line) => line === "syscall")).toHaveLength(6);
    expect(lines.filter((line) => line === "popfq").length).toBeGreaterThan(0);
  });

  test("the flags of the program stay as they are from its system call to the frame of a child", () => {
    const raw = lines.lastIndexOf(
      "syscall",
      lines.findIndex((line) => line.startsWith("jrcxz")),
    );
    const after = lines.slice(
      raw + 1,
      lines.findIndex((line, i) => i > raw && /^mov rsp,gs:/.test(line)),
    );
    expect(after.every((line) => /^(mov|jrcxz|jmp) /.test(line))).toBe(true);
    expect(after.filter((line) => line.startsWith("jrcxz"))).toHaveLength(2);
  });

  test("jumps over whole instructions", () => {
    const targets = lines.flatMap((line) => line.match(/^jrcxz (?:short )?([0-9A-F]+)h/)?.[1] ?? []);
    const starts = addresses("zp_hook", "zp_hook_stub");
    expect(targets.map((target) => starts.has(Number.parseInt(target, 16)))).toEqual([true, true]);
  });
});
