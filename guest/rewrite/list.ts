/** What was decided about the finds of one mapping: small enough to be kept in a file (cache.ts), enough to patch them. */
import { Plan, takesCall, WHY_UNSURE } from "./plan";
import { REASON_DATA, Site } from "./sites";

/** A find that is an instruction, or may be one. */
// @ts-ignore: decorator
@unmanaged
export class Entry {
  /** From the start of the mapping. */
  offset: u32;
  /** Of the system call; -1 when it is not known. */
  number: i16;
  /** PATCH_* in bits 0–1, WHY_* in bits 2–5; bit 6: it may become `call *%rax` where a jump cannot be made. */
  plan: u8;
  /** Length of the instruction that a jump replaces, or where WHY_UNSURE the REASON_* of the doubt. */
  detail: u8;
}

// @ts-ignore: decorator
@inline
export function patchOf(entry: Entry): u32 {
  return entry.plan & 3;
}

// @ts-ignore: decorator
@inline
export function whyOf(entry: Entry): u32 {
  return (entry.plan >> 2) & 15;
}

// @ts-ignore: decorator
@inline
export function mayCall(entry: Entry): bool {
  return (entry.plan & 64) != 0;
}

/** Bytes that no instruction is known to lead to, among bytes that are no instructions, are data. */
export function isData(entry: Entry): bool {
  return whyOf(entry) == WHY_UNSURE && entry.detail == REASON_DATA;
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
  entry.plan = plan.patch | (plan.why << 2) | (takesCall(site) ? 64 : 0);
  entry.detail = plan.why == WHY_UNSURE ? site.reason : plan.moved;
}
