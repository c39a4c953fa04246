import { Decoder, DecoderOptions, Formatter, FormatterSyntax } from "iced-x86";
import { describe, expect, test } from "vitest";
import {
  Assembler,
  absolute,
  at,
  CONDITIONS,
  fs,
  gs,
  indexed,
  mem,
  negate,
  REGISTERS,
  r8,
  r9,
  r12,
  r13,
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
} from "../../src/compiler/x64.ts";

/** Instructions of `bytes` at address 0x1000, as Intel syntax text. */
function disassemble(bytes: Uint8Array): string[] {
  const decoder = new Decoder(64, bytes, DecoderOptions.None);
  decoder.ip = 0x1000n;
  const formatter = new Formatter(FormatterSyntax.Intel);
  const out: string[] = [];
  for (const instruction of decoder.decodeAll()) {
    expect(instruction.isInvalid).toBe(false);
    out.push(formatter.format(instruction));
    instruction.free();
  }
  decoder.free();
  formatter.free();
  return out;
}

const assemble = (emit: (a: Assembler) => void): Uint8Array => {
  const a = new Assembler();
  emit(a);
  return a.finish("test").bytes;
};

/** The same with a lock prefix. */
const locked =
  (emit: (a: Assembler) => void) =>
  (a: Assembler): void => {
    a.lock();
    emit(a);
  };

const ROWS: readonly (readonly [string, (a: Assembler) => void])[] = [
  ["mov rax,rbx", (a) => a.mov(64, rax, rbx)],
  ["mov r8d,r15d", (a) => a.mov(32, r8, r15)],
  ["mov ax,r9w", (a) => a.mov(16, rax, r9)],
  ["mov sil,al", (a) => a.mov(8, rsi, rax)],
  ["mov al,dil", (a) => a.mov(8, rax, rdi)],
  ["mov bl,cl", (a) => a.mov(8, rbx, rcx)],
  ["mov rax,[rcx]", (a) => a.mov(64, rax, mem(rcx))],
  ["mov eax,[rbp]", (a) => a.mov(32, rax, mem(rbp))],
  ["mov eax,[r13]", (a) => a.mov(32, rax, mem(r13))],
  ["mov eax,[rsp+8]", (a) => a.mov(32, rax, mem(rsp, 8))],
  ["mov eax,[r12+7Fh]", (a) => a.mov(32, rax, mem(r12, 127))],
  ["mov eax,[r12+80h]", (a) => a.mov(32, rax, mem(r12, 128))],
  ["mov eax,[rdi-80h]", (a) => a.mov(32, rax, mem(rdi, -128))],
  ["mov eax,[rdi-81h]", (a) => a.mov(32, rax, mem(rdi, -129))],
  ["mov [rdi+rsi*4-5],r9", (a) => a.mov(64, indexed(rdi, rsi, 4, -5), r9)],
  ["mov [r13+r12],r9", (a) => a.mov(64, indexed(r13, r12), r9)],
  ["mov r9,[r8*8+10h]", (a) => a.mov(64, r9, indexed(undefined, r8, 8, 16))],
  ["mov [rdi],sil", (a) => a.mov(8, mem(rdi), rsi)],
  ["mov [rdi],dx", (a) => a.mov(16, mem(rdi), rdx)],
  ["mov rax,gs:[8]", (a) => a.mov(64, rax, gs(8))],
  ["mov gs:[10h],r15", (a) => a.mov(64, gs(16), r15)],
  ["mov rax,fs:[0]", (a) => a.mov(64, rax, fs(0))],
  ["mov rax,gs:[rbx]", (a) => a.mov(64, rax, { ...mem(rbx), segment: "gs" })],
  ["mov eax,[65909095h]", (a) => a.mov(32, rax, absolute(0x65909095))],
  ["mov eax,0", (a) => a.mov(64, rax, 0)],
  ["mov r8d,0FFFFFFFFh", (a) => a.mov(64, r8, 0xffffffff)],
  ["mov rax,0FFFFFFFFFFFFFFFFh", (a) => a.mov(64, rax, -1)],
  ["mov rax,0FFFFFFFF80000000h", (a) => a.mov(64, rax, -0x80000000)],
  ["mov r9,180000001h", (a) => a.mov(64, r9, 0x180000001)],
  ["mov rax,0FFFFFFFF7FFFFFFFh", (a) => a.mov(64, rax, 0xffffffff7fffffffn)],
  ["mov rdx,5", (a) => a.movabs(rdx, 5)],
  ["mov edx,0FFFFFFFFh", (a) => a.mov(32, rdx, -1)],
  ["mov cx,0FFFEh", (a) => a.mov(16, rcx, -2)],
  ["mov sil,0FFh", (a) => a.mov(8, rsi, 255)],
  ["mov qword ptr [rax],0FFFFFFFFFFFFFFFEh", (a) => a.mov(64, mem(rax), -2)],
  ["mov dword ptr [rax],80000000h", (a) => a.mov(32, mem(rax), 0x80000000)],
  ["mov word ptr [rax],1234h", (a) => a.mov(16, mem(rax), 0x1234)],
  ["mov byte ptr [r15],0", (a) => a.mov(8, mem(r15), 0)],
  ["movzx eax,sil", (a) => a.movzx(rax, 8, rsi)],
  ["movzx eax,byte ptr [rsi]", (a) => a.movzx(rax, 8, mem(rsi))],
  ["movzx r9d,word ptr [rsi+2]", (a) => a.movzx(r9, 16, mem(rsi, 2))],
  ["mov eax,[rsi]", (a) => a.movzx(rax, 32, mem(rsi))],
  ["movsx eax,r8b", (a) => a.movsx(32, rax, 8, r8)],
  ["movsx rax,byte ptr [rdi]", (a) => a.movsx(64, rax, 8, mem(rdi))],
  ["movsx rax,cx", (a) => a.movsx(64, rax, 16, rcx)],
  ["movsxd rax,ecx", (a) => a.movsx(64, rax, 32, rcx)],
  ["movsxd r9,[rdi]", (a) => a.movsx(64, r9, 32, mem(rdi))],
  ["lea rax,[rdi+rsi*2+3]", (a) => a.lea(64, rax, indexed(rdi, rsi, 2, 3))],
  ["lea r8d,[r9+1]", (a) => a.lea(32, r8, mem(r9, 1))],
  ["xchg rax,rbx", (a) => a.xchg(64, rax, rbx)],
  ["xchg [rdi],rbx", (a) => a.xchg(64, mem(rdi), rbx)],
  ["xchg gs:[8],rax", (a) => a.xchg(64, gs(8), rax)],
  ["push rbx", (a) => a.push(rbx)],
  ["push r12", (a) => a.push(r12)],
  ["push qword ptr [rsp+8]", (a) => a.push(mem(rsp, 8))],
  ["push 0FFFFFFFFFFFFFFFFh", (a) => a.push(-1)],
  ["push 1234h", (a) => a.push(0x1234)],
  ["pop r15", (a) => a.pop(r15)],
  ["pop qword ptr [rdi]", (a) => a.pop(mem(rdi))],
  ["add rax,rbx", (a) => a.add(64, rax, rbx)],
  ["add [rax],ebx", (a) => a.add(32, mem(rax), rbx)],
  ["add al,[rbx]", (a) => a.add(8, rax, mem(rbx))],
  ["add al,7Fh", (a) => a.add(8, rax, 127)],
  ["add rax,80h", (a) => a.add(64, rax, 128)],
  ["sub rsp,28h", (a) => a.sub(64, rsp, 40)],
  ["sub ecx,0FFFFFFFFh", (a) => a.sub(32, rcx, 0xffffffff)],
  ["and ecx,80000000h", (a) => a.and(32, rcx, 0x80000000)],
  ["and rcx,0FFFFFFFF80000000h", (a) => a.and(64, rcx, -0x80000000)],
  ["or byte ptr [rdi],20h", (a) => a.or(8, mem(rdi), 0x20)],
  ["xor r8d,r8d", (a) => a.xor(32, r8, r8)],
  ["xor word ptr [rdi],1234h", (a) => a.xor(16, mem(rdi), 0x1234)],
  ["cmp qword ptr [rdi+8],0", (a) => a.cmp(64, mem(rdi, 8), 0)],
  ["cmp sil,61h", (a) => a.cmp(8, rsi, 0x61)],
  ["adc rax,0", (a) => a.alu("adc", 64, rax, 0)],
  ["sbb edx,edx", (a) => a.alu("sbb", 32, rdx, rdx)],
  ["test edi,edi", (a) => a.test(32, rdi, rdi)],
  ["test byte ptr [rdi],1", (a) => a.test(8, mem(rdi), 1)],
  ["test r9,10000h", (a) => a.test(64, r9, 0x10000)],
  ["test [rdi],rax", (a) => a.test(64, mem(rdi), rax)],
  ["inc dword ptr [rdi]", (a) => a.inc(32, mem(rdi))],
  ["inc r9", (a) => a.inc(64, r9)],
  ["dec cl", (a) => a.dec(8, rcx)],
  ["mul rcx", (a) => a.unary("mul", 64, rcx)],
  ["imul ecx", (a) => a.unary("imul", 32, rcx)],
  ["div qword ptr [rsp]", (a) => a.unary("div", 64, mem(rsp))],
  ["idiv r8d", (a) => a.unary("idiv", 32, r8)],
  ["neg rax", (a) => a.unary("neg", 64, rax)],
  ["not byte ptr [rax]", (a) => a.unary("not", 8, mem(rax))],
  ["imul rax,r9", (a) => a.imul(64, rax, r9)],
  ["imul eax,[rdi]", (a) => a.imul(32, rax, mem(rdi))],
  ["imul rax,rcx,18h", (a) => a.imul(64, rax, rcx, 24)],
  ["imul eax,ecx,9E3779B1h", (a) => a.imul(32, rax, rcx, 0x9e3779b1)],
  ["shl rax,1", (a) => a.shift("shl", 64, rax, 1)],
  ["shl rax,3Fh", (a) => a.shift("shl", 64, rax, 63)],
  ["shr r9d,cl", (a) => a.shift("shr", 32, r9, "cl")],
  ["sar word ptr [rdi],2", (a) => a.shift("sar", 16, mem(rdi), 2)],
  ["rol al,4", (a) => a.shift("rol", 8, rax, 4)],
  ["ror rax,cl", (a) => a.shift("ror", 64, rax, "cl")],
  ["bsf rax,rcx", (a) => a.scan("bsf", 64, rax, rcx)],
  ["bsr eax,[rdi]", (a) => a.scan("bsr", 32, rax, mem(rdi))],
  ["tzcnt r8,r9", (a) => a.scan("tzcnt", 64, r8, r9)],
  ["lzcnt eax,ecx", (a) => a.scan("lzcnt", 32, rax, rcx)],
  ["popcnt r15d,ecx", (a) => a.scan("popcnt", 32, r15, rcx)],
  ["bswap eax", (a) => a.bswap(32, rax)],
  ["bswap r12", (a) => a.bswap(64, r12)],
  ["lock xadd [rdi],rax", locked((a) => a.xadd(64, mem(rdi), rax))],
  ["xadd gs:[8],r9", (a) => a.xadd(64, gs(8), r9)],
  ["xadd [rdi],sil", (a) => a.xadd(8, mem(rdi), rsi)],
  ["lock cmpxchg [rdi],r8", locked((a) => a.cmpxchg(64, mem(rdi), r8))],
  ["lock cmpxchg [rdi],cx", locked((a) => a.cmpxchg(16, mem(rdi), rcx))],
  ["lock cmpxchg [rdi],dil", locked((a) => a.cmpxchg(8, mem(rdi), rdi))],
  ["lock and [rdi],eax", locked((a) => a.and(32, mem(rdi), rax))],
  ["wrgsbase rdi", (a) => a.segmentBase("wrgsbase", rdi)],
  ["rdgsbase r9", (a) => a.segmentBase("rdgsbase", r9)],
  ["wrfsbase rax", (a) => a.segmentBase("wrfsbase", rax)],
  ["rdfsbase rax", (a) => a.segmentBase("rdfsbase", rax)],
  ["cdq", (a) => a.op("cdq")],
  ["cld", (a) => a.op("cld")],
  ["cpuid", (a) => a.op("cpuid")],
  ["cqo", (a) => a.op("cqo")],
  ["endbr64", (a) => a.op("endbr64")],
  ["int3", (a) => a.op("int3")],
  ["lahf", (a) => a.op("lahf")],
  ["leave", (a) => a.op("leave")],
  ["lfence", (a) => a.op("lfence")],
  ["mfence", (a) => a.op("mfence")],
  ["nop", (a) => a.op("nop")],
  ["pause", (a) => a.op("pause")],
  ["popfq", (a) => a.op("popfq")],
  ["pushfq", (a) => a.op("pushfq")],
  ["rdtsc", (a) => a.op("rdtsc")],
  ["ret", (a) => a.op("ret")],
  ["sahf", (a) => a.op("sahf")],
  ["sfence", (a) => a.op("sfence")],
  ["std", (a) => a.op("std")],
  ["syscall", (a) => a.op("syscall")],
  ["ud2", (a) => a.op("ud2")],
  ["fninit", (a) => a.op("fninit")],
  ["fnstsw ax", (a) => a.op("fnstsw_ax")],
  ["vzeroupper", (a) => a.op("vzeroupper")],
  ["xgetbv", (a) => a.op("xgetbv")],
  ["fldcw [rdi]", (a) => a.state("fldcw", mem(rdi))],
  ["fnstcw [r12+200h]", (a) => a.state("fnstcw", mem(r12, 512))],
  ["fnstsw [rdi+2]", (a) => a.state("fnstsw", mem(rdi, 2))],
  ["fxsave64 [r8]", (a) => a.state("fxsave64", mem(r8))],
  ["fxrstor64 [rsp]", (a) => a.state("fxrstor64", mem(rsp))],
  ["ldmxcsr [rdi+18h]", (a) => a.state("ldmxcsr", mem(rdi, 24))],
  ["stmxcsr [rdi+18h]", (a) => a.state("stmxcsr", mem(rdi, 24))],
  ["xsave64 [rdi]", (a) => a.state("xsave64", mem(rdi))],
  ["movaps xmm3,[rdi+10h]", (a) => a.vector("movaps", "load", 3, rdi, 16)],
  ["movaps [r12+100h],xmm15", (a) => a.vector("movaps", "store", 15, r12, 256)],
  ["vmovdqa ymm9,[rsp+20h]", (a) => a.vector("vmovdqa", "load", 9, rsp, 32)],
  ["vmovdqa [r9],ymm0", (a) => a.vector("vmovdqa", "store", 0, r9, 0)],
  ["vmovdqa64 zmm31,[r15-2000h]", (a) => a.vector("vmovdqa64", "load", 31, r15, -8192)],
  ["vmovdqa64 zmm17,[rdi+1FC0h]", (a) => a.vector("vmovdqa64", "load", 17, rdi, 8128)],
  ["vmovdqa64 [rdi+2000h],zmm8", (a) => a.vector("vmovdqa64", "store", 8, rdi, 8192)],
  ["vmovdqa64 [rsp+24h],zmm0", (a) => a.vector("vmovdqa64", "store", 0, rsp, 36)],
  ["kmovq k7,[r13]", (a) => a.vector("kmovq", "load", 7, r13, 0)],
  ["kmovq [rax+8],k1", (a) => a.vector("kmovq", "store", 1, rax, 8)],
  ["vorps ymm3,ymm3,ymm12", (a) => a.vorps(3, 12)],
  ["vorps ymm9,ymm9,ymm2", (a) => a.vorps(9, 2)],
  ["vporq zmm3,zmm3,zmm12", (a) => a.vporq(3, 12)],
  ["vporq zmm9,zmm9,zmm2", (a) => a.vporq(9, 2)],
  ["fxam", (a) => a.op("fxam")],
  ["fld1", (a) => a.op("fld1")],
  ["ftst", (a) => a.op("ftst")],
  ["fldenv [r9+20h]", (a) => a.state("fldenv", mem(r9, 32))],
  ["jmp rcx", (a) => a.jmp(rcx)],
  ["jmp qword ptr [r9+8]", (a) => a.jmp(mem(r9, 8))],
  ["call rax", (a) => a.call(rax)],
  ["call qword ptr [rdi+rsi*8]", (a) => a.call(indexed(rdi, rsi, 8))],
  ["call 0000000000001005h", (a) => a.call("somewhere")],
  ["jmp 0000000000001005h", (a) => a.jmp("somewhere")],
  ["jne 0000000000001006h", (a) => a.jcc("ne", "somewhere")],
  ["lea rax,[1007h]", (a) => a.lea(64, rax, symbol("data"))],
  ["mov rax,[1007h]", (a) => a.mov(64, rax, symbol("data"))],
  ["lea rax,[1000h]", (a) => a.lea(64, rax, at(a.bind()))],
  ["rdtsc", (a) => a.bytes(0x0f, 0x31)],
];

describe("each instruction decodes to what was asked for", () => {
  test.each(ROWS)("%s", (text, emit) => {
    expect(disassemble(assemble(emit))).toEqual([text]);
  });

  test("all conditions", () => {
    for (const cond of CONDITIONS) {
      const bytes = assemble((a) => {
        a.setcc(cond, rsi);
        a.setcc(cond, mem(rdi));
        a.cmov(cond, 64, r9, mem(rsi));
        a.cmov(cond, 32, rax, rcx);
        a.jcc(cond, a.bind());
      });
      const [set, setMemory, move, move32, jump] = disassemble(bytes);
      expect(set).toBe(`set${cond} sil`);
      expect(setMemory).toBe(`set${cond} [rdi]`);
      expect(move).toBe(`cmov${cond} r9,[rsi]`);
      expect(move32).toBe(`cmov${cond} eax,ecx`);
      expect(jump).toMatch(new RegExp(`^j${cond} short 0000000000001\\w+h$`));
    }
  });

  test("all registers as base, index and operand, with every displacement size", () => {
    for (const base of REGISTERS)
      for (const index of REGISTERS.filter((r) => r !== rsp))
        for (const disp of [0, 1, 0x1000]) {
          const [text] = disassemble(assemble((a) => a.lea(64, base, indexed(base, index, 2, disp))));
          const tail = disp === 0 ? "" : `+${disp.toString(16)}${disp > 9 ? "h" : ""}`;
          expect(text).toBe(`lea ${base.name},[${base.name}+${index.name}*2${tail}]`);
        }
    for (const r of REGISTERS) {
      const byte = assemble((a) => a.mov(8, r, r));
      expect(disassemble(byte)).toEqual([expect.stringMatching(/^mov (\w+),\1$/)]);
      expect(disassemble(byte)[0]).not.toMatch(/[acdb]h/);
    }
  });
});

describe("places", () => {
  test("branches are short where they reach and near where they do not, in both directions", () => {
    for (const gap of [120, 126, 127, 128, 130, 200]) {
      const a = new Assembler();
      const end = a.label();
      const start = a.bind();
      a.jcc("e", end);
      a.jmp(end);
      for (let i = 0; i < gap; i++) a.op("nop");
      a.jcc("l", start);
      a.jmp(start);
      a.bind(end);
      a.op("ret");
      const unit = a.finish("f");
      const text = disassemble(unit.bytes);
      const target = (0x1000 + a.offsetOf(end)).toString(16);
      expect(text[0]).toMatch(new RegExp(`^je .*${target}h$`, "i"));
      expect(text[1]).toMatch(new RegExp(`^jmp .*${target}h$`, "i"));
      expect(text.at(-3)).toMatch(/^jl .*1000h$/);
      expect(text.at(-2)).toMatch(/^jmp .*1000h$/);
      expect(text.at(-1)).toBe("ret");
    }
    expect(assemble((a) => a.jmp(a.bind())).length).toBe(2);
  });

  test("marks, rows, relocations and label references move with the branches", () => {
    const a = new Assembler();
    const far = a.label();
    a.line("a.ts", 1, 2);
    a.unwind({ reg: 7, offset: 8 }, []);
    a.jmp(far);
    a.mark("after_jump");
    a.line("a.ts", 2, 3);
    a.unwind({ reg: 7, offset: 16 }, [[6, -16]]);
    a.cmp(32, symbol("data", 4), 1000);
    a.call("callee");
    a.lea(64, rax, at(far));
    a.mov(8, at(far, 1), 3);
    a.align(64);
    a.mark("aligned");
    for (let i = 0; i < 200; i++) a.op("nop");
    a.bind(far);
    a.abs64("somewhere", 7);
    const unit = a.finish("f", { maxStack: 8, signalFrame: true });
    expect(unit).toMatchObject({ name: "f", maxStack: 8, signalFrame: true });
    expect(unit.marks).toEqual({ after_jump: 5, aligned: 64 });
    expect(unit.lines?.map((row) => row.at)).toEqual([0, 5]);
    expect(unit.unwind).toEqual([
      { at: 0, cfa: { reg: 7, offset: 8 }, saved: [] },
      { at: 5, cfa: { reg: 7, offset: 16 }, saved: [[6, -16]] },
    ]);
    expect(unit.relocs).toEqual([
      { at: 7, kind: "rel32", symbol: "data", addend: 0 },
      { at: 16, kind: "rel32", symbol: "callee", addend: 0 },
      { at: 264, kind: "abs64", symbol: "somewhere", addend: 7 },
    ]);
    const text = disassemble(unit.bytes.slice(0, 64));
    expect(text[0]).toBe("jmp 0000000000001108h");
    expect(text[3]).toBe("lea rax,[1108h]");
    expect(text[4]).toBe("mov byte ptr [1109h],3");
    expect(text.slice(5).every((line) => line.startsWith("nop") || line.startsWith("xchg"))).toBe(true);
  });

  test("a call reaches a label", () => {
    const text = disassemble(
      assemble((a) => {
        const f = a.label();
        a.call(f);
        a.op("ret");
        a.bind(f);
        a.op("ret");
      }),
    );
    expect(text).toEqual(["call 0000000000001006h", "ret", "ret"]);
  });
});

test("operands that cannot be encoded are refused", () => {
  expect(() => assemble((a) => a.add(64, rax, 0x80000000))).toThrow("does not fit");
  expect(() => assemble((a) => a.add(64, rax, 0x100000000))).toThrow("does not fit");
  expect(() => assemble((a) => a.cmp(8, rax, 256))).toThrow("does not fit");
  expect(() => assemble((a) => a.mov(64, mem(rax), 0x80000000))).toThrow("does not fit");
  expect(() => assemble((a) => a.mov(64, rax, indexed(rax, rsp)))).toThrow("rsp");
  expect(() => assemble((a) => a.mov(64, rax, mem(rbx, 2 ** 31)))).toThrow("displacement");
  expect(() => assemble((a) => a.mov(64, mem(rax), mem(rbx)))).toThrow("two memory operands");
  expect(() => assemble((a) => a.jmp(a.label()))).toThrow("not bound");
});

test("negate", () => {
  expect(negate("e")).toBe("ne");
  expect(negate("ge")).toBe("l");
  for (const cond of CONDITIONS) expect(negate(negate(cond))).toBe(cond);
});
