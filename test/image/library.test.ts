/** The shared object that `npm run build` makes is accepted by the tools of the trade and holds nothing it must not. */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { Code, Decoder, DecoderOptions, InstructionInfoFactory, RegisterExt } from "iced-x86";
import { describe, expect, test } from "vitest";
import { readElf, readSections, readSymbols, sectionBytes } from "../../src/elf/read.ts";
import { memorySource } from "../../src/elf/source.ts";
import { buildImages } from "../../src/image/image.ts";
import { run } from "../e2e/run.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const path = `${root}dist/libzpoline.so`;
const file = readFileSync(path);
const elf = readElf(memorySource(file), path);
const PF_X = 1;
const PF_W = 2;

describe("libzpoline.so", () => {
  test("readelf, eu-elflint and ldd accept it", () => {
    const readelf = run(["readelf", "-aW", path]);
    expect(readelf.status).toBe(0);
    expect(readelf.stderr).toBe("");
    expect(readelf.stdout).not.toMatch(/warning|TEXTREL|NEEDED/i);
    expect(readelf.stdout).toMatch(/GNU_STACK .* RW /);
    expect(run(["eu-elflint", "--gnu-ld", path])).toMatchObject({ status: 0, stdout: "No errors\n" });
    expect(run(["ldd", path]).stdout).toMatch(/statically linked/);
  });

  test("no segment is writable and executable", () => {
    const flags = elf.segments.map((segment) => segment.flags);
    expect(flags.filter((bits) => (bits & PF_X) !== 0)).toHaveLength(1);
    expect(flags.filter((bits) => (bits & PF_X) !== 0 && (bits & PF_W) !== 0)).toEqual([]);
  });

  test("every byte of its text decodes, and none but what saves them for C hooks touches a vector or x87 register", () => {
    const saving = readSymbols(elf, ".symtab").find((symbol) => symbol.name === "zp_vectors")!;
    const text = readSections(elf).find((section) => section.name === ".text")!;
    const decoder = new Decoder(64, sectionBytes(elf, text), DecoderOptions.None);
    decoder.ip = BigInt(text.address);
    const info = new InstructionInfoFactory();
    const bad: string[] = [];
    let count = 0;
    while (decoder.canDecode) {
      const instruction = decoder.decode();
      count++;
      if (instruction.code === Code.INVALID || instruction.isStringInstruction) bad.push(instruction.toString());
      const address = Number(instruction.ip);
      const saves = address >= saving.value && address < saving.value + saving.size;
      for (const used of saves ? [] : info.info(instruction).usedRegisters()) {
        const vector = RegisterExt.isVectorRegister(used.register) || RegisterExt.isST(used.register);
        if (vector || RegisterExt.isMM(used.register)) bad.push(instruction.toString());
      }
      instruction.free();
    }
    decoder.free();
    expect(bad).toEqual([]);
    expect(count).toBeGreaterThan(3000);
  });

  test("the same source gives the same bytes; the handler of the trap needs little stack", async () => {
    const { library, guest } = await buildImages(`${root}guest/main.ts`, root);
    expect(Buffer.compare(library, file)).toBe(0);
    const handler = guest.entries.find(({ name }) => name === "on_sigsys")!;
    expect(handler.maxStack).toBeLessThan(1280 - 128); // HANDLER_STACK in guest/trap/start.ts, and what zp_sigsys pushes
  });
});
