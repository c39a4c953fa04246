/**
 * What random programs import: the operations of the machine that guests have, and foreign functions to call through
 * pointers. Each is there twice: for V8, and as machine code or by the compiler itself.
 */
import type { CodeUnit, ObjectFile } from "../../src/compiler/object.ts";
import { Assembler, mem, r8, r9, r10, r11, rax, rcx, rdi, rdx, rsi, rsp } from "../../src/compiler/x64.ts";
import type { ValueType } from "./fuzz-opcodes.ts";
import type { Imports } from "./v8.ts";
import { I32, I64 } from "./wasm-binary.ts";

export interface Import {
  readonly module: "zpoline" | "symbol";
  readonly name: string;
  readonly params: readonly ValueType[];
  readonly result: ValueType | undefined;
}

/** The greatest number of arguments of a foreign function. */
export const FOREIGN_MOST = 7;
const ARITIES = Array.from({ length: FOREIGN_MOST + 1 }, (_, i) => i);
const longs = (count: number): ValueType[] => new Array<ValueType>(count).fill(I64);

/** Bytes of the block that gs points to. */
export const GS_SIZE = 256;
/** Bytes below its return address that a foreign function overwrites. */
export const FOREIGN_STACK = 128;

export const IMPORTS: readonly Import[] = [
  ...ARITIES.map((n): Import => ({ module: "zpoline", name: `call${n}`, params: longs(n + 1), result: I64 })),
  ...ARITIES.map((n): Import => ({ module: "symbol", name: `foreign${n}`, params: [], result: I64 })),
  { module: "zpoline", name: "gs_load64", params: [I32], result: I64 },
  { module: "zpoline", name: "gs_store64", params: [I32, I64], result: undefined },
  { module: "zpoline", name: "gs_xadd64", params: [I32, I64], result: I64 },
  { module: "zpoline", name: "gs_xchg64", params: [I32, I64], result: I64 },
  { module: "zpoline", name: "syscall6", params: longs(7), result: I64 },
  { module: "zpoline", name: "rdtsc", params: [], result: I64 },
  { module: "zpoline", name: "pause", params: [], result: undefined },
  { module: "zpoline", name: "fence", params: [], result: undefined },
];

export function importIndex(name: string): number {
  const index = IMPORTS.findIndex((item) => item.name === name);
  if (index < 0) throw new Error(`there is no import "${name}"`);
  return index;
}

const FACTOR = 0x9e3779b97f4a7c15n;
const ENOSYS = -38n;

function hash(args: readonly bigint[]): bigint {
  return args.reduce((sum, arg) => BigInt.asIntN(64, (sum ^ arg) * FACTOR), BigInt(args.length));
}

/** The imports for V8; a foreign function's address is its number of arguments there. */
export function importsForOracle(gs: DataView): Imports {
  const exchange = (at: number, change: (old: bigint) => bigint): bigint => {
    const old = gs.getBigInt64(at, true);
    gs.setBigInt64(at, change(old), true);
    return old;
  };
  return {
    zpoline: {
      ...Object.fromEntries(ARITIES.map((n) => [`call${n}`, (_: bigint, ...args: bigint[]) => hash(args)])),
      gs_load64: (at: number) => exchange(at, (old) => old),
      gs_store64: (at: number, value: bigint) => void exchange(at, () => value),
      gs_xadd64: (at: number, value: bigint) => exchange(at, (old) => old + value),
      gs_xchg64: (at: number, value: bigint) => exchange(at, () => value),
      syscall6: () => ENOSYS,
      rdtsc: () => 1n << 40n,
      pause: () => undefined,
      fence: () => undefined,
    },
    symbol: Object.fromEntries(ARITIES.map((n) => [`foreign${n}`, () => BigInt(n)])),
  };
}

/** hash() by the System V ABI; all registers that the ABI leaves to the callee are spent, the red zone as well. */
function foreign(count: number): CodeUnit {
  const a = new Assembler();
  const misaligned = a.label();
  a.mov(64, r10, rsp);
  a.and(32, r10, 15);
  a.cmp(32, r10, 8);
  a.jcc("ne", misaligned);
  a.mov(64, rax, count);
  a.mov(64, r10, FACTOR);
  [rdi, rsi, rdx, rcx, r8, r9, mem(rsp, 8)].slice(0, count).forEach((argument) => {
    a.xor(64, rax, argument);
    a.imul(64, rax, r10);
  });
  for (const spent of [rdi, rsi, rdx, rcx, r8, r9, r11]) a.mov(64, spent, r10);
  for (let at = 8; at <= FOREIGN_STACK; at += 8) a.mov(64, mem(rsp, -at), r10);
  if (count > 6) a.mov(64, mem(rsp, 8), r10);
  a.op("ret");
  a.bind(misaligned);
  a.op("ud2");
  return a.finish(`foreign${count}`);
}

/** The foreign functions as machine code. */
export const FOREIGN: ObjectFile = { code: ARITIES.map(foreign), data: [] };
