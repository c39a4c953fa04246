/** Who calls whom: which functions are needed, whether they recurse, and how much stack they take. */
import { WasmRefusal } from "./diagnostics.ts";
import type { Func, Value } from "./ir.ts";

export interface Callee {
  readonly name: string;
  /** Offset of the call in the module. */
  readonly at: number;
}

/** The calls that `func` makes; `inTable` names the functions that a call through a table can reach. */
export function callees(func: Func, inTable: (call: Value) => readonly string[]): Callee[] {
  const out: Callee[] = [];
  for (const block of func.blocks) {
    for (const value of block.values) {
      if (value.op === "call") out.push({ name: value.symbol, at: value.at });
      if (value.op === "calltable") for (const name of inTable(value)) out.push({ name, at: value.at });
    }
  }
  return out;
}

/**
 * Most bytes of stack below the return address, for each function, callees included. Refuses recursion, for which there
 * is no bound.
 */
export function maxStacks(
  calls: ReadonlyMap<string, readonly Callee[]>,
  frames: ReadonlyMap<string, number>,
): Map<string, number> {
  const out = new Map<string, number>();
  const path: Callee[] = [];
  const visit = (name: string, at: number): number => {
    const known = out.get(name);
    if (known !== undefined) return known;
    const start = path.findIndex((step) => step.name === name);
    if (start >= 0) {
      const cycle = [...path.slice(start), { name, at }];
      throw new WasmRefusal(
        `recursion: ${cycle.map((step) => step.name).join(" → ")}`,
        at,
        "write a loop that keeps its own stack in an array of fixed size",
        cycle.slice(1).map((step, i) => ({ message: `${cycle[i]!.name} calls ${step.name}`, offset: step.at })),
      );
    }
    path.push({ name, at });
    const below = (calls.get(name) ?? []).map((callee) => 8 + visit(callee.name, callee.at));
    path.pop();
    const total = frames.get(name)! + Math.max(0, ...below);
    out.set(name, total);
    return total;
  };
  for (const name of frames.keys()) visit(name, 0);
  return out;
}

/** The calls below `name` that need the most stack together, the function itself first. */
export function deepestChain(
  name: string,
  calls: ReadonlyMap<string, readonly Callee[]>,
  stacks: ReadonlyMap<string, number>,
): string[] {
  const need = (callee: Callee): number => stacks.get(callee.name) ?? 0;
  const chain = [name];
  for (let below = calls.get(name) ?? []; below.length > 0; ) {
    const deepest = below.reduce((a, b) => (need(b) > need(a) ? b : a));
    chain.push(deepest.name);
    below = calls.get(deepest.name) ?? [];
  }
  return chain;
}
