/** The DWARF 5 line table: which instruction belongs to which source line. Source: DWARF 5, section 6.2. */
import { ByteWriter } from "../elf/bytes.ts";
import type { StringTable } from "../elf/section.ts";
import type { PlacedCode } from "./link.ts";
import type { LineRow } from "./object.ts";

const DW_LNCT_path = 1;
const DW_LNCT_directory_index = 2;
const DW_FORM_udata = 0x0f;
const DW_FORM_line_strp = 0x1f;

const DW_LNS_copy = 1;
const DW_LNS_advance_pc = 2;
const DW_LNS_advance_line = 3;
const DW_LNS_set_file = 4;
const DW_LNS_set_column = 5;
const DW_LNE_end_sequence = 1;
const DW_LNE_set_address = 2;

/** Number of operands of the standard opcodes, 1 to 12. */
const STANDARD_OPCODES = [0, 1, 1, 1, 1, 0, 0, 0, 1, 0, 0, 1];
const OPCODE_BASE = STANDARD_OPCODES.length + 1;
/** A special opcode moves the line by LINE_BASE … LINE_BASE + LINE_RANGE - 1, and the address forward. */
const LINE_BASE = -5;
const LINE_RANGE = 14;

/** The source files of the code, in the order in which they first appear. */
export function sourceFiles(code: readonly PlacedCode[]): string[] {
  return [...new Set(code.flatMap(({ unit }) => (unit.lines ?? []).map((row) => row.file)))];
}

/** A file's number in the line table. Number 0 stands for the first file again, as the primary source. */
export function fileNumber(files: readonly string[], file: string): number {
  return files.indexOf(file) + 1;
}

/** .debug_line: one table of files, and one sequence of rows for each unit. Names go to `strings` (.debug_line_str). */
export function lineTable(
  code: readonly PlacedCode[],
  files: readonly string[],
  directory: string,
  strings: StringTable,
): Uint8Array {
  const header = new ByteWriter();
  header.u8(1).u8(1).u8(1).u8(LINE_BASE).u8(LINE_RANGE);
  header.u8(OPCODE_BASE).bytes(Uint8Array.from(STANDARD_OPCODES));
  header.u8(1).uleb(DW_LNCT_path).uleb(DW_FORM_line_strp);
  header.uleb(1).u32(strings.add(directory));
  header.u8(2).uleb(DW_LNCT_path).uleb(DW_FORM_line_strp).uleb(DW_LNCT_directory_index).uleb(DW_FORM_udata);
  header.uleb(files.length + 1);
  for (const file of [files[0] ?? "", ...files]) header.u32(strings.add(file)).uleb(0);

  const program = new ByteWriter();
  const numbers = new Map(files.map((file) => [file, fileNumber(files, file)]));
  for (const placed of code) putSequence(program, placed, numbers);

  const body = new ByteWriter().u16(5).u8(8).u8(0);
  body.u32(header.length).bytes(header.finish()).bytes(program.finish());
  return new ByteWriter().u32(body.length).bytes(body.finish()).finish();
}

function putSequence(out: ByteWriter, { unit, address }: PlacedCode, numbers: ReadonlyMap<string, number>): void {
  const rows = unit.lines ?? [];
  const first = rows[0];
  if (first === undefined) return;
  out.u8(0).uleb(9).u8(DW_LNE_set_address);
  out.u64(address + first.at);
  let state = { at: first.at, file: 1, line: 1, column: 0 };
  for (const row of rows) {
    const next = { ...row, file: numbers.get(row.file)! };
    if (next.file !== state.file) out.u8(DW_LNS_set_file).uleb(next.file);
    if (next.column !== state.column) out.u8(DW_LNS_set_column).uleb(next.column);
    putRow(out, next.at - state.at, next.line - state.line);
    state = next;
  }
  out.u8(DW_LNS_advance_pc).uleb(unit.bytes.length - state.at);
  out.u8(0).uleb(1).u8(DW_LNE_end_sequence);
}

/** Moves address and line and adds a row: one byte where a special opcode can say it. */
function putRow(out: ByteWriter, distance: number, lines: number): void {
  const special = lines - LINE_BASE + LINE_RANGE * distance + OPCODE_BASE;
  if (lines >= LINE_BASE && lines < LINE_BASE + LINE_RANGE && special <= 0xff) {
    out.u8(special);
    return;
  }
  if (distance > 0) out.u8(DW_LNS_advance_pc).uleb(distance);
  if (lines !== 0) out.u8(DW_LNS_advance_line).sleb(lines);
  out.u8(DW_LNS_copy);
}

/** The row at a unit's first instruction that has one: where the function is taken to be declared. */
export function declaration({ unit }: PlacedCode): LineRow | undefined {
  return unit.lines?.[0];
}
