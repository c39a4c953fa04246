/** The functions that guest code imports from "zpoline": operations of the machine, lowered inline. */
import type { Op } from "./ir.ts";

export interface Intrinsic {
  readonly op: Op;
  /** The first argument is a constant: an offset from gs. */
  readonly offset: boolean;
}

const row = (op: Op, offset = false): Intrinsic => ({ op, offset });

export const INTRINSICS: ReadonlyMap<string, Intrinsic> = new Map([
  ["syscall6", row("syscall")],
  ["rdtsc", row("rdtsc")],
  ["pause", row("pause")],
  ["fence", row("fence")],
  ["gs_load64", row("gsload", true)],
  ["gs_store64", row("gsstore", true)],
  ["gs_xadd64", row("gsxadd", true)],
  ["gs_xchg64", row("gsxchg", true)],
  ["wrgsbase", row("wrgsbase")],
  ["call0", row("callptr")],
  ["call1", row("callptr")],
  ["call2", row("callptr")],
  ["call3", row("callptr")],
  ["call4", row("callptr")],
  ["call5", row("callptr")],
  ["call6", row("callptr")],
  ["call7", row("callptr")],
]);
