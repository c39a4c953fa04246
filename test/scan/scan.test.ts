/** `zpoline scan` against objdump, and against what a hooked process really holds at the sites. */
import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, test } from "vitest";
import { present } from "../helpers/mapped-elf.ts";
import { objdumpSites } from "../rewrite/finder.ts";

const ZPOLINE = fileURLToPath(new URL("../../bin/zpoline.js", import.meta.url));
const LIBC = "/lib/x86_64-linux-gnu/libc.so.6";
const LOADER = "/lib64/ld-linux-x86-64.so.2";

const tmp = fs.mkdtempSync(path.join(os.tmpdir(), "scan-test-"));
afterAll(() => fs.rmSync(tmp, { recursive: true, force: true }));

interface Site {
  readonly address: number;
  readonly code: readonly { readonly bytes: string; readonly text: string | null }[];
  readonly certain: boolean;
  readonly patch: string;
  readonly window: { readonly before: number; readonly after: number } | null;
  readonly reason: string | null;
}

interface Scan {
  readonly file: string;
  readonly sites: number;
  readonly unsure: number;
  readonly falsePairs: number;
  readonly list: readonly Site[];
}

function run(command: string, args: readonly string[], env: NodeJS.ProcessEnv = process.env) {
  const { status, stdout, stderr } = spawnSync(command, args, { encoding: "utf8", env, maxBuffer: 1 << 28 });
  return { status, stdout, stderr };
}

const zpoline = (...args: readonly string[]) => run(process.execPath, [ZPOLINE, ...args]);

function scan(file: string, patch = "zero"): Scan {
  const { status, stdout, stderr } = zpoline("scan", "--json", "--patch", patch, file);
  expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
  return JSON.parse(stdout) as Scan;
}

/** Compiles assembly text to a static program without libraries. */
function assemble(name: string, text: string): string {
  const file = path.join(tmp, name);
  const { status, stderr } = spawnSync(
    "gcc",
    ["-nostdlib", "-static", "-Wl,--eh-frame-hdr", "-x", "assembler", "-o", file, "-"],
    {
      input: text,
      encoding: "utf8",
    },
  );
  if (status !== 0) throw new Error(stderr);
  return file;
}

const TINY = `
.globl _start
.type _start, @function
_start: .cfi_startproc
  xor %edi, %edi
  mov $60, %eax
  syscall
  ret
  .cfi_endproc
.size _start, .-_start
.type any, @function
any: .cfi_startproc
  mov %rdi, %rax
  mov 8(%rsp), %r9
  syscall
  mov $0x50f, %eax
  ret
  .cfi_endproc
.size any, .-any
`;

describe("real programs", () => {
  const PROGRAMS = present(LIBC, LOADER, "/bin/busybox", "/usr/bin/python3", "/bin/bash", "/lib/ld-musl-x86_64.so.1");

  test.each(PROGRAMS)("%s: exactly the instructions that objdump finds", (file) => {
    const { sites, unsure, list } = scan(file);
    expect({ sites, unsure }).toEqual({ sites: list.length, unsure: 0 });
    expect(list.map(({ address }) => address)).toEqual(objdumpSites(file));
  });

  test("node: none of its byte pairs is taken for a system call", () => {
    const { list, falsePairs } = scan(process.execPath);
    const real = new Set(objdumpSites(process.execPath));
    expect(list.filter(({ certain, address }) => certain && !real.has(address))).toEqual([]);
    expect(falsePairs).toBeGreaterThan(0);
  });

  test.each(["zero", "jump"])("the plan is what a process hooked by --patch %s does", (usual) => {
    const dump = path.join(tmp, "dump");
    // The executable mappings of files, and the bytes there.
    const script = `
import re, json, sys
out = []
for line in open("/proc/self/maps"):
    m = re.match(r"([0-9a-f]+)-([0-9a-f]+) r-xp ([0-9a-f]+) \\S+ \\S+ +(/.*)", line)
    if m:
        start, end = int(m[1], 16), int(m[2], 16)
        with open("/proc/self/mem", "rb") as mem:
            mem.seek(start)
            out.append({"file": m[4], "offset": int(m[3], 16), "bytes": mem.read(end - start).hex()})
json.dump(out, open(sys.argv[1], "w"))`;
    const library = zpoline("lib").stdout.trim();
    const { status, stderr } = run("python3", ["-c", script, dump], {
      ...process.env,
      LD_PRELOAD: library,
      ZPOLINE_PATCH: usual,
    });
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    const mappings = JSON.parse(fs.readFileSync(dump, "utf8")) as { file: string; offset: number; bytes: string }[];
    const seen = mappings.filter(({ file }) => file !== library);
    const patches = new Set<string>();
    for (const { file, offset, bytes } of seen) {
      const memory = Buffer.from(bytes, "hex");
      const { list } = scan(file, usual);
      const at = (address: number) => address - offset - textBias(file, offset);
      const wrong = list.filter((site) => {
        patches.add(site.patch);
        const here = memory.subarray(at(site.address), at(site.address) + 2).toString("hex");
        const isJump = memory[at(site.address) - (site.window?.before ?? 0)] === 0xe9;
        return (isJump ? "jump" : here === "ffd0" ? "zero" : "none") !== site.patch;
      });
      expect({ file, wrong }).toEqual({ file, wrong: [] });
    }
    expect([...patches].sort()).toEqual(usual === "zero" ? ["jump", "zero"] : ["jump", "none"]);
    expect(seen.map(({ file }) => fs.realpathSync(file))).toContain(fs.realpathSync(LIBC));
  });
});

/** Address less offset of the segment that maps `offset`. */
function textBias(file: string, offset: number): number {
  const { stdout } = run("readelf", ["-lW", file]);
  const loads = [...stdout.matchAll(/^ *LOAD +(0x[0-9a-f]+) +(0x[0-9a-f]+)/gm)];
  const load = loads.find(([, at]) => (Number(at) & ~4095) === offset);
  return Number(load?.[2]) - Number(load?.[1]);
}

describe("a small file", () => {
  test("JSON", () => {
    const file = assemble("tiny", TINY);
    const { stdout } = zpoline("scan", "--json", file);
    const [, entry = ""] = /Entry point address: +(0x\w+)/.exec(run("readelf", ["-h", file]).stdout) ?? [];
    const start = Number(entry);
    const code = (bytes: string, text: string | null, moved = false) => ({ bytes, text, moved });
    expect(JSON.parse(stdout)).toEqual({
      ...{ file, sites: 2, zero: 1, jump: 1, left: 0, unsure: 0, falsePairs: 1 },
      list: [
        {
          ...{ address: start + 7, function: "_start", offset: 7, number: 60, name: "exit" },
          code: [code("31ff", "xor %edi,%edi"), code("b83c000000", "mov $0x3c,%eax"), code("0f05", "syscall")],
          ...{ certain: true, patch: "zero", window: null, reason: null },
        },
        {
          ...{ address: start + 18, function: "any", offset: 8, number: null, name: null },
          code: [code("4889f8", "mov %rdi,%rax"), code("4c8b4c2408", null, true), code("0f05", "syscall", true)],
          ...{ certain: true, patch: "jump", window: { before: 5, after: 0 }, reason: "any-number" },
        },
      ],
    });
  });

  test("text", () => {
    const { stdout, stderr, status } = zpoline("scan", assemble("tiny", TINY));
    expect({ stderr, status }).toEqual({ stderr: "", status: 0 });
    expect(stdout.replaceAll(/0x40\w+/g, "ADDRESS")).toBe(
      `${path.join(tmp, "tiny")}:
  ADDRESS  zero  exit  _start+0x7  31 ff xor %edi,%edi; b8 3c 00 00 00 mov $0x3c,%eax; 0f 05 syscall
  ADDRESS  jump  -     any+0x8     48 89 f8 mov %rdi,%rax; [4c 8b 4c 24 08; 0f 05 syscall]  # any number
  2 sites: 1 zero, 1 jump, 0 left; 1 false pair
`,
    );
  });

  test("--patch jump: windows in brackets, and why there is none", () => {
    const body = `.type f, @function\nf: .cfi_startproc
      1: xor %edi, %edi; syscall; cmp $-4096, %rax; ja 1b
      mov $15, %eax; syscall
      mov $1, %edi; mov %rsi, %rax; syscall
      2: syscall; jmp 2b
      .cfi_endproc\n.size f, .-f\n`;
    const file = assemble("windows", `.globl _start\n_start: ${body}`);
    const { stdout } = zpoline("scan", "--patch", "jump", file);
    expect(stdout.replaceAll(/0x40\w+/g, "ADDRESS")).toBe(`${file}:
  ADDRESS  jump  -             f+0x2   31 ff xor %edi,%edi; [0f 05 syscall; 48 3d 00 f0 ff ff]
  ADDRESS  none  rt_sigreturn  f+0x11  77 f4; b8 0f 00 00 00 mov $0xf,%eax; 0f 05 syscall  # how signal handlers return
  ADDRESS  jump  -             f+0x1b  [bf 01 00 00 00 mov $0x1,%edi; 48 89 f0 mov %rsi,%rax; 0f 05 syscall]
  ADDRESS  none  -             f+0x1d  48 89 f0 mov %rsi,%rax; 0f 05 syscall; 0f 05 syscall  # no room for a jump
  4 sites: 0 zero, 2 jump, 2 left; 0 false pairs
`);
  });

  test("sysenter is left", () => {
    const file = assemble(
      "sysenter",
      "_start: .cfi_startproc\nmov $1, %eax\nsysenter\nret\n.cfi_endproc\n.globl _start",
    );
    const { list } = scan(file);
    expect(list).toMatchObject([{ certain: true, patch: "none", reason: "sysenter" }]);
  });
});

describe("what cannot be scanned", () => {
  const write = (name: string, contents: Uint8Array | string): string => {
    const file = path.join(tmp, name);
    fs.writeFileSync(file, contents);
    return file;
  };
  const edited = (name: string, place: number, byte: number): string => {
    const bytes = fs.readFileSync("/bin/true");
    bytes[place] = byte;
    return write(name, bytes);
  };

  const CASES: readonly [string, string, () => string][] = [
    ["a missing file", "SCAN_READ", () => path.join(tmp, "missing")],
    ["a device", "SCAN_READ", () => "/dev/null"],
    ["a directory", "SCAN_DIRECTORY", () => tmp],
    ["text", "ELF_NOT_ELF", () => write("text", "text\n")],
    ["half a header", "ELF_TRUNCATED", () => write("header", fs.readFileSync("/bin/true").subarray(0, 40))],
    ["half a file", "ELF_TRUNCATED", () => write("cut", fs.readFileSync("/bin/true").subarray(0, 6000))],
    ["a 32-bit program", "ELF_CLASS", () => edited("class", 4, 1)],
    ["another machine", "ELF_MACHINE", () => edited("machine", 18, 3)],
    ["no segments", "SCAN_NO_CODE", () => edited("segments", 56, 0)],
  ];
  test.each(CASES)("%s: %s", (_, code, make) => {
    const file = make();
    const tiny = assemble("tiny", TINY);
    const { status, stdout, stderr } = zpoline("scan", "--json", file, tiny);
    expect(status).toBe(125);
    expect(stderr).toMatch(/^zpoline: /);
    expect(stderr).toContain(`(${code})`);
    const objects = stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as object);
    expect(objects).toMatchObject([
      { file, error: { code } },
      { file: tiny, sites: 2 },
    ]);
  });

  test("-r says nothing of files that are no programs, and goes on after bad ones", () => {
    const directory = path.join(tmp, "tree", "inner");
    fs.mkdirSync(directory, { recursive: true });
    fs.copyFileSync(assemble("tiny", TINY), path.join(directory, "tiny"));
    fs.writeFileSync(path.join(directory, "cut"), fs.readFileSync("/bin/true").subarray(0, 6000));
    fs.writeFileSync(path.join(directory, "text"), "text\n");
    fs.symlinkSync("/bin/true", path.join(directory, "link"));
    const { status, stdout, stderr } = zpoline("scan", "-r", path.join(tmp, "tree"));
    expect(status).toBe(125);
    expect(stderr.match(/^zpoline: .*$/gm)).toEqual([
      `zpoline: ${path.join(directory, "cut")} is truncated (ELF_TRUNCATED)`,
    ]);
    expect(stdout.match(/^\/.*:$/gm)).toEqual([`${path.join(directory, "tiny")}:`]);
  });
});

test("zpoline lib prints the path of the library", () => {
  const { status, stdout, stderr } = zpoline("lib");
  expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
  expect(stdout).toBe(`${fileURLToPath(new URL("../../dist/libzpoline.so", import.meta.url))}\n`);
});
