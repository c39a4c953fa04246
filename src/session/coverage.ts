import * as L from "../image/layout.ts";
import type { Gap } from "./gaps.ts";

interface Evidence {
  /**
   * By what the program images (one for each program that was started, execve included) were hooked, and how many of
   * them: `{ "jump+trap": 12 }`. Names are those of `--patch`.
   */
  readonly patches: Readonly<Record<string, number>>;
}

/**
 * Whether the trace shows all that it was asked for, from the moment on at which hooking is in place in each program
 * (docs/coverage.md).
 */
export type Coverage =
  | (Evidence & { readonly complete: true; readonly gaps: readonly [] })
  | (Evidence & { readonly complete: false; readonly gaps: readonly [Gap, ...Gap[]] });

export function coverageOf(gaps: readonly Gap[], patches: ReadonlyMap<string, number>): Coverage {
  const evidence: Evidence = { patches: Object.fromEntries(patches) };
  const [first, ...others] = gaps;
  if (first === undefined) return { complete: true, gaps: [], ...evidence };
  return { complete: false, gaps: [first, ...others], ...evidence };
}

const PATCH_NAMES: readonly (readonly [number, string])[] = [
  [L.PATCHES_ZERO, "zero"],
  [L.PATCHES_JUMP, "jump"],
  [L.PATCHES_TRAP, "trap"],
];

/** The name of a combination of PATCHES_* bits, as `--patch` takes it. */
export function patchNames(bits: number): string {
  return PATCH_NAMES.filter(([bit]) => (bits & bit) !== 0)
    .map(([, name]) => name)
    .join("+");
}
