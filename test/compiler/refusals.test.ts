/** What the guest compiler refuses: each refusal by its message, its place and what to write instead. */
import { expect, test } from "vitest";
import { compileWasm } from "../../src/compiler/compile.ts";
import { CompileError } from "../../src/compiler/diagnostics.ts";
import { compileText } from "./guest-fixture.ts";
import { body, functionType, I32, list, module as moduleOf, name, SECTION } from "./wasm-binary.ts";

async function refusal(main: string, maxStack?: number): Promise<CompileError> {
  try {
    await compileText({ "main.ts": main }, maxStack === undefined ? {} : { maxStack });
  } catch (error) {
    if (error instanceof CompileError) return error;
    throw error;
  }
  throw new Error("the program was accepted");
}

const external = (module: string, name: string, declaration: string): string =>
  `// @ts-ignore: decorator\n@external("${module}", "${name}") declare ${declaration};\n`;

const HEAP = "use an @unmanaged class over memory of your own";
const INTEGERS = "use integers only";
const VECTORS = "use u64: a hook must not touch";
const MAP = "map memory with mapPages()";
const LITERAL = "make it a StaticArray of constants at module level";
const PARTS = "write the parts one after the other with cstr()";
const DEFINE = "write it, or declare it with @external";
const WHILE_TRUE = "an endless loop is while (true)";

/** What it is, the program, the place and message, and part of the fix. */
const TABLE: readonly (readonly [what: string, program: string, message: string, fix: string])[] = [
  [
    "new",
    "class A { x: u32 = 0; }\nexport function f(): A {\n  return new A();\n}\n",
    "main.ts:3:10: managed allocation: there is no heap",
    HEAP,
  ],
  [
    "new of an @unmanaged class",
    "// @ts-ignore: decorator\n@unmanaged class P { x: u32; }\nexport function f(): P {\n  return new P();\n}\n",
    "main.ts:4:10: managed allocation",
    HEAP,
  ],
  [
    "a managed collection at module level",
    "const x = new Map<u32, u32>();\nexport function f(a: u32): u32 {\n  return x.get(a);\n}\n",
    "main.ts:1:11: managed allocation",
    HEAP,
  ],
  [
    "heap.alloc",
    "export function f(): usize {\n  return heap.alloc(16);\n}\n",
    "main.ts:2:10: managed allocation",
    HEAP,
  ],
  [
    "a string concatenation",
    'export function f(a: string): string {\n  return a + "b";\n}\n',
    "main.ts:2:10: text is put together at run time",
    PARTS,
  ],
  [
    "a template string",
    // biome-ignore lint/suspicious/noTemplateCurlyInString: the guest program has one
    "export function f(a: u32): string {\n  return `x${a}`;\n}\n",
    "main.ts:2:14: text is put together at run time",
    PARTS,
  ],
  [
    "an array literal that allocates",
    "export function f(a: u32): u32 {\n  const x = [a, 2, 3];\n  return x[0];\n}\n",
    "main.ts:2:13: an array literal that is made at run time",
    LITERAL,
  ],
  [
    "a StaticArray literal that allocates",
    "export function f(a: u32): u32 {\n  const x: StaticArray<u32> = [a, 2, 3];\n  return x[0];\n}\n",
    "main.ts:2:31: an array literal that is made at run time",
    LITERAL,
  ],
  [
    "growing an array",
    "const x: u32[] = [1, 2, 3];\nexport function f(): void {\n  x.push(4);\n}\n",
    "main.ts:3:10: managed allocation",
    HEAP,
  ],
  [
    "a closure",
    "export function f(a: u32): u32 {\n  const g = (x: u32): u32 => x + a;\n  return g(3);\n}\n",
    "main.ts:2:34: Not implemented: Closures",
    "pass what the function needs as parameters",
  ],
  [
    "an exception handler",
    "export function f(): void {\n  try { g(); } catch (e) { g(); }\n}\nfunction g(): void {}\n",
    "main.ts:2:3: Not implemented: Exceptions",
    "return an error number",
  ],
  [
    "for … of",
    "const x: u32[] = [1, 2];\nexport function f(): u32 {\n  let s: u32 = 0;\n  for (const y of x) s += y;\n  return s;\n}\n",
    "main.ts:4:3: Not implemented: Iterators",
    "count with an index",
  ],
  [
    "for (;;) in a function with a result",
    "export function f(): u32 {\n  for (;;) { if (load<u8>(4)) return 4; }\n}\n",
    "main.ts:1:22: A function whose declared type is not 'void' must return a value.",
    WHILE_TRUE,
  ],
  [
    "any",
    "export function f(x: any): u32 {\n  return 2;\n}\n",
    "main.ts:1:22: Cannot find name 'any'.",
    "name a type: u64, usize, a class",
  ],
  [
    "an implicit narrowing",
    "export function f(x: u64): u32 {\n  return x;\n}\n",
    "main.ts:2:10: Conversion from type 'u64' to 'u32' requires an explicit cast.",
    "write <u32>value",
  ],
  [
    "a floating point operation",
    "export function f(x: u32): u32 {\n  return <u32>(<f64>x * 1.5);\n}\n",
    "main.ts:2:16: floating point",
    INTEGERS,
  ],
  [
    "a floating point parameter",
    "export function f(x: f64): f64 {\n  return x;\n}\n",
    "main.ts:2:10: a value that is not an integer",
    INTEGERS,
  ],
  [
    "floating point inside asc's library",
    "export function f(p: usize, x: u32): void {\n  store<u64>(p, <u64>Math.log(x));\n}\n",
    "main.ts:2:31: floating point",
    INTEGERS,
  ],
  [
    "vector instructions",
    "export function f(p: usize): void {\n  v128.store(p, v128.load(p + 16));\n}\n",
    "main.ts:2:17: vector types",
    VECTORS,
  ],
  [
    "vector types",
    "export function f(p: u64): v128 {\n  return i64x2.splat(p);\n}\n",
    "main.ts:1:28: Feature 'simd' is not enabled.",
    VECTORS,
  ],
  [
    "direct recursion",
    "export function f(x: u32): u32 {\n  return x ? f(x - 1) * 3 + f(x >> 1) : 1;\n}\n",
    "main.ts:2:14: recursion: f → f\n    main.ts:2:14: f calls f",
    "write a loop that keeps its own stack",
  ],
  [
    "mutual recursion",
    [
      "export function f(x: u32): u32 {",
      "  return x ? g(x - 1) * 3 + g(x >> 1) : 1;",
      "}",
      "export function g(x: u32): u32 {",
      "  return x ? h(x - 1) * 3 + h(x + 2) : 1;",
      "}",
      "function h(x: u32): u32 {",
      "  return x & 8 ? f(x - 1) * 3 + f(x >> 1) : 7;",
      "}",
      "",
    ].join("\n"),
    [
      "main.ts:2:14: recursion: g → main/h → f → g",
      "    main.ts:5:14: g calls main/h",
      "    main.ts:8:18: main/h calls f",
      "    main.ts:2:14: f calls g",
    ].join("\n"),
    "write a loop that keeps its own stack",
  ],
  [
    "an import of the host",
    `${external("env", "x", "function x(): void")}export function f(): void {\n  x();\n}\n`,
    'main.ts:4:3: "x" is declared and used, but nothing defines it (import "env" "x")',
    DEFINE,
  ],
  [
    "a function that is only declared",
    "declare function x(): void;\nexport function f(): void {\n  x();\n}\n",
    'main.ts:3:3: "x" is declared and used, but nothing defines it',
    DEFINE,
  ],
  [
    "console",
    'export function f(): void {\n  console.log("hello");\n}\n',
    'main.ts:2:3: "console.log" is declared and used, but nothing defines it',
    DEFINE,
  ],
  [
    "an imported global",
    `${external("env", "x", "const x: u32")}export function f(): u32 {\n  return x;\n}\n`,
    'main.ts:4:10: the global "x" is declared, but nothing defines it',
    "give it a value",
  ],
  [
    "an unknown intrinsic",
    `${external("zpoline", "nix", "function x(): void")}export function f(): void {\n  x();\n}\n`,
    'main.ts:4:3: there is no intrinsic "nix"',
    "the intrinsics are syscall6, rdtsc",
  ],
  [
    "an intrinsic with other types",
    `${external("zpoline", "rdtsc", "function x(a: u32): u32")}export function f(): u32 {\n  return x(2);\n}\n`,
    'main.ts:4:10: the intrinsic "rdtsc" is declared with other types',
    "import it from std/raw",
  ],
  [
    "a symbol with other types",
    `${external("symbol", "zp_x", "function x(a: u32): u32")}export function f(): u32 {\n  return x(2);\n}\n`,
    'main.ts:4:10: the symbol "zp_x" is declared with other types',
    "declare function zp_x(): usize",
  ],
  [
    "a gs offset that is no constant",
    'import { gsLoad64 } from "./std/raw";\nexport function f(o: u32): u64 {\n  return gsLoad64(o);\n}\n',
    "main.ts:3:10: the offset of gs_load64 is not a constant",
    "write a constant",
  ],
  [
    "cstr() of what is no literal",
    'import { cstr } from "./std/cstr";\nexport function f(s: string): u64 {\n  return cstr(s);\n}\n',
    "main.ts:3:10: the argument of cstr() is not a string literal",
    "write the literal in the call",
  ],
  [
    "cstr() of a literal with a NUL",
    'import { cstr } from "./std/cstr";\nexport function f(): u64 {\n  return cstr("a\\0b");\n}\n',
    "main.ts:3:10: the argument of cstr() contains a NUL",
    "end the literal before it",
  ],
  ["memory.size", "export function f(): u32 {\n  return memory.size();\n}\n", "main.ts:2:10: memory.size()", MAP],
  ["memory.grow", "export function f(): u32 {\n  return memory.grow(1);\n}\n", "main.ts:2:10: memory.grow()", MAP],
  [
    "atomic.wait",
    "export function f(p: usize): i32 {\n  return atomic.wait<i32>(p, 1, 100);\n}\n",
    "main.ts:2:10: atomic.wait()",
    "use the futex system call",
  ],
  [
    "a global whose value is computed",
    "let a: u64 = load<u64>(8);\nexport function f(): u64 { return a; }\n",
    "main.ts:1:24: a statement at module level",
    "set it in a function",
  ],
  [
    "a statement at module level",
    "export function f(): u64 { return 1; }\nstore<u8>(5, 5);\n",
    "main.ts:2:11: a statement at module level",
    "set it in a function",
  ],
  [
    "a narrowed address of static data",
    "const A: StaticArray<u8> = [1];\nexport function f(): u32 {\n  return <u32>changetype<usize>(A);\n}\n",
    "main.ts:3:10: the result depends on the address of static data",
    "write it so that no address is narrowed",
  ],
];

test.each(TABLE)("%s is refused with its place and what to write instead", async (_, main, message, fix) => {
  const error = await refusal(main);
  expect(error.message.slice(0, message.length)).toBe(message);
  expect(error.format()).toContain(`fix: `);
  expect(error.diagnostics[0]?.fix).toContain(fix);
});

test("a function with several results, which only hand-made WebAssembly has", () => {
  const wasm = moduleOf(
    new Map([
      [SECTION.type, list([functionType([], [I32, I32])])],
      [SECTION.function, list([[0]])],
      [SECTION.export, list([[name("f"), 0, 0]])],
      [SECTION.code, list([body([], [0x41, 1, 0x41, 2])])],
    ]),
  );
  expect(() => compileWasm(wasm)).toThrow(/^a function with more than one result$/);
});

test("several refusals are said at once, each with its fix", async () => {
  const error = await refusal(
    "declare function x(): void;\nexport function f(): void {\n  x();\n}\nexport function g(): usize {\n  return heap.alloc(8);\n}\n",
  );
  expect(error.message.split("\n").map((line) => line.slice(0, 30))).toEqual([
    "main.ts:6:10: managed allocati",
    "  fix: use an @unmanaged class",
    'main.ts:3:3: "x" is declared a',
    "  fix: write it, or declare it",
  ]);
});

test("a stack need above the bound names the deepest chain of calls, in bytes", async () => {
  const body = (next: string): string =>
    Array.from({ length: 6 }, (_, i) => `${next}(x + ${i}) * ${next}(x ^ ${i + 1})`).join(" + ");
  const main = [
    "export function shallow(x: u64): u64 { return leaf(x); }",
    `export function entry(x: u64): u64 { return ${body("middle")}; }`,
    `function middle(x: u64): u64 { return ${body("leaf")}; }`,
    "function leaf(x: u64): u64 { return syscall6(x, x, 0, 0, 0, 0, 0); }",
    external("zpoline", "syscall6", "function syscall6(n: u64, a: u64, b: u64, c: u64, d: u64, e: u64, f: u64): i64"),
  ].join("\n");
  const error = await refusal(main, 40);
  const lines = error.message.split("\n");
  expect(error.diagnostics).toHaveLength(1);
  const [, need] = /^main\.ts:2:\d+: "entry" needs (\d+) bytes of stack; 40 are allowed$/.exec(lines[0]!) ?? [];
  const chain = lines.slice(1).map((line) => /^ {4}main\.ts:(\d+):\d+: (\S+): (\d+) bytes$/.exec(line)!.slice(1));
  expect(chain.map(([line, name]) => [line, name])).toEqual([
    ["2", "entry"],
    ["3", "main/middle"],
  ]);
  expect(chain.reduce((sum, [, , bytes]) => sum + Number(bytes), 0)).toBe(Number(need));
  expect(error.fix).toMatch(/split the deepest function/);
});
