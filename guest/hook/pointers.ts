/**
 * Pointer arguments that lead into page 0. The kernel would read the sled there, although for all that the program knows
 * the page is not mapped. Such a call is made with an address at which nothing is mapped, so that the kernel itself says
 * EFAULT, or what it says before that.
 *
 * Who runs this: as dispatch.ts. What the kernel only writes through is no matter: page 0 cannot be written.
 */
import {
  ACTION_FIRST_POINTER,
  ACTION_POINTERS,
  ACTION_RECORD,
  ACTION_SECOND_POINTER,
  POINTER_ADDRESS,
  POINTER_CONDITIONAL,
  POINTER_EMPTY_PATH,
  POINTER_KINDS,
  POINTER_NESTED,
  POINTER_OPTIONAL,
  POINTER_OPTIONALS,
} from "../../src/image/layout";
import { recordEnter, recordExit } from "../record/record";
import { call7 } from "../std/raw";
import { conditionalKind } from "./conditional";
import { argument, Frame } from "./frame";
import { dropNested, nestedCopy } from "./nested";

// @ts-ignore: decorator
@external("symbol", "zp_pointers")
declare function zp_pointers(): usize;
// @ts-ignore: decorator
@external("symbol", "zp_program_call")
declare function zp_program_call(): usize;

/** Size of page 0, and the distance to the page that stands for it: below the least address that mmap gives. */
export const PAGE: u64 = 4096;
const AT_EMPTY_PATH: u64 = 0x1000;

/** The POINTER_* row of a number below POINTER_NUMBERS; 0 when none of its arguments is looked at. */
// @ts-ignore: decorator
@inline
export function pointerRow(nr: u32): u64 {
  return load<u64>(zp_pointers() + (<usize>nr << 3));
}

/** What the entry stub must know of a row: ACTION_* bits. */
export function pointerAction(row: u64): u32 {
  if (!row) return 0;
  if (<u32>(row >> POINTER_OPTIONALS) || row & POINTER_NESTED) return ACTION_POINTERS;
  const first = (row & 63) == 1;
  const second = (row & 63) == 2;
  return first ? ACTION_FIRST_POINTER : second ? ACTION_SECOND_POINTER : ACTION_POINTERS;
}

/** Whether something that is looked at lies in page 0, or must be looked for. For numbers with ACTION_POINTERS. */
// @ts-ignore: decorator
@inline
export function mayReadPageZero(f: Frame): bool {
  const row = pointerRow(<u32>f.nr);
  if (row & (below(f, 0) | POINTER_NESTED)) return true;
  const optional = row >> POINTER_OPTIONALS;
  return optional != 0 && (optional & below(f, 1)) != 0;
}

/** Bit n for each argument n that is at least `least` and below PAGE. */
// @ts-ignore: decorator
@inline
function below(f: Frame, least: u64): u64 {
  return bit(f.a0, least, 1) | bit(f.a1, least, 2) | bit(f.a2, least, 4) | bit(f.a3, least, 8) | bit(f.a4, least, 16) | bit(f.a5, least, 32);
}

// @ts-ignore: decorator
@inline
function bit(value: u64, least: u64, bit: u64): u64 {
  return select<u64>(bit, 0, value - least < PAGE - least);
}

/** Makes the call with other arguments and sets `result`, where that must be; returns whether it did. The frame's stay. */
export function answerPageZero(f: Frame, action: u32): bool {
  const row = pointerRow(<u32>f.nr);
  const nested = row & POINTER_NESTED ? nestedCopy(f) : 0;
  if (!nested && !isChanged(f, row)) return false;
  if (action & ACTION_RECORD) recordEnter(f);
  f.result = <u64>callChanged(f, row, nested);
  if (nested) dropNested(nested);
  if (action & ACTION_RECORD) recordExit(f);
  return true;
}

function isChanged(f: Frame, row: u64): bool {
  for (let i: u32 = 0; i < 6; i++) if (changed(f, row, i) != argument(f, i)) return true;
  return false;
}

function callChanged(f: Frame, row: u64, nested: usize): i64 {
  const second = nested ? <u64>nested : changed(f, row, 1);
  const third = changed(f, row, 2);
  const last = changed(f, row, 5);
  return <i64>(
    call7(zp_program_call(), f.nr, changed(f, row, 0), second, third, changed(f, row, 3), changed(f, row, 4), last)
  );
}

/** What the kernel gets for argument `index`. */
function changed(f: Frame, row: u64, index: u32): u64 {
  const value = argument(f, index);
  if (index && kindOf(f, row, index - 1) == POINTER_ADDRESS && argument(f, index - 1) < PAGE && value > PAGE) {
    return value - PAGE; // the range ends where it did
  }
  if (value >= PAGE) return value;
  const kind = kindOf(f, row, index);
  return !kind || (kind == POINTER_OPTIONAL && !value) ? value : value + PAGE;
}

/** 0, POINTER_REQUIRED, POINTER_OPTIONAL or POINTER_ADDRESS (or another that is as POINTER_REQUIRED). */
function kindOf(f: Frame, row: u64, index: u32): u32 {
  const kind = <u32>(row >> (POINTER_KINDS + (index << 2))) & 15;
  if (kind == POINTER_CONDITIONAL) return conditionalKind(f, index);
  if (kind >= <u32>POINTER_EMPTY_PATH && argument(f, kind - POINTER_EMPTY_PATH) & AT_EMPTY_PATH) return POINTER_OPTIONAL;
  return kind;
}
