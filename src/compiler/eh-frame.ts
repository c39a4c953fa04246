/**
 * Call frame information in the form that unwinders read at run time: .eh_frame and its sorted index .eh_frame_hdr.
 * Source: Linux Standard Base Core 5.0, sections 10.6.1 and 10.6.2; DWARF 5, section 6.4.
 */
import { ByteWriter } from "../elf/bytes.ts";
import { ZpolineError } from "../errors.ts";
import type { PlacedCode } from "./link.ts";
import { type ContextRow, RETURN_ADDRESS, type UnwindRow } from "./object.ts";
import * as uc from "./ucontext.ts";

const DW_EH_PE_udata4 = 0x03;
const DW_EH_PE_sdata4 = 0x0b;
const DW_EH_PE_pcrel = 0x10;
const DW_EH_PE_datarel = 0x30;

const DW_CFA_nop = 0x00;
const DW_CFA_advance_loc1 = 0x02;
const DW_CFA_advance_loc2 = 0x03;
const DW_CFA_advance_loc4 = 0x04;
const DW_CFA_undefined = 0x07;
const DW_CFA_register = 0x09;
const DW_CFA_def_cfa = 0x0c;
const DW_CFA_def_cfa_register = 0x0d;
const DW_CFA_def_cfa_offset = 0x0e;
const DW_CFA_def_cfa_expression = 0x0f;
const DW_CFA_expression = 0x10;
const DW_CFA_offset_extended_sf = 0x11;
const DW_CFA_advance_loc = 0x40;
const DW_CFA_offset = 0x80;
const DW_CFA_restore = 0xc0;

const DW_OP_deref = 0x06;
const DW_OP_breg7 = 0x77;

const RSP = 7;
const DATA_ALIGN = -8;

/** Where a struct ucontext has the registers but rsp, by DWARF number: 0 to 15, then the instruction pointer. */
const IN_CONTEXT: readonly (readonly [register: number, offset: number])[] = [
  [0, uc.UC_RAX],
  [1, uc.UC_RDX],
  [2, uc.UC_RCX],
  [3, uc.UC_RBX],
  [4, uc.UC_RSI],
  [5, uc.UC_RDI],
  [6, uc.UC_RBP],
  [8, uc.UC_R8],
  [9, uc.UC_R9],
  [10, uc.UC_R10],
  [11, uc.UC_R11],
  [12, uc.UC_R12],
  [13, uc.UC_R13],
  [14, uc.UC_R14],
  [15, uc.UC_R15],
  [RETURN_ADDRESS, uc.UC_RIP],
];

/** At the entry of a function: the caller's stack pointer is rsp + 8, and no register is saved. */
const ENTRY: UnwindRow = { at: 0, cfa: { reg: RSP, offset: 8 }, saved: [] };

/** Where the description of a function starting at `start` lies. */
export interface FrameIndexEntry {
  readonly start: number;
  readonly description: number;
}

export interface EhFrame {
  readonly bytes: Uint8Array;
  /** Ascending by `start`. */
  readonly index: readonly FrameIndexEntry[];
}

/** Whether the unit says how to unwind it. */
export function isUnwindable({ unit }: PlacedCode): boolean {
  return (unit.unwind ?? unit.contexts) !== undefined && unit.bytes.length > 0;
}

/**
 * .eh_frame at the given address. Units without unwind rows have no entry: unwinding ends there.
 * @throws ZpolineError LINK_UNIT for a register that is not saved at a multiple of 8 bytes.
 */
export function ehFrame(code: readonly PlacedCode[], address: number): EhFrame {
  const out = new ByteWriter();
  const index: FrameIndexEntry[] = [];
  const commons = new Map<boolean, number>();
  for (const { unit, address: start } of code.filter(isUnwindable)) {
    const isSignalFrame = unit.signalFrame === true || unit.contexts !== undefined;
    let common = commons.get(isSignalFrame);
    if (common === undefined) {
      common = out.length;
      commons.set(isSignalFrame, common);
      putCommon(out, isSignalFrame);
    }
    const length = openEntry(out);
    index.push({ start, description: address + length });
    out.u32(out.length - common);
    out.u32(start - (address + out.length)).u32(unit.bytes.length);
    out.uleb(0);
    if (unit.contexts === undefined) putRows(out, unit.name, unit.unwind ?? []);
    else putContexts(out, unit.contexts);
    closeEntry(out, length);
  }
  out.u32(0);
  return { bytes: out.finish(), index: index.sort((a, b) => a.start - b.start) };
}

/** Size of .eh_frame_hdr, in bytes. */
export function ehFrameHeaderSize(code: readonly PlacedCode[]): number {
  return 12 + 8 * code.filter(isUnwindable).length;
}

/** .eh_frame_hdr: a table for binary search, with addresses relative to its own start. */
export function ehFrameHeader(frame: EhFrame, frameAddress: number, address: number): Uint8Array {
  const out = new ByteWriter().u8(1);
  out
    .u8(DW_EH_PE_pcrel | DW_EH_PE_sdata4)
    .u8(DW_EH_PE_udata4)
    .u8(DW_EH_PE_datarel | DW_EH_PE_sdata4);
  out.u32(frameAddress - (address + 4)).u32(frame.index.length);
  for (const { start, description } of frame.index) out.u32(start - address).u32(description - address);
  return out.finish();
}

function putCommon(out: ByteWriter, isSignalFrame: boolean): void {
  const length = openEntry(out);
  out
    .u32(0)
    .u8(1)
    .cstring(isSignalFrame ? "zRS" : "zR");
  out.uleb(1).sleb(DATA_ALIGN).u8(RETURN_ADDRESS);
  out.uleb(1).u8(DW_EH_PE_pcrel | DW_EH_PE_sdata4);
  out.u8(DW_CFA_def_cfa).uleb(ENTRY.cfa.reg).uleb(ENTRY.cfa.offset);
  out.u8(DW_CFA_offset | RETURN_ADDRESS).uleb(1);
  closeEntry(out, length);
}

function putRows(out: ByteWriter, name: string, rows: readonly UnwindRow[]): void {
  let current = ENTRY;
  for (const row of rows) {
    putAdvance(out, row.at - current.at);
    putCfa(out, current.cfa, row.cfa);
    putSaved(out, name, current.saved, row.saved);
    putReturn(out, current, row);
    current = row;
  }
}

/** As glibc describes __restore_rt (sysdeps/unix/sysv/linux/x86_64/libc_sigaction.c): the CFA is the interrupted rsp. */
function putContexts(out: ByteWriter, rows: readonly ContextRow[]): void {
  let at = 0;
  for (const row of rows) {
    putAdvance(out, row.at - at);
    out.u8(DW_CFA_def_cfa_expression);
    putBlock(out, (block) =>
      block
        .u8(DW_OP_breg7)
        .sleb(row.offset + uc.UC_RSP)
        .u8(DW_OP_deref),
    );
    for (const [register, offset] of IN_CONTEXT) {
      out.u8(DW_CFA_expression).uleb(register);
      putBlock(out, (block) => block.u8(DW_OP_breg7).sleb(row.offset + offset));
    }
    at = row.at;
  }
}

function putBlock(out: ByteWriter, put: (block: ByteWriter) => void): void {
  const block = new ByteWriter();
  put(block);
  const bytes = block.finish();
  out.uleb(bytes.length).bytes([...bytes]);
}

function putAdvance(out: ByteWriter, distance: number): void {
  if (distance === 0) return;
  if (distance < 0x40) out.u8(DW_CFA_advance_loc | distance);
  else if (distance < 0x100) out.u8(DW_CFA_advance_loc1).u8(distance);
  else if (distance < 0x10000) out.u8(DW_CFA_advance_loc2).u16(distance);
  else out.u8(DW_CFA_advance_loc4).u32(distance);
}

function putCfa(out: ByteWriter, before: UnwindRow["cfa"], { reg, offset }: UnwindRow["cfa"]): void {
  if (reg !== before.reg && offset !== before.offset) out.u8(DW_CFA_def_cfa).uleb(reg).uleb(offset);
  else if (reg !== before.reg) out.u8(DW_CFA_def_cfa_register).uleb(reg);
  else if (offset !== before.offset) out.u8(DW_CFA_def_cfa_offset).uleb(offset);
}

function putSaved(out: ByteWriter, name: string, before: UnwindRow["saved"], after: UnwindRow["saved"]): void {
  const old = new Map(before);
  for (const [reg, offset] of after) {
    if (offset % DATA_ALIGN !== 0)
      throw new ZpolineError("LINK_UNIT", `cannot link unit "${name}": register ${reg} is saved at CFA + ${offset}`, {
        cause: "a saved register must lie at a multiple of 8 bytes from the CFA",
      });
    if (old.get(reg) !== offset) {
      const factored = offset / DATA_ALIGN;
      if (factored >= 0) out.u8(DW_CFA_offset | reg).uleb(factored);
      else out.u8(DW_CFA_offset_extended_sf).uleb(reg).sleb(factored);
    }
    old.delete(reg);
  }
  for (const reg of old.keys()) if (reg !== RETURN_ADDRESS) out.u8(DW_CFA_restore | reg);
}

const hasReturn = ({ saved }: UnwindRow): boolean => saved.some(([reg]) => reg === RETURN_ADDRESS);

/** libgcc takes DW_CFA_restore for "as in the caller", not for the rule of the common entry: that is said again. */
function putReturn(out: ByteWriter, before: UnwindRow, row: UnwindRow): void {
  if (row.returnIn === before.returnIn && (hasReturn(row) || !hasReturn(before))) return;
  if (row.returnIn === "nowhere") out.u8(DW_CFA_undefined).uleb(RETURN_ADDRESS);
  else if (row.returnIn !== undefined) out.u8(DW_CFA_register).uleb(RETURN_ADDRESS).uleb(row.returnIn);
  else if (!hasReturn(row)) out.u8(DW_CFA_offset | RETURN_ADDRESS).uleb(1);
}

/** Leaves room for the length of an entry; its position. */
function openEntry(out: ByteWriter): number {
  const at = out.length;
  out.u32(0);
  return at;
}

/** Entries are padded to 8 bytes, and their length does not count its own field. */
function closeEntry(out: ByteWriter, at: number): void {
  out.align(8, DW_CFA_nop);
  out.patchU32(at, out.length - at - 4);
}
