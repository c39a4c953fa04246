/**
 * The first and the last instructions of zpoline-exec (docs/architecture.md, the loader door).
 *
 * `_start` is what the kernel jumps to: rsp is the initial stack (argc), and addresses in data are not relocated yet.
 * Nothing is written to that stack but by guest/door/stack.ts: what runs here has one of its own. Afterwards the program's
 * entry finds registers and flags as the kernel leaves them at an exec.
 */
import type { ObjectFile } from "../compiler/object.ts";
import {
  Assembler,
  mem,
  r8,
  r9,
  r10,
  r11,
  r12,
  r13,
  r14,
  r15,
  rax,
  rbp,
  rbx,
  rcx,
  rdi,
  rdx,
  rsi,
  rsp,
  symbol,
} from "../compiler/x64.ts";
import { pointer } from "./frame.ts";

/** Elf64_Rela: r_offset, r_info, r_addend. */
const RELA_SIZE = 24;
const RELA_ADDEND = 16;
/** More than the entry point may take (image.ts). */
const STACK_SIZE = 8192;
/** rflags of a program that begins: interrupts are on, and bit 1 always is. */
const FLAGS = 0x202;

export function doorStub(): ObjectFile {
  const a = new Assembler();
  const next = a.label();
  const done = a.label();

  a.lea(64, rax, symbol("__rela_start"));
  a.lea(64, rcx, symbol("__rela_end"));
  a.lea(64, rdx, symbol("__image_start"));
  a.bind(next);
  a.cmp(64, rax, rcx);
  a.jcc("ae", done);
  a.mov(64, rsi, mem(rax));
  a.mov(64, rdi, mem(rax, RELA_ADDEND));
  a.add(64, rdi, rdx);
  a.add(64, rsi, rdx);
  a.mov(64, mem(rsi), rdi);
  a.add(64, rax, RELA_SIZE);
  a.jmp(next);
  a.bind(done);

  a.mov(64, rdi, rsp);
  a.lea(64, rsi, symbol("zp_door_entry"));
  a.lea(64, rsp, symbol("zp_door_stack", STACK_SIZE));
  a.call("on_start");
  a.mark("zp_door_leave");
  a.push(FLAGS);
  a.op("popfq");
  a.mov(64, rsp, rax);
  for (const register of [rax, rbx, rcx, rdx, rsi, rdi, rbp, r8, r9, r10, r11, r12, r13, r14, r15]) {
    a.mov(32, register, 0);
  }
  a.jmp(symbol("zp_door_entry"));

  const stack = { name: "zp_door_stack", bytes: new Uint8Array(0), size: STACK_SIZE, align: 64 };
  return {
    code: [a.finish("_start", { align: 16 })],
    data: [pointer("zp_door_entry"), { ...stack, writable: true, relocs: [] }],
  };
}
