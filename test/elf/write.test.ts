import { execFileSync, spawnSync } from "node:child_process";
import { chmodSync, copyFileSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { ObjectFile } from "../../src/compiler/object.ts";
import { buildId, readElf } from "../../src/elf/read.ts";
import { memorySource } from "../../src/elf/source.ts";
import type { SharedObjectOptions } from "../../src/elf/write.ts";
import { writeExecutable, writeSharedObject } from "../../src/elf/write.ts";
import { abs64, code, data, hex, rel32, text, writer } from "../compiler/units.ts";

let directory = "";
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "zpoline-elf-"));
});
afterAll(() => rmSync(directory, { recursive: true }));

/** Writes a file of the test and gives its path. */
function put(name: string, bytes: Uint8Array): string {
  const path = join(directory, name);
  writeFileSync(path, bytes);
  chmodSync(path, 0o755);
  return path;
}

/** _start: hello(), exit(answer()). answer() reads 42 through a pointer in writable data to a constant. */
const program: ObjectFile = {
  code: [
    code("_start", hex("e8 00000000 e8 00000000 89 c7 b8 3c000000 0f 05"), {
      relocs: [rel32(1, "hello"), rel32(6, "answer")],
    }),
    writer("hello", "message", 6),
    code("answer", hex("48 8b 05 00000000 8b 00 c3"), { relocs: [rel32(3, "pointer")], marks: { "answer.load": 7 } }),
  ],
  data: [
    data("message", text("hello\n"), { align: 1 }),
    data("value", hex("2a000000")),
    data("table", new Uint8Array(16), { relocs: [abs64(8, "value")] }),
    data("pointer", new Uint8Array(8), { writable: true, relocs: [abs64(0, "value")] }),
    data("slot", new Uint8Array(8), { writable: true }),
    data("absent", new Uint8Array(8), { writable: true }),
    data("room", new Uint8Array(0), { writable: true, size: 0x5000 }),
  ],
};
const options: SharedObjectOptions = {
  soname: "libtest.so",
  init: ["hello"],
  exports: { test_answer: "answer", test_value: "value", test_slot: "slot", test_absent: "absent" },
  imports: { environ: "slot", no_such_symbol_anywhere: "absent" },
  flags: ["initfirst", "nodelete"],
};

describe("an executable", () => {
  test("runs", () => {
    const run = spawnSync(put("program", writeExecutable([program])), { encoding: "utf8" });
    expect(run).toMatchObject({ stdout: "hello\n", status: 42 });
  });

  test("may hold addresses in its code", () => {
    const start = code("_start", hex("48 b8 0000000000000000 8b 38 b8 3c000000 0f 05"), {
      relocs: [abs64(2, "value")],
    });
    const objects = [{ code: [start], data: [data("value", hex("07000000"))] }];
    for (const base of [0x400000, 0x7000000000]) {
      const run = spawnSync(put("absolute", writeExecutable(objects, { base })));
      expect(run.status).toBe(7);
    }
  });

  test("that is position independent finds its own relocations", () => {
    // The sum of r_offset over the table (one entry, for `pointer`) is where the kernel put `pointer`, less the base.
    const start = code(
      "_start",
      hex(`
        48 8d 3d 00000000    ; lea rdi, [rip + __rela_start]
        48 8d 35 00000000    ; lea rsi, [rip + __rela_end]
        48 29 fe             ; sub rsi, rdi
        48 8d 05 00000000    ; lea rax, [rip + __image_start]
        48 03 07             ; add rax, [rdi]
        48 8d 0d 00000000    ; lea rcx, [rip + pointer]
        48 29 c8             ; sub rax, rcx
        8d 3c 30             ; lea edi, [rax + rsi]
        b8 3c000000 0f 05    ; exit`),
      {
        relocs: [rel32(3, "__rela_start"), rel32(10, "__rela_end"), rel32(20, "__image_start"), rel32(30, "pointer")],
      },
    );
    const pointer = data("pointer", new Uint8Array(8), { writable: true, relocs: [abs64(0, "_start")] });
    const path = put("pie", writeExecutable([{ code: [start], data: [pointer] }], { base: "pie" }));
    expect(spawnSync(path).status).toBe(24);
  });

  test("with nothing but zeroed data runs", () => {
    const start = code("_start", hex("8b 3d 00000000 b8 3c000000 0f 05"), { relocs: [rel32(2, "zero")] });
    const zero = data("zero", new Uint8Array(0), { writable: true, size: 0x3000 });
    expect(spawnSync(put("zeroed", writeExecutable([{ code: [start], data: [zero] }]))).status).toBe(0);
  });

  test("that names a dynamic loader gets its relocations applied, its libraries loaded, and others preloaded", () => {
    const dynamic = { loader: "/lib64/ld-linux-x86-64.so.2", needed: ["libc.so.6"] };
    const path = put("dynamic", writeExecutable([program], { base: "pie", dynamic }));
    expect(spawnSync(path, { encoding: "utf8" })).toMatchObject({ stdout: "hello\n", status: 42 });
    const traced = spawnSync(path, { encoding: "utf8", env: { LD_TRACE_LOADED_OBJECTS: "1" } });
    expect(traced.stdout).toMatch(/libc\.so\.6 => \//);
    const library = put("libhello.so", writeSharedObject([program], { soname: "libhello.so", init: ["hello"] }));
    expect(spawnSync(path, { encoding: "utf8", env: { LD_PRELOAD: library } }).stdout).toBe("hello\nhello\n");
  });

  test("needs its entry", () => {
    expect(() => writeExecutable([program], { entry: "main" })).toThrow(
      'undefined symbol "main" (used as the entry point)',
    );
  });
});

describe("a shared object", () => {
  test("is preloaded, and its constructor runs", () => {
    const path = put("libtest.so", writeSharedObject([program], options));
    const run = spawnSync("/bin/true", { env: { LD_PRELOAD: path }, encoding: "utf8" });
    expect(run).toMatchObject({ stdout: "hello\n", stderr: "", status: 0 });
  });

  test("is mapped with no page writable and executable, and its dynamic section read-only", () => {
    const path = put("libtest.so", writeSharedObject([program], options));
    const maps = execFileSync("cat", ["/proc/self/maps"], {
      env: { ...process.env, LD_PRELOAD: path },
      encoding: "utf8",
    });
    const modes = [...maps.matchAll(/ (\S{4}) .*libtest\.so$/gm)].map(([, mode]) => mode);
    expect(modes).toEqual(["r--p", "r-xp", "r--p", "rw-p"]);
  });

  test("can be loaded twice, at two bases, with exports and weak imports", () => {
    const one = put("libone.so", writeSharedObject([program], options));
    const two = join(directory, "libtwo.so");
    copyFileSync(one, two);
    const source = put(
      "load.c",
      text(`#include <dlfcn.h>
        #include <stdio.h>
        extern char **environ;
        static void show(const char *path) {
          void *lib = dlopen(path, RTLD_NOW | RTLD_LOCAL);
          if (!lib) { puts(dlerror()); return; }
          int (*answer)(void) = dlsym(lib, "test_answer");
          int *value = dlsym(lib, "test_value");
          void **slot = dlsym(lib, "test_slot"), **absent = dlsym(lib, "test_absent");
          printf("%d %d %d %d %d\\n", answer(), *value, *slot == &environ, !*absent, !dlsym(lib, "hello"));
          fflush(stdout);
        }
        int main(int argc, char **argv) { show(argv[1]); show(argv[2]); }`),
    );
    const loader = join(directory, "load");
    execFileSync("gcc", ["-o", loader, source]);
    const run = spawnSync(loader, [one, two], { encoding: "utf8" });
    expect(run.stdout).toBe("hello\n42 42 1 1 1\nhello\n42 42 1 1 1\n");
  });

  test("without exports or constructors is still whole", () => {
    const path = put("libbare.so", writeSharedObject([program], { soname: "libbare.so" }));
    const run = spawnSync("/bin/true", { env: { LD_PRELOAD: path }, encoding: "utf8" });
    expect(run).toMatchObject({ stdout: "", stderr: "", status: 0 });
  });

  test("is the same bytes every time, and its build id covers them", () => {
    const idOf = (bytes: Uint8Array) => buildId(readElf(memorySource(bytes), "libtest.so"));
    const first = writeSharedObject([program], options);
    expect(writeSharedObject([program], options)).toEqual(first);
    const other = { ...program, data: [...program.data, data("more", hex("01"))] };
    expect(idOf(first)).toMatch(/^(?!0+$)[0-9a-f]{40}$/);
    expect(idOf(writeSharedObject([other], options))).not.toBe(idOf(first));
  });

  test("refuses what cannot be a constructor or the slot of an import", () => {
    const soname = "lib.so";
    const write = (more: Partial<SharedObjectOptions>) => () => writeSharedObject([program], { soname, ...more });
    expect(write({ init: ["slot"] })).toThrow('symbol "slot" cannot be a constructor');
    expect(write({ imports: { environ: "value" } })).toThrow('symbol "value" cannot be the import "environ"');
  });

  test("needs the symbols that its options name", () => {
    const soname = "lib.so";
    expect(() => writeSharedObject([program], { soname, init: ["x"] })).toThrow('"x" (used as a constructor)');
    expect(() => writeSharedObject([program], { soname, exports: { a: "x" } })).toThrow('"x" (used as the export "a")');
    expect(() => writeSharedObject([program], { soname, imports: { a: "x" } })).toThrow('"x" (used as the import "a")');
  });
});

describe("the tools accept", () => {
  const kinds = {
    "a shared object": () => writeSharedObject([program], options),
    "a bare shared object": () => writeSharedObject([{ code: [], data: [] }], { soname: "libempty.so" }),
    "an executable": () => writeExecutable([program]),
    "a static PIE": () => writeExecutable([program], { base: "pie" }),
  };
  const cases = Object.entries(kinds);

  test.each(cases)("readelf -aW: %s", (_name, write) => {
    const run = spawnSync("readelf", ["-aW", put("file", write())], { encoding: "utf8" });
    expect(run).toMatchObject({ stderr: "", status: 0 });
    expect(run.stdout).not.toMatch(/warning|error|corrupt|<unknown/i);
    for (const [, flags] of run.stdout.matchAll(/LOAD .* ([RWE ]{3}) 0x1000/g)) expect(flags).not.toMatch(/W.*E/);
  });

  test.each(cases)("eu-elflint: %s", (_name, write) => {
    const path = put("file", write());
    for (const args of [[], ["--gnu-ld"]])
      expect(spawnSync("eu-elflint", [...args, path], { encoding: "utf8" }).stdout).toBe("No errors\n");
  });

  test("ldd: a shared object", () => {
    const run = spawnSync("ldd", [put("libtest.so", writeSharedObject([program], options))], { encoding: "utf8" });
    expect(run.stdout.trim()).toBe("statically linked");
  });

  test("nm: units with their sizes, marks as labels", () => {
    const names = execFileSync("nm", ["-S", put("program", writeExecutable([program]))], { encoding: "utf8" });
    expect(names).toMatch(/^0000000000401040 000000000000000a t answer$/m);
    expect(names).toMatch(/^0000000000401047 t answer\.load$/m);
  });
});
