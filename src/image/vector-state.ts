/**
 * Machine code that keeps the vector and x87 state of the program while a hook runs that was compiled for any processor:
 * all of xmm/ymm/zmm, the mask registers, MXCSR, and the x87 registers with their control and status word come back as
 * they were (but not the address of the last x87 instruction). The hook starts with the control words of the program,
 * an empty x87 stack and clean upper halves.
 *
 * No XSAVE: XRSTOR alone costs 60 ns and more on Zen 5, all the moves below cost 8. Two costs are avoided as a rule:
 * - x87 state is restored (50 ns) only when its stack was not empty, or a control or status word differs afterwards. With
 *   AVX-512, XGETBV with ECX = 1 (10 ns) tells first whether there is any to save (FXSAVE, 17 ns).
 * - Upper halves that were zero are left clean (VZEROUPPER): with others, SSE code is slow on Intel processors (Intel
 *   Optimization Reference Manual, "Mixing Intel SSE and AVX").
 *
 * The area begins with an FXSAVE image (SDM volume 1, 10.5.1), of which at least the words below are valid.
 */
import type { CodeUnit } from "../compiler/object.ts";
import { Assembler, mem, type Reg, rax, rbx, rcx, rdi, rsi, rsp } from "../compiler/x64.ts";

/** What the processor has and the kernel has switched on: what `zp_cpu_level` answers. */
export const LEVEL_SSE = 0;
export const LEVEL_AVX = 1;
export const LEVEL_AVX512 = 2;
export type VectorLevel = typeof LEVEL_SSE | typeof LEVEL_AVX | typeof LEVEL_AVX512;

// In the FXSAVE image:
const FCW = 0;
const FSW = 2;
/** One bit for each x87 register that is not empty. */
const FTW = 4;
const MXCSR = 24;
const XMM = 160;
// Behind it:
/** Word to compare a control word in. */
const SCRATCH = 512;
/** State components in use, as XGETBV tells them; only x87 is looked at (bit 0), and the halves below. */
const IN_USE = 516;
const VECTORS = 576;
const MASKS = VECTORS + 32 * 64;

/** Bytes of the area, which is aligned to 64. */
export const VECTOR_AREA: Readonly<Record<VectorLevel, number>> = {
  [LEVEL_SSE]: VECTORS,
  [LEVEL_AVX]: VECTORS + 16 * 32,
  [LEVEL_AVX512]: MASKS + 8 * 8,
};

// State components (SDM volume 1, 13.1): bits of XCR0, and of what is in use.
const X87 = 1;
const SSE_AVX = 6;
/** Upper halves of ymm0–15 and of zmm0–15. */
const UPPER = 0x44;
const ALL_AVX512 = 0xe6;

/** Exception summary in the x87 status word: an unmasked exception waits for the next instruction. */
const PENDING = 0x80;
/** Control word 0x37f, status word 0: the x87 state that is not in use. */
const INITIAL_WORDS = 0x37f;

const STACK_POINTER = rsp.dwarf;

const registers = (count: number): number[] => Array.from({ length: count }, (_, i) => i);

/** Moves all vector registers of the level to or from the area; those of SSE lie in the FXSAVE image. */
function moveVectors(a: Assembler, level: VectorLevel, direction: "load" | "store", area: Reg): void {
  if (level === LEVEL_SSE) for (const i of registers(16)) a.vector("movaps", direction, i, area, XMM + 16 * i);
  if (level === LEVEL_AVX) for (const i of registers(16)) a.vector("vmovdqa", direction, i, area, VECTORS + 32 * i);
  if (level === LEVEL_AVX512) {
    for (const i of registers(32)) a.vector("vmovdqa64", direction, i, area, VECTORS + 64 * i);
    for (const i of registers(8)) a.vector("kmovq", direction, i, area, MASKS + 8 * i);
  }
}

/** The whole FXSAVE image; an x87 stack that is not empty is put out of the hook's way. Spends rax. */
function saveX87(a: Assembler, area: Reg): void {
  const empty = a.label();
  a.state("fxsave64", mem(area));
  a.movzx(rax, 16, mem(area, FSW));
  a.and(32, rax, PENDING);
  a.or(8, rax, mem(area, FTW));
  a.jcc("e", empty);
  a.op("fninit");
  a.state("fldcw", mem(area, FCW));
  a.bind(empty);
}

/** IN_USE: the upper halves, if one of ymm0–15 is not zero. Their registers have been stored, and are spent. */
function findUpper(a: Assembler, area: Reg): void {
  const CHAINS = 4;
  for (let i = CHAINS; i < 16; i++) a.vorps(i % CHAINS, i);
  a.vorps(0, 1);
  a.vorps(2, 3);
  a.vorps(0, 2);
  a.bytes(0xc4, 0xe3, 0x7d, 0x19, 0xc0, 0x01); // vextractf128 $1, %ymm0, %xmm0
  a.mov(32, rax, UPPER | X87);
  a.mov(32, rcx, X87);
  a.bytes(0xc4, 0xe2, 0x79, 0x17, 0xc0); // vptest %xmm0, %xmm0
  a.cmov("e", 32, rax, rcx);
  a.mov(32, mem(area, IN_USE), rax);
}

/** Saves the state into the area at `area` (neither rax, rcx nor rdx). Spends rax, rcx, rdx and the flags. */
export function saveVectors(a: Assembler, level: VectorLevel, area: Reg): void {
  if (level === LEVEL_AVX512) {
    const unused = a.label();
    a.mov(32, rcx, 1);
    a.op("xgetbv");
    a.mov(32, mem(area, IN_USE), rax);
    a.mov(32, mem(area, FCW), INITIAL_WORDS);
    a.mov(8, mem(area, FTW), 0);
    a.test(8, rax, X87);
    a.jcc("e", unused);
    saveX87(a, area);
    a.bind(unused);
    moveVectors(a, level, "store", area);
    a.state("stmxcsr", mem(area, MXCSR));
    a.op("vzeroupper");
    return;
  }
  saveX87(a, area);
  if (level === LEVEL_SSE) return;
  moveVectors(a, level, "store", area);
  findUpper(a, area);
  a.op("vzeroupper");
}

/** Restores what `saveVectors` has saved. Spends rax and the flags. */
export function restoreVectors(a: Assembler, level: VectorLevel, area: Reg): void {
  const unchanged = a.label();
  const restore = a.label();
  a.op("fnstsw_ax");
  a.state("fnstcw", mem(area, SCRATCH));
  a.cmp(16, rax, mem(area, FSW));
  a.jcc("ne", restore);
  a.movzx(rax, 16, mem(area, SCRATCH));
  a.cmp(16, rax, mem(area, FCW));
  a.jcc("ne", restore);
  a.cmp(8, mem(area, FTW), 0);
  a.jcc("e", unchanged);
  a.bind(restore);
  if (level === LEVEL_AVX512) {
    const inUse = a.label();
    a.test(8, mem(area, IN_USE), X87);
    a.jcc("ne", inUse);
    a.op("fninit");
    a.jmp(unchanged);
    a.bind(inUse);
  }
  a.state("fxrstor64", mem(area));
  a.bind(unchanged);

  moveVectors(a, level, "load", area);
  if (level !== LEVEL_SSE) {
    const dirty = a.label();
    a.test(8, mem(area, IN_USE), UPPER);
    a.jcc("ne", dirty);
    a.op("vzeroupper");
    a.bind(dirty);
  }
  a.state("ldmxcsr", mem(area, MXCSR));
}

/** Bits of cpuid's answers (SDM volume 2, CPUID). */
const LEAF1_ECX_OSXSAVE_AVX = (1 << 27) | (1 << 28);
const LEAF7_EBX_AVX512F_BW = (1 << 16) | (1 << 30);
const LEAF13_1_EAX_XGETBV1 = 1 << 2;

/**
 * `u64 zp_cpu_level()`, System V ABI: LEVEL_* of this processor. LEVEL_AVX512 needs AVX512BW (kmovq) and XGETBV with
 * ECX = 1, which all processors with AVX-512 have but the Xeon Phi.
 */
export function cpuLevel(): CodeUnit {
  const a = new Assembler();
  const done = a.label();
  const leaf = (number: number, sub: number): void => {
    a.mov(32, rax, number);
    a.mov(32, rcx, sub);
    a.op("cpuid");
  };
  /** Ends with what edi holds unless all bits of `mask` are set in `register`. */
  const require = (register: Reg, mask: number): void => {
    a.and(32, register, mask);
    a.cmp(32, register, mask);
    a.jcc("ne", done);
  };

  a.unwind({ reg: STACK_POINTER, offset: 8 }, []);
  a.push(rbx);
  a.unwind({ reg: STACK_POINTER, offset: 16 }, [[rbx.dwarf, -16]]);
  a.mov(32, rdi, LEVEL_SSE);
  leaf(1, 0);
  require(rcx, LEAF1_ECX_OSXSAVE_AVX);
  a.mov(32, rcx, 0);
  a.op("xgetbv");
  a.mov(32, rsi, rax);
  require(rax, SSE_AVX);
  a.mov(32, rdi, LEVEL_AVX);
  require(rsi, ALL_AVX512);
  leaf(7, 0);
  require(rbx, LEAF7_EBX_AVX512F_BW);
  leaf(13, 1);
  require(rax, LEAF13_1_EAX_XGETBV1);
  a.mov(32, rdi, LEVEL_AVX512);
  a.bind(done);
  a.mov(32, rax, rdi);
  a.pop(rbx);
  a.unwind({ reg: STACK_POINTER, offset: 8 }, []);
  a.op("ret");
  return a.finish("zp_cpu_level");
}
