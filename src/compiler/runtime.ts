/**
 * Helpers that compiled code calls for memory.copy and memory.fill of unknown or large size. They take rdi, rsi, rdx,
 * change nothing but rax, rcx, rdx, rsi, rdi and r8, need no stack, and use no string instruction (the direction flag
 * belongs to the program that is watched).
 */
import type { CodeUnit, DataUnit } from "./object.ts";
import { Assembler, indexed, mem, r8, rax, rcx, rdi, rdx, rsi, rsp } from "./x64.ts";

export const MEMORY_COPY = "zpoline.memory.copy";
export const MEMORY_FILL = "zpoline.memory.fill";

/** Copies rdx bytes from rsi to rdi, which may overlap. */
function memoryCopy(): CodeUnit {
  const a = new Assembler();
  const backward = a.label();
  const tail = a.label();
  const backTail = a.label();
  const done = a.label();
  a.unwind({ reg: rsp.dwarf, offset: 8 }, []);
  a.mov(64, rax, rdi);
  a.sub(64, rax, rsi);
  a.cmp(64, rax, rdx);
  a.jcc("b", backward); // the target begins inside the source
  a.mov(64, rcx, 0);
  a.sub(64, rdx, 8);
  a.jcc("b", tail);
  const words = a.bind();
  a.mov(64, rax, indexed(rsi, rcx));
  a.mov(64, indexed(rdi, rcx), rax);
  a.add(64, rcx, 8);
  a.cmp(64, rcx, rdx);
  a.jcc("be", words);
  a.bind(tail);
  a.add(64, rdx, 8);
  const tailLoop = a.bind();
  a.cmp(64, rcx, rdx);
  a.jcc("e", done);
  a.movzx(rax, 8, indexed(rsi, rcx));
  a.mov(8, indexed(rdi, rcx), rax);
  a.inc(64, rcx);
  a.jmp(tailLoop);
  a.bind(backward);
  a.cmp(64, rdx, 8);
  a.jcc("b", backTail);
  const backWords = a.bind();
  a.mov(64, rax, indexed(rsi, rdx, 1, -8));
  a.mov(64, indexed(rdi, rdx, 1, -8), rax);
  a.sub(64, rdx, 8);
  a.cmp(64, rdx, 8);
  a.jcc("ae", backWords);
  a.bind(backTail);
  const backLoop = a.bind();
  a.sub(64, rdx, 1);
  a.jcc("b", done);
  a.movzx(rax, 8, indexed(rsi, rdx));
  a.mov(8, indexed(rdi, rdx), rax);
  a.jmp(backLoop);
  a.bind(done);
  a.op("ret");
  return a.finish(MEMORY_COPY, { maxStack: 0 });
}

/** Sets rdx bytes at rdi to the low byte of rsi. */
function memoryFill(): CodeUnit {
  const a = new Assembler();
  const words = a.label();
  const tail = a.label();
  const done = a.label();
  a.unwind({ reg: rsp.dwarf, offset: 8 }, []);
  a.movzx(rax, 8, rsi);
  a.mov(64, r8, 0x0101010101010101n);
  a.imul(64, rax, r8);
  a.sub(64, rdx, 8);
  a.jcc("b", tail);
  a.bind(words);
  a.mov(64, mem(rdi), rax);
  a.add(64, rdi, 8);
  a.sub(64, rdx, 8);
  a.jcc("ae", words);
  a.bind(tail);
  a.add(64, rdx, 8);
  const bytes = a.bind();
  a.sub(64, rdx, 1);
  a.jcc("b", done);
  a.mov(8, mem(rdi), rax);
  a.inc(64, rdi);
  a.jmp(bytes);
  a.bind(done);
  a.op("ret");
  return a.finish(MEMORY_FILL, { maxStack: 0 });
}

const HELPERS: ReadonlyMap<string, () => CodeUnit> = new Map([
  [MEMORY_COPY, memoryCopy],
  [MEMORY_FILL, memoryFill],
]);

/** Those helpers that `units` refer to. */
export function helpersFor(units: readonly (CodeUnit | DataUnit)[]): CodeUnit[] {
  const wanted = new Set(units.flatMap((unit) => unit.relocs.map((reloc) => reloc.symbol)));
  return [...HELPERS].filter(([name]) => wanted.has(name)).map(([, make]) => make());
}
