/** Opcodes of WebAssembly that random programs use, as data (core specification 2.0, section 5.4; threads proposal). */
import { I32, I64 } from "./wasm-binary.ts";

export type ValueType = typeof I32 | typeof I64;
export const VALUE_TYPES = [I32, I64] as const;

type PerType<T> = Readonly<Record<ValueType, T>>;

/** The first binary operator of a type; the others follow by their numbers. */
export const BINARY: PerType<number> = { [I32]: 0x6a, [I64]: 0x7c };
export const ADD = 0;
export const SUB = 1;
export const DIV_S = 3;
export const REM_S = 5;
export const REM_U = 6;
export const AND = 7;
export const OR = 8;
export const XOR = 9;
export const SHL = 10;
export const SHR_S = 11;
export const SHR_U = 12;
export const ROTL = 13;
export const ROTR = 14;
export const BINARY_COUNT = 15;

/** The first comparison: eq; ne, lt_s, lt_u, gt_s, gt_u, le_s, le_u, ge_s, ge_u follow. */
export const COMPARE: PerType<number> = { [I32]: 0x46, [I64]: 0x51 };
export const NE = 1;
export const LT_U = 3;
export const COMPARE_COUNT = 10;
export const EQZ: PerType<number> = { [I32]: 0x45, [I64]: 0x50 };

/** clz, ctz, popcnt, and sign extension of the low bytes. */
export const UNARY: PerType<readonly number[]> = {
  [I32]: [0x67, 0x68, 0x69, 0xc0, 0xc1],
  [I64]: [0x79, 0x7a, 0x7b, 0xc2, 0xc3, 0xc4],
};
export const WRAP = 0xa7;
export const EXTEND_S = 0xac;
export const EXTEND_U = 0xad;

export const UNREACHABLE = 0x00;
export const NOP = 0x01;
export const BLOCK = 0x02;
export const LOOP = 0x03;
export const IF = 0x04;
export const ELSE = 0x05;
export const END = 0x0b;
export const BR = 0x0c;
export const BR_IF = 0x0d;
export const BR_TABLE = 0x0e;
export const RETURN = 0x0f;
export const CALL = 0x10;
export const CALL_INDIRECT = 0x11;
export const DROP = 0x1a;
export const SELECT = 0x1b;
export const SELECT_TYPED = 0x1c;
export const LOCAL_GET = 0x20;
export const LOCAL_SET = 0x21;
export const LOCAL_TEE = 0x22;
export const GLOBAL_GET = 0x23;
export const GLOBAL_SET = 0x24;
export const EMPTY_BLOCK = 0x40;
export const MEMORY_COPY = [0xfc, 10, 0, 0] as const;
export const MEMORY_FILL = [0xfc, 11, 0] as const;

/** A load or store: opcode and bytes. The first of a list is that of the whole value. */
export type Access = readonly [opcode: number, bytes: number];

export const LOADS: PerType<readonly Access[]> = {
  [I32]: [
    [0x28, 4],
    [0x2c, 1],
    [0x2d, 1],
    [0x2e, 2],
    [0x2f, 2],
  ],
  [I64]: [
    [0x29, 8],
    [0x30, 1],
    [0x31, 1],
    [0x32, 2],
    [0x33, 2],
    [0x34, 4],
    [0x35, 4],
  ],
};
export const STORES: PerType<readonly Access[]> = {
  [I32]: [
    [0x36, 4],
    [0x3a, 1],
    [0x3b, 2],
  ],
  [I64]: [
    [0x37, 8],
    [0x3c, 1],
    [0x3d, 2],
    [0x3e, 4],
  ],
};

/** Each atomic operation has seven forms, in the order of their opcodes; here by type, with their bytes. */
export const ATOMIC_FORMS: PerType<readonly (readonly [form: number, bytes: number])[]> = {
  [I32]: [
    [0, 4],
    [2, 1],
    [3, 2],
  ],
  [I64]: [
    [1, 8],
    [4, 1],
    [5, 2],
    [6, 4],
  ],
};
export const ATOMIC = 0xfe;
export const ATOMIC_FENCE = [ATOMIC, 3, 0] as const;
export const ATOMIC_LOAD = 0x10;
export const ATOMIC_STORE = 0x17;
/** add, sub, and, or, xor, xchg: seven forms each, then cmpxchg. */
export const ATOMIC_UPDATE = 0x1e;
export const ATOMIC_UPDATES = 6;
export const ATOMIC_COMPARE_EXCHANGE = ATOMIC_UPDATE + 7 * ATOMIC_UPDATES;
