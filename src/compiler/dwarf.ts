/**
 * Debug information for gdb and perf: DWARF 5, one compilation unit over the whole text, one subprogram for each unit
 * of code that has lines. Source: DWARF 5, sections 3.1, 3.3, 6.1.2 and 7.5.
 */
import { ByteWriter } from "../elf/bytes.ts";
import { SHF_MERGE, SHF_STRINGS, SHT_PROGBITS } from "../elf/constants.ts";
import type { Draft } from "../elf/section.ts";
import { StringTable } from "../elf/section.ts";
import { declaration, fileNumber, lineTable, sourceFiles } from "./dwarf-line.ts";
import type { LinkedImage } from "./link.ts";

const DW_UT_compile = 1;
/** DWARF has no number for TypeScript; gdb reads expressions as C. */
const DW_LANG_C11 = 0x1d;
const DW_OP_call_frame_cfa = 0x9c;

const DW_TAG_compile_unit = 0x11;
const DW_TAG_subprogram = 0x2e;

const DW_AT_name = 0x03;
const DW_AT_stmt_list = 0x10;
const DW_AT_low_pc = 0x11;
const DW_AT_high_pc = 0x12;
const DW_AT_language = 0x13;
const DW_AT_comp_dir = 0x1b;
const DW_AT_producer = 0x25;
const DW_AT_decl_file = 0x3a;
const DW_AT_decl_line = 0x3b;
const DW_AT_frame_base = 0x40;

const DW_FORM_addr = 0x01;
const DW_FORM_data8 = 0x07;
const DW_FORM_data1 = 0x0b;
const DW_FORM_strp = 0x0e;
const DW_FORM_udata = 0x0f;
const DW_FORM_sec_offset = 0x17;
const DW_FORM_exprloc = 0x18;
const DW_FORM_line_strp = 0x1f;

const COMPILE_UNIT = 1;
const SUBPROGRAM = 2;

/** Abbreviation number, tag, whether children follow, then attributes and forms in the order of their values. */
const ABBREVIATIONS: readonly (readonly [number, number, number, readonly (readonly [number, number])[]])[] = [
  [
    COMPILE_UNIT,
    DW_TAG_compile_unit,
    1,
    [
      [DW_AT_producer, DW_FORM_strp],
      [DW_AT_language, DW_FORM_data1],
      [DW_AT_name, DW_FORM_line_strp],
      [DW_AT_comp_dir, DW_FORM_line_strp],
      [DW_AT_low_pc, DW_FORM_addr],
      [DW_AT_high_pc, DW_FORM_data8],
      [DW_AT_stmt_list, DW_FORM_sec_offset],
    ],
  ],
  [
    SUBPROGRAM,
    DW_TAG_subprogram,
    0,
    [
      [DW_AT_name, DW_FORM_strp],
      [DW_AT_decl_file, DW_FORM_udata],
      [DW_AT_decl_line, DW_FORM_udata],
      [DW_AT_low_pc, DW_FORM_addr],
      [DW_AT_high_pc, DW_FORM_udata],
      [DW_AT_frame_base, DW_FORM_exprloc],
    ],
  ],
];

/** The .debug_* sections of an image, none when no unit has lines. File names are relative to `directory`. */
export function debugSections(image: LinkedImage, directory: string): Draft[] {
  const files = sourceFiles(image.code);
  if (files.length === 0) return [];
  const strings = new StringTable();
  const lineStrings = new StringTable();
  const progbits = (name: string, bytes: Uint8Array): Draft => ({ name, type: SHT_PROGBITS, bytes, align: 1 });
  const shared = { type: SHT_PROGBITS, flags: SHF_MERGE | SHF_STRINGS, entrySize: 1 };
  return [
    progbits(".debug_aranges", addressRanges(image)),
    progbits(".debug_info", compileUnit(image, files, directory, strings, lineStrings)),
    progbits(".debug_abbrev", abbreviations()),
    progbits(".debug_line", lineTable(image.code, files, directory, lineStrings)),
    { ...strings.draft(".debug_str"), ...shared },
    { ...lineStrings.draft(".debug_line_str"), ...shared },
  ];
}

function compileUnit(
  image: LinkedImage,
  files: readonly string[],
  directory: string,
  strings: StringTable,
  lineStrings: StringTable,
): Uint8Array {
  const { text } = image.regions;
  const body = new ByteWriter().u16(5).u8(DW_UT_compile).u8(8).u32(0);
  body.uleb(COMPILE_UNIT).u32(strings.add("zpoline")).u8(DW_LANG_C11);
  body.u32(lineStrings.add(files[0]!)).u32(lineStrings.add(directory));
  body.u64(text.address).u64(text.size).u32(0);
  for (const placed of image.code) {
    const declared = declaration(placed);
    if (declared === undefined) continue;
    body.uleb(SUBPROGRAM).u32(strings.add(placed.unit.name));
    body.uleb(fileNumber(files, declared.file)).uleb(declared.line);
    body.u64(placed.address).uleb(placed.unit.bytes.length);
    body.uleb(1).u8(DW_OP_call_frame_cfa);
  }
  body.u8(0);
  return new ByteWriter().u32(body.length).bytes(body.finish()).finish();
}

function abbreviations(): Uint8Array {
  const out = new ByteWriter();
  for (const [number, tag, children, attributes] of ABBREVIATIONS) {
    out.uleb(number).uleb(tag).u8(children);
    for (const [attribute, form] of attributes) out.uleb(attribute).uleb(form);
    out.u16(0);
  }
  return out.u8(0).finish();
}

/** Version 2 (the current one): the text belongs to the compilation unit at offset 0. */
function addressRanges(image: LinkedImage): Uint8Array {
  const { text } = image.regions;
  const body = new ByteWriter().u16(2).u32(0).u8(8).u8(0);
  // Address pairs lie at a multiple of 16 bytes from the start of the section, 12 bytes of header included.
  body.u32(0).u64(text.address).u64(text.size).u64(0).u64(0);
  return new ByteWriter().u32(body.length).bytes(body.finish()).finish();
}
