/** .symtab: every unit and mark of the image, for gdb, perf and nm. */
import type { LinkedImage, LinkedSymbol, RegionName } from "../compiler/link.ts";
import { ByteWriter } from "./bytes.ts";
import * as elf from "./constants.ts";
import type { Draft } from "./section.ts";
import { StringTable } from "./section.ts";

/**
 * Units are functions or objects with their size; marks are labels without one, so that an address behind a mark still
 * belongs to its unit. All are local, but for the exported ones under their public names (global symbols come last).
 */
export function symbolTable(
  image: LinkedImage,
  fileName: string,
  globals: Readonly<Record<string, string>>,
  indexOf: (region: RegionName) => number,
): Draft[] {
  const strings = new StringTable();
  const out = new ByteWriter().bytes(new Uint8Array(elf.SYM_SIZE));
  const put = (name: string, info: number, index: number, address: number, size: number) =>
    out.u32(strings.add(name)).u8(info).u8(0).u16(index).u64(address).u64(size);

  put(fileName, (elf.STB_LOCAL << 4) | elf.STT_FILE, elf.SHN_ABS, 0, 0);
  for (const symbol of image.symbols.values()) {
    if (symbol.region === undefined || symbol.kind === "bound") continue;
    const size = symbol.kind === "mark" ? 0 : symbol.size;
    put(symbol.name, (elf.STB_LOCAL << 4) | typeOf(symbol), indexOf(symbol.region), symbol.address, size);
  }
  const firstGlobal = out.length / elf.SYM_SIZE;
  for (const [name, target] of Object.entries(globals)) {
    const symbol = image.symbols.get(target)!;
    const type = symbol.region === "text" ? elf.STT_FUNC : elf.STT_OBJECT;
    put(name, (elf.STB_GLOBAL << 4) | type, indexOf(symbol.region!), symbol.address, symbol.size);
  }
  return [
    {
      name: ".symtab",
      type: elf.SHT_SYMTAB,
      bytes: out.finish(),
      entrySize: elf.SYM_SIZE,
      link: ".strtab",
      info: firstGlobal,
    },
    strings.draft(".strtab"),
  ];
}

function typeOf(symbol: LinkedSymbol): number {
  if (symbol.kind === "mark") return elf.STT_NOTYPE;
  return symbol.kind === "code" ? elf.STT_FUNC : elf.STT_OBJECT;
}
