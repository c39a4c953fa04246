/**
 * .debug_info, with .debug_abbrev and .debug_loclists: one compilation unit over the whole text, its types, variables and
 * one subprogram for each unit of code that has lines. Source: DWARF 5, sections 2.6, 3.1, 3.3, 4.1, 5, 7.5 and 7.7.3.
 */
import { ByteWriter } from "../elf/bytes.ts";
import type { StringTable } from "../elf/section.ts";
import { declaration, fileNumber } from "./dwarf-line.ts";
import type { LinkedImage, PlacedCode } from "./link.ts";
import type { DebugType, Variable } from "./object.ts";

const VERSION = 5;
const DW_UT_compile = 1;
/** DWARF has no number for TypeScript; gdb reads expressions as C. */
const DW_LANG_C11 = 0x1d;

const DW_OP_addr = 0x03;
const DW_OP_const8u = 0x0e;
const DW_OP_reg0 = 0x50;
const DW_OP_breg7 = 0x77;
const DW_OP_fbreg = 0x91;
const DW_OP_call_frame_cfa = 0x9c;
const DW_OP_stack_value = 0x9f;

const DW_LLE_end_of_list = 0x00;
const DW_LLE_start_length = 0x08;

const DW_TAG_formal_parameter = 0x05;
const DW_TAG_member = 0x0d;
const DW_TAG_pointer_type = 0x0f;
const DW_TAG_compile_unit = 0x11;
const DW_TAG_structure_type = 0x13;
const DW_TAG_base_type = 0x24;
const DW_TAG_subprogram = 0x2e;
const DW_TAG_variable = 0x34;

const DW_AT_location = 0x02;
const DW_AT_name = 0x03;
const DW_AT_byte_size = 0x0b;
const DW_AT_stmt_list = 0x10;
const DW_AT_low_pc = 0x11;
const DW_AT_high_pc = 0x12;
const DW_AT_language = 0x13;
const DW_AT_comp_dir = 0x1b;
const DW_AT_producer = 0x25;
const DW_AT_data_member_location = 0x38;
const DW_AT_decl_file = 0x3a;
const DW_AT_decl_line = 0x3b;
const DW_AT_encoding = 0x3e;
const DW_AT_frame_base = 0x40;
const DW_AT_type = 0x49;

const DW_FORM_addr = 0x01;
const DW_FORM_data8 = 0x07;
const DW_FORM_data1 = 0x0b;
const DW_FORM_strp = 0x0e;
const DW_FORM_udata = 0x0f;
const DW_FORM_ref4 = 0x13;
const DW_FORM_sec_offset = 0x17;
const DW_FORM_exprloc = 0x18;
const DW_FORM_line_strp = 0x1f;

/** DW_ATE_boolean, DW_ATE_signed, DW_ATE_unsigned. */
const ENCODING = { boolean: 0x02, signed: 0x05, unsigned: 0x07 } as const;

/** Every function has these. */
const SUBPROGRAM = [
  [DW_AT_name, DW_FORM_strp],
  [DW_AT_decl_file, DW_FORM_udata],
  [DW_AT_decl_line, DW_FORM_udata],
  [DW_AT_low_pc, DW_FORM_addr],
  [DW_AT_high_pc, DW_FORM_udata],
  [DW_AT_frame_base, DW_FORM_exprloc],
] as const;

/** Abbreviations: tag, whether children follow, attributes and forms in the order of their values. */
const ABBREVIATIONS = {
  unit: [
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
  subprogram: [DW_TAG_subprogram, 1, SUBPROGRAM],
  valued: [DW_TAG_subprogram, 1, [...SUBPROGRAM, [DW_AT_type, DW_FORM_ref4]]],
  parameter: [
    DW_TAG_formal_parameter,
    0,
    [
      [DW_AT_name, DW_FORM_strp],
      [DW_AT_type, DW_FORM_ref4],
      [DW_AT_location, DW_FORM_sec_offset],
    ],
  ],
  local: [
    DW_TAG_variable,
    0,
    [
      [DW_AT_name, DW_FORM_strp],
      [DW_AT_type, DW_FORM_ref4],
      [DW_AT_location, DW_FORM_sec_offset],
    ],
  ],
  variable: [
    DW_TAG_variable,
    0,
    [
      [DW_AT_name, DW_FORM_strp],
      [DW_AT_type, DW_FORM_ref4],
      [DW_AT_location, DW_FORM_exprloc],
    ],
  ],
  number: [
    DW_TAG_base_type,
    0,
    [
      [DW_AT_name, DW_FORM_strp],
      [DW_AT_encoding, DW_FORM_data1],
      [DW_AT_byte_size, DW_FORM_udata],
    ],
  ],
  structure: [
    DW_TAG_structure_type,
    1,
    [
      [DW_AT_name, DW_FORM_strp],
      [DW_AT_byte_size, DW_FORM_udata],
    ],
  ],
  member: [
    DW_TAG_member,
    0,
    [
      [DW_AT_name, DW_FORM_strp],
      [DW_AT_type, DW_FORM_ref4],
      [DW_AT_data_member_location, DW_FORM_udata],
    ],
  ],
  pointer: [
    DW_TAG_pointer_type,
    0,
    [
      [DW_AT_byte_size, DW_FORM_data1],
      [DW_AT_type, DW_FORM_ref4],
    ],
  ],
} as const;
type Entry = keyof typeof ABBREVIATIONS;

/** Bytes of a unit's length field, which offsets of types count and the length itself does not. */
const LENGTH_FIELD = 4;

/** With its length in front. */
const withLength = (body: ByteWriter): Uint8Array => new ByteWriter().u32(body.length).bytes(body.finish()).finish();

export interface DebugInfo {
  readonly info: Uint8Array;
  readonly abbreviations: Uint8Array;
  readonly locations: Uint8Array;
}

class Writer {
  readonly #image: LinkedImage;
  readonly #strings: StringTable;
  readonly #body = new ByteWriter();
  readonly #locations = new ByteWriter().u16(VERSION).u8(8).u8(0).u32(0);
  /** Where the type of each name is described, and the places that refer to it. */
  readonly #described = new Map<string, number>();
  readonly #references: { readonly at: number; readonly type: string }[] = [];

  constructor(image: LinkedImage, strings: StringTable) {
    this.#image = image;
    this.#strings = strings;
  }

  #begin(entry: Entry): ByteWriter {
    return this.#body.uleb(Object.keys(ABBREVIATIONS).indexOf(entry) + 1);
  }

  #named(entry: Entry, name: string): ByteWriter {
    return this.#begin(entry).u32(this.#strings.add(name));
  }

  #type(type: string): ByteWriter {
    this.#references.push({ at: this.#body.length, type });
    return this.#body.u32(0);
  }

  #end(): void {
    this.#body.u8(0);
  }

  unit(files: readonly string[], directory: string, lineStrings: StringTable): DebugInfo {
    const { text } = this.#image.regions;
    this.#body.u16(VERSION).u8(DW_UT_compile).u8(8).u32(0);
    this.#begin("unit").u32(this.#strings.add("zpoline")).u8(DW_LANG_C11);
    this.#body.u32(lineStrings.add(files[0]!)).u32(lineStrings.add(directory));
    this.#body.u64(text.address).u64(text.size).u32(0);
    for (const [name, type] of this.#image.types) this.#describe(name, type);
    for (const { name, type, address } of this.#image.variables) {
      this.#named("variable", name);
      this.#type(type).uleb(9).u8(DW_OP_addr).u64(address);
    }
    for (const placed of this.#image.code) this.#subprogram(placed, files);
    this.#end();
    for (const { at, type } of this.#references) this.#body.patchU32(at, this.#described.get(type)!);
    return {
      info: withLength(this.#body),
      abbreviations: abbreviations(),
      locations: withLength(this.#locations),
    };
  }

  /** The name of a class stands for a pointer to it. */
  #describe(name: string, type: DebugType): void {
    const here = (): number => this.#body.length + LENGTH_FIELD;
    if (type.kind === "number") {
      this.#described.set(name, here());
      this.#named("number", name).u8(ENCODING[type.encoding]).uleb(type.size);
      return;
    }
    const structure = here();
    this.#named("structure", name).uleb(type.size);
    for (const member of type.members) {
      this.#named("member", member.name);
      this.#type(member.type).uleb(member.offset);
    }
    this.#end();
    this.#described.set(name, here());
    this.#begin("pointer").u8(8).u32(structure);
  }

  #subprogram(placed: PlacedCode, files: readonly string[]): void {
    const declared = declaration(placed);
    if (declared === undefined) return;
    const { unit, address } = placed;
    this.#named(unit.result === undefined ? "subprogram" : "valued", unit.name);
    this.#body.uleb(fileNumber(files, declared.file)).uleb(declared.line);
    this.#body.u64(address).uleb(unit.bytes.length);
    this.#body.uleb(1).u8(DW_OP_call_frame_cfa);
    if (unit.result !== undefined) this.#type(unit.result);
    for (const parameter of unit.parameters ?? []) this.#local("parameter", parameter, address);
    for (const local of unit.locals ?? []) this.#local("local", local, address);
    this.#end();
  }

  #local(entry: "parameter" | "local", { name, type, places }: Variable, address: number): void {
    this.#named(entry, name);
    this.#type(type).u32(this.#locations.length + LENGTH_FIELD);
    for (const place of places) this.#place(place, address);
    this.#locations.u8(DW_LLE_end_of_list);
  }

  #place({ from, to, base, value }: Variable["places"][number], address: number): void {
    const expression = new ByteWriter();
    if (base === "constant") expression.u8(DW_OP_const8u).u64(value).u8(DW_OP_stack_value);
    else if (base === "register") expression.u8(DW_OP_reg0 + value);
    else expression.u8(base === "cfa" ? DW_OP_fbreg : DW_OP_breg7).sleb(value);
    this.#locations.u8(DW_LLE_start_length).u64(address + from);
    this.#locations
      .uleb(to - from)
      .uleb(expression.length)
      .bytes(expression.finish());
  }
}

function abbreviations(): Uint8Array {
  const out = new ByteWriter();
  Object.values(ABBREVIATIONS).forEach(([tag, children, attributes], i) => {
    out
      .uleb(i + 1)
      .uleb(tag)
      .u8(children);
    for (const [attribute, form] of attributes) out.uleb(attribute).uleb(form);
    out.u16(0);
  });
  return out.u8(0).finish();
}

/** Names of files go to `lineStrings` (.debug_line_str), others to `strings` (.debug_str). */
export const debugInfo = (
  image: LinkedImage,
  files: readonly string[],
  directory: string,
  strings: StringTable,
  lineStrings: StringTable,
): DebugInfo => new Writer(image, strings).unit(files, directory, lineStrings);
