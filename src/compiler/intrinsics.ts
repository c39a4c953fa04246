/** The functions that guest code imports from "zpoline": operations of the machine, lowered inline. */
import type { Op } from "./ir.ts";

export interface Intrinsic {
  readonly op: Op;
  /** Parameters and result: `i` 32 bits, `I` 64. */
  readonly type: string;
  /** The first argument is a constant: an offset from gs. */
  readonly offset: boolean;
}

const row = (op: Op, type: string, offset = false): Intrinsic => ({ op, type, offset });

export const INTRINSICS: ReadonlyMap<string, Intrinsic> = new Map([
  ["syscall6", row("syscall", "IIIIIII>I")],
  ["rdtsc", row("rdtsc", ">I")],
  ["pause", row("pause", ">")],
  ["fence", row("fence", ">")],
  ["gs_load64", row("gsload", "i>I", true)],
  ["gs_store64", row("gsstore", "iI>", true)],
  ["gs_xadd64", row("gsxadd", "iI>I", true)],
  ["gs_xchg64", row("gsxchg", "iI>I", true)],
  ["wrgsbase", row("wrgsbase", "I>")],
  ["rdfsbase", row("rdfsbase", ">I")],
  ["call0", row("callptr", "I>I")],
  ["call1", row("callptr", "II>I")],
  ["call2", row("callptr", "III>I")],
  ["call3", row("callptr", "IIII>I")],
  ["call4", row("callptr", "IIIII>I")],
  ["call5", row("callptr", "IIIIII>I")],
  ["call6", row("callptr", "IIIIIII>I")],
  ["call7", row("callptr", "IIIIIIII>I")],
]);
