import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, test } from "vitest";
import { Assembler, r12, rbx, rdi, rsi } from "../../src/compiler/x64.ts";
import { writeSharedObject } from "../../src/elf/write.ts";
import {
  cpuLevel,
  LEVEL_AVX,
  LEVEL_AVX512,
  LEVEL_SSE,
  restoreVectors,
  saveVectors,
  VECTOR_AREA,
  type VectorLevel,
} from "../../src/image/vector-state.ts";

const LEVELS = [LEVEL_SSE, LEVEL_AVX, LEVEL_AVX512] as const;
const scratch = mkdtempSync(join(tmpdir(), "zpoline-test-"));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

/** `void keep_N(void *area, void (*hook)(void))` */
function keep(level: VectorLevel) {
  const a = new Assembler();
  a.push(rbx);
  a.push(r12);
  a.push(rbx);
  a.mov(64, rbx, rdi);
  a.mov(64, r12, rsi);
  saveVectors(a, level, rbx);
  a.call(r12);
  restoreVectors(a, level, rbx);
  a.pop(rbx);
  a.pop(r12);
  a.pop(rbx);
  a.op("ret");
  return a.finish(`keep_${level}`);
}

describe("vector state", () => {
  test("comes back as it was, whatever the hook does, and the hook starts with a sane one", () => {
    const library = join(scratch, "keep.so");
    const names = ["zp_cpu_level", ...LEVELS.map((level) => `keep_${level}`)];
    const exports = Object.fromEntries(names.map((name) => [name, name]));
    const object = { code: [cpuLevel(), ...LEVELS.map(keep)], data: [] };
    writeFileSync(library, writeSharedObject([object], { soname: "keep.so", exports }));
    const program = join(scratch, "vector-state");
    const source = fileURLToPath(new URL("../fixtures/vector-state.c", import.meta.url));
    const gcc = spawnSync("gcc", ["-O1", "-o", program, source, "-ldl"], { encoding: "utf8" });
    expect(gcc.stderr).toBe("");
    const { stdout, status, signal } = spawnSync(program, [library], { encoding: "utf8" });
    expect(stdout).toMatch(/^\w+: \d+ states, 0 differences\n$/);
    expect({ status, signal }).toEqual({ status: 0, signal: null });
  });

  test("an area holds what is moved, in whole cache lines", () => {
    expect(LEVELS.map((level) => VECTOR_AREA[level])).toEqual([576 + 16 * 16, 576 + 16 * 32, 576 + 32 * 64 + 8 * 8]);
    expect(LEVELS.map((level) => VECTOR_AREA[level] % 64)).toEqual([0, 0, 0]);
  });
});
