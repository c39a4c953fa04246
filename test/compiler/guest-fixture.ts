/** Compiles guest code that a test holds as text, and calls it. */
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { type CompiledGuest, compileGuest, type GuestOptions } from "../../src/compiler/compile.ts";
import type { ObjectFile } from "../../src/compiler/object.ts";
import { type Argument, type CallResult, runNative } from "./native.ts";

export const repository = fileURLToPath(new URL("../..", import.meta.url));

/** `files`: text by path; "main.ts" is the entry. The guest's standard library lies in "std/". */
export async function compileText(
  files: Readonly<Record<string, string>>,
  options: Partial<GuestOptions> = {},
): Promise<CompiledGuest> {
  const root = mkdtempSync(join(tmpdir(), "zpoline-guest-"));
  try {
    cpSync(join(repository, "guest/std"), join(root, "std"), { recursive: true });
    for (const [name, text] of Object.entries(files)) {
      mkdirSync(dirname(join(root, name)), { recursive: true });
      writeFileSync(join(root, name), text);
    }
    return await compileGuest({ entry: join(root, "main.ts"), root, ...options });
  } finally {
    rmSync(root, { recursive: true });
  }
}

export const i64 = (value: bigint | number): Argument => ({ bits: 64, value: BigInt(value) });
export const i32 = (value: bigint | number): Argument => ({ bits: 32, value: BigInt(value) });

/** Calls functions one after the other in one process. Nothing that the ABI promises may be broken. */
export function callAll(
  objects: readonly ObjectFile[],
  calls: readonly (readonly [name: string, ...args: Argument[]])[],
  measure = 0,
): CallResult[] {
  const steps = calls.map(([name, ...args], seed) => ({ kind: "call" as const, name, args, seed, measure }));
  const { results, stopped } = runNative(objects, steps);
  if (stopped !== undefined) throw new Error(`the program stopped: ${stopped}`);
  return results.map((result) => {
    if (result.kind !== "call") throw new Error("not a call");
    if (result.violations.length > 0) throw new Error(result.violations.join("; "));
    return result;
  });
}
