/**
 * Machine code that keeps the vector and x87 state of the program while a hook runs that was compiled for any processor:
 * all of xmm/ymm/zmm, the mask registers, MXCSR, and the x87 registers with their control and status word come back as
 * they were (but not the address of the last x87 instruction). The hook starts with the control words of the program,
 * an empty x87 stack and clean upper halves.
 *
 * No XSAVE: XRSTOR alone costs 60 ns and more on Zen 5, all the moves below 8, or 17 around a system call, whose entry
 * drains the processor. Two costs are avoided as a rule:
 * - x87 registers are saved and restored (70 ns) only when there are any: FXAM tells whether the top one is empty, and the
 *   condition codes that it leaves are cleared. When control or status word differ afterwards, they are loaded (28 ns).
 * - Upper halves that were zero are left clean (VZEROUPPER): with others, SSE code is slow on Intel processors (Intel
 *   Optimization Reference Manual, "Mixing Intel SSE and AVX").
 *
 * The area begins with an FXSAVE image (SDM volume 1, 10.5.1), which is written when there are x87 registers.
 */
import type { CodeUnit } from "../compiler/object.ts";
import { Assembler, mem, type Reg, rax, rbx, rcx, rdi, rsi, rsp } from "../compiler/x64.ts";

/** What the processor has and the kernel has switched on: what `zp_cpu_level` answers. */
export const LEVEL_SSE = 0;
export const LEVEL_AVX = 1;
export const LEVEL_AVX512 = 2;
export type VectorLevel = typeof LEVEL_SSE | typeof LEVEL_AVX | typeof LEVEL_AVX512;

const IMAGE_FCW = 0;
const IMAGE_FSW = 2;
// Behind the FXSAVE image, the x87 environment as FLDENV takes it (SDM volume 1, figure 8-9): control word, status word,
// tag word, five words of addresses.
const ENVIRONMENT = 512;
const FCW = ENVIRONMENT;
const FSW = ENVIRONMENT + 4;
const FTW = ENVIRONMENT + 8;
const ADDRESSES = ENVIRONMENT + 12;
/** Word to compare a control word in. */
const SCRATCH = ENVIRONMENT + 28;
const MXCSR = ENVIRONMENT + 32;
/** Word: 1 when there are x87 registers in the FXSAVE image. */
const X87_SAVED = ENVIRONMENT + 36;
/** Word: 0 when the upper halves were zero. */
const UPPER = ENVIRONMENT + 40;
const VECTORS = 576;
const MASKS = VECTORS + 32 * 64;

/** Bytes of the area, which is aligned to 64. */
export const VECTOR_AREA: Readonly<Record<VectorLevel, number>> = {
  [LEVEL_SSE]: VECTORS + 16 * 16,
  [LEVEL_AVX]: VECTORS + 16 * 32,
  [LEVEL_AVX512]: MASKS + 8 * 8,
};

// State components (SDM volume 1, 13.1): bits of XCR0.
const SSE_AVX = 6;
const ALL_AVX512 = 0xe6;

/** Of the status word: number of the top register, and the exception summary (one waits for the next instruction). */
const TOP_OR_PENDING = 0x3800 | 0x80;
/** C3, C2 and C0, and what FXAM makes of them when the top register is empty. */
const CLASS = 0x4500;
const EMPTY = 0x4100;
const ALL_EMPTY = 0xffff;

const STACK_POINTER = rsp.dwarf;

/** How the registers of a level are moved: instruction, bytes, number of registers. */
const MOVES = {
  [LEVEL_SSE]: ["movaps", 16, 16],
  [LEVEL_AVX]: ["vmovdqa", 32, 16],
  [LEVEL_AVX512]: ["vmovdqa64", 64, 32],
} as const;

const registers = (count: number): number[] => Array.from({ length: count }, (_, i) => i);

/** Moves all vector registers of the level to or from the area. */
function moveVectors(a: Assembler, level: VectorLevel, direction: "load" | "store", area: Reg): void {
  const [op, size, count] = MOVES[level];
  for (const i of registers(count)) a.vector(op, direction, i, area, VECTORS + size * i);
  if (level === LEVEL_AVX512) for (const i of registers(8)) a.vector("kmovq", direction, i, area, MASKS + 8 * i);
}

/** An x87 stack that is not empty goes to the FXSAVE image, out of the hook's way; else only the words are kept. */
function saveX87(a: Assembler, area: Reg): void {
  const inUse = a.label();
  const done = a.label();
  a.op("fnstsw_ax");
  a.mov(16, mem(area, FSW), rax);
  a.test(32, rax, TOP_OR_PENDING);
  a.jcc("ne", inUse);
  a.op("fxam");
  a.op("fnstsw_ax");
  a.and(32, rax, CLASS);
  a.cmp(32, rax, EMPTY);
  a.jcc("ne", inUse);
  a.op("fld1");
  a.op("ftst"); // 1 > 0: C0–C3 are 0
  a.bytes(0xdd, 0xd8); // fstp %st(0)
  a.state("fnstcw", mem(area, FCW));
  a.mov(32, mem(area, X87_SAVED), 0);
  a.jmp(done);
  a.bind(inUse);
  a.movzx(rax, 16, mem(area, FSW));
  a.state("fxsave64", mem(area));
  a.mov(16, mem(area, IMAGE_FSW), rax);
  a.mov(32, mem(area, X87_SAVED), 1);
  a.op("fninit");
  a.state("fldcw", mem(area, IMAGE_FCW));
  a.bind(done);
}

/** What saveX87 has saved, as far as it has changed. Spends rax. */
function restoreX87(a: Assembler, area: Reg): void {
  const saved = a.label();
  const changed = a.label();
  const done = a.label();
  a.cmp(32, mem(area, X87_SAVED), 0);
  a.jcc("ne", saved);
  a.op("fnstsw_ax");
  a.state("fnstcw", mem(area, SCRATCH));
  a.cmp(16, rax, mem(area, FSW));
  a.jcc("ne", changed);
  a.movzx(rax, 16, mem(area, SCRATCH));
  a.cmp(16, rax, mem(area, FCW));
  a.jcc("e", done);
  a.bind(changed);
  a.mov(32, mem(area, FTW), ALL_EMPTY);
  for (let at = ADDRESSES; at < SCRATCH; at += 4) a.mov(32, mem(area, at), 0);
  a.state("fldenv", mem(area, ENVIRONMENT));
  a.jmp(done);
  a.bind(saved);
  a.state("fxrstor64", mem(area));
  a.bind(done);
}

/** UPPER, of the registers 0–15, which have been stored, and are spent. Spends rax. */
function findUpper(a: Assembler, level: VectorLevel): void {
  const or = (to: number, from: number) => (level === LEVEL_AVX512 ? a.vporq(to, from) : a.vorps(to, from));
  const CHAINS = 4;
  for (let i = CHAINS; i < 16; i++) or(i % CHAINS, i);
  or(0, 1);
  or(2, 3);
  or(0, 2);
  if (level === LEVEL_AVX512) a.bytes(0x62, 0xf3, 0xfd, 0x48, 0x3b, 0xc1, 0x01); // vextracti64x4 $1, %zmm0, %ymm1
  a.bytes(0xc4, 0xe3, 0x7d, 0x19, 0xc0, 0x01); // vextractf128 $1, %ymm0, %xmm0
  if (level === LEVEL_AVX512) a.vorps(0, 1);
  a.xor(32, rax, rax);
  a.bytes(0xc4, 0xe2, 0x7d, 0x17, 0xc0); // vptest %ymm0, %ymm0
  a.setcc("ne", rax);
}

/** Saves the state into the area at `area` (not rax). Spends rax and the flags. */
export function saveVectors(a: Assembler, level: VectorLevel, area: Reg): void {
  saveX87(a, area);
  moveVectors(a, level, "store", area);
  a.state("stmxcsr", mem(area, MXCSR));
  if (level === LEVEL_SSE) return;
  findUpper(a, level);
  a.mov(32, mem(area, UPPER), rax);
  a.op("vzeroupper");
}

/** Restores what `saveVectors` has saved. Spends rax and the flags. */
export function restoreVectors(a: Assembler, level: VectorLevel, area: Reg): void {
  restoreX87(a, area);
  moveVectors(a, level, "load", area);
  if (level !== LEVEL_SSE) {
    const dirty = a.label();
    a.cmp(32, mem(area, UPPER), 0);
    a.jcc("ne", dirty);
    a.op("vzeroupper");
    a.bind(dirty);
  }
  a.state("ldmxcsr", mem(area, MXCSR));
}

/** Bits of cpuid's answers (SDM volume 2, CPUID). */
const LEAF1_ECX_OSXSAVE_AVX = (1 << 27) | (1 << 28);
const LEAF7_EBX_AVX512F_BW = (1 << 16) | (1 << 30);

/**
 * `u64 zp_cpu_level()`, System V ABI: LEVEL_* of this processor. LEVEL_AVX512 needs AVX512BW (kmovq), which all processors
 * with AVX-512 have but the Xeon Phi: of that, only the lower halves are kept.
 */
export function cpuLevel(): CodeUnit {
  const a = new Assembler();
  const done = a.label();
  const leaf = (number: number): void => {
    a.mov(32, rax, number);
    a.mov(32, rcx, 0);
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
  leaf(1);
  require(rcx, LEAF1_ECX_OSXSAVE_AVX);
  a.mov(32, rcx, 0);
  a.op("xgetbv");
  a.mov(32, rsi, rax);
  require(rax, SSE_AVX);
  a.mov(32, rdi, LEVEL_AVX);
  require(rsi, ALL_AVX512);
  leaf(7);
  require(rbx, LEAF7_EBX_AVX512F_BW);
  a.mov(32, rdi, LEVEL_AVX512);
  a.bind(done);
  a.mov(32, rax, rdi);
  a.pop(rbx);
  a.unwind({ reg: STACK_POINTER, offset: 8 }, []);
  a.op("ret");
  return a.finish("zp_cpu_level");
}
