/** What was decided about the finds of one mapping: small enough to be kept in a file (cache.ts), enough to patch them. */
import { Plan, WHY_UNSURE } from "./plan";
import { REASON_DATA, Site } from "./sites";

/** A find that is an instruction, or may be one. */
// @ts-ignore: decorator
@unmanaged
export class Entry {
  /** From the start of the mapping. */
  offset: u32;
  /** Of the system call; -1 when it is not known. */
  number: i16;
  /** PATCH_*. */
  patch: u8;
  /** WHY_*. */
  why: u8;
  /** Where WHY_UNSURE the REASON_* of the doubt. */
  doubt: u8;
  /** For PATCH_JUMP the window, as in Window. */
  before: u8;
  after: u8;
  /** WINDOW_* and MAY_CALL. */
  traits: u8;
}

/** It may become `call *%rax` where a jump cannot be made. */
const MAY_CALL: u8 = 0x80;

// @ts-ignore: decorator
@inline
export function mayCall(entry: Entry): bool {
  return (entry.traits & MAY_CALL) != 0;
}

/** Bytes that no instruction is known to lead to, among bytes that are no instructions, are data. */
export function isData(entry: Entry): bool {
  return entry.why == WHY_UNSURE && entry.doubt == REASON_DATA;
}

/** Entries in order of address. */
// @ts-ignore: decorator
@unmanaged
export class PlanList {
  first: usize;
  count: u32;
  /** As many have room; `count` may be greater: then the others are lost. */
  most: u32;
}

// @ts-ignore: decorator
@inline
export function entryAt(list: PlanList, index: u32): Entry {
  return changetype<Entry>(list.first + <usize>index * offsetof<Entry>());
}

/** Adds what `plan` says of a find of the mapping that begins at `start`. */
export function addEntry(list: PlanList, start: usize, site: Site, plan: Plan): void {
  const index = list.count++;
  if (index >= list.most) return;
  const entry = entryAt(list, index);
  entry.offset = <u32>(site.address - start);
  entry.number = <i16>site.number;
  entry.patch = plan.patch;
  entry.why = plan.why;
  entry.doubt = plan.why == WHY_UNSURE ? site.reason : 0;
  entry.before = plan.before;
  entry.after = plan.after;
  entry.traits = plan.traits | (plan.mayCall ? MAY_CALL : 0);
}
