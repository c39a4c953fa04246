/** Debug information for gdb and perf, DWARF 5: the sections of an image. */
import { ByteWriter } from "../elf/bytes.ts";
import { SHF_MERGE, SHF_STRINGS, SHT_PROGBITS } from "../elf/constants.ts";
import type { Draft } from "../elf/section.ts";
import { StringTable } from "../elf/section.ts";
import { debugInfo } from "./dwarf-info.ts";
import { lineTable, sourceFiles } from "./dwarf-line.ts";
import type { LinkedImage } from "./link.ts";

/** The .debug_* sections of an image, none when no unit has lines. File names are relative to `directory`. */
export function debugSections(image: LinkedImage, directory: string): Draft[] {
  const files = sourceFiles(image.code);
  if (files.length === 0) return [];
  const strings = new StringTable();
  const lineStrings = new StringTable();
  const progbits = (name: string, bytes: Uint8Array): Draft => ({ name, type: SHT_PROGBITS, bytes, align: 1 });
  const shared = { type: SHT_PROGBITS, flags: SHF_MERGE | SHF_STRINGS, entrySize: 1 };
  const { info, abbreviations, locations } = debugInfo(image, files, directory, strings, lineStrings);
  return [
    progbits(".debug_aranges", addressRanges(image)),
    progbits(".debug_info", info),
    progbits(".debug_abbrev", abbreviations),
    progbits(".debug_loclists", locations),
    progbits(".debug_line", lineTable(image.code, files, directory, lineStrings)),
    { ...strings.draft(".debug_str"), ...shared },
    { ...lineStrings.draft(".debug_line_str"), ...shared },
  ];
}

/** .debug_aranges (DWARF 5, section 6.1.2): the text belongs to the compilation unit at offset 0. */
function addressRanges(image: LinkedImage): Uint8Array {
  const { text } = image.regions;
  // Version 2 is the current one.
  const body = new ByteWriter().u16(2).u32(0).u8(8).u8(0);
  // Address pairs lie at a multiple of 16 bytes from the start of the section, 12 bytes of header included.
  body.u32(0).u64(text.address).u64(text.size).u64(0).u64(0);
  return new ByteWriter().u32(body.length).bytes(body.finish()).finish();
}
