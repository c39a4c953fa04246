/** A call on another stack (guest/process/room.ts). */
import type { ObjectFile } from "../compiler/object.ts";
import { Assembler, rax, rbp, rcx, rdi, rdx, rsi, rsp } from "../compiler/x64.ts";

/** Pure: `u64 zp_elsewhere(fn, a, b, top)` calls `fn(a, b)` on the stack that ends at `top`, aligned to 16 bytes. */
export function elsewhereStub(): ObjectFile {
  const a = new Assembler();
  const saved = [[rbp.dwarf, -16]] as const;
  a.unwind({ reg: rsp.dwarf, offset: 8 }, []);
  a.push(rbp);
  a.unwind({ reg: rsp.dwarf, offset: 16 }, saved);
  a.mov(64, rbp, rsp);
  a.unwind({ reg: rbp.dwarf, offset: 16 }, saved);
  a.mov(64, rsp, rcx);
  a.mov(64, rax, rdi);
  a.mov(64, rdi, rsi);
  a.mov(64, rsi, rdx);
  a.call(rax);
  a.mov(64, rsp, rbp);
  a.pop(rbp);
  a.unwind({ reg: rsp.dwarf, offset: 8 }, []);
  a.op("ret");
  return { code: [a.finish("zp_elsewhere", { align: 16 })], data: [] };
}
