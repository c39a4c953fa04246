/**
 * Programs that were compiled wrongly once: text modules in regressions/, in whose comments each line `;; call` names an
 * exported function and its arguments (`;; call f i32 -1 i64 7`).
 */
import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { decodeModule } from "../../src/compiler/wasm.ts";
import { fromText } from "./fuzz-binaryen.ts";
import type { Program } from "./fuzz-program.ts";
import type { ExportedFunction } from "./fuzz-random-module.ts";
import type { Argument, CallStep } from "./native.ts";
import type { I32, I64 } from "./wasm-binary.ts";

const directory = fileURLToPath(new URL("regressions/", import.meta.url));
const MEMORY = { base: 0x1000_0000n, end: 0x1001_0000n };

export const regressions = (): string[] => readdirSync(directory).filter((name) => name.endsWith(".wat"));

/** @param name of the file */
export function readRegression(name: string): Program {
  const text = readFileSync(`${directory}${name}`, "utf8");
  const binary = fromText(text);
  const { exports, functions: defined, imports, types } = decodeModule(binary);
  const functions = exports
    .filter(({ kind }) => kind === "func")
    .map(({ name: exported, index }): ExportedFunction => {
      const { params, results } = types[defined[index - imports.length]!]!;
      const [result] = results as readonly (typeof I32 | typeof I64)[];
      return { name: exported, params: params as readonly (typeof I32 | typeof I64)[], result };
    });
  const calls = [...text.matchAll(/^;; call (.*)$/gm)].map(([, words], i) => readCall(words!, i));
  return { binary, twin: undefined, memory: MEMORY, functions, globals: [], calls, memorySeed: 1, spans: [] };
}

function readCall(words: string, seed: number): CallStep {
  const [name, ...rest] = words.split(" ");
  const args = [...rest.join(" ").matchAll(/i(32|64) (-?\d+)/g)].map(
    ([, bits, value]): Argument => ({ bits: bits === "32" ? 32 : 64, value: BigInt(value!) }),
  );
  return { kind: "call", name: name!, args, seed };
}
