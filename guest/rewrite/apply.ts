/** Patches the sites of one mapping as its list says, then looks what came of it. */
import { GAP_UNPATCHED_SITE } from "../../src/image/layout";
import { AuditLog, closeAudit, openAudit } from "../audit/log";
import { auditObject, auditSite } from "../audit/sites";
import { recordGap } from "../record/record";
import { maySwap } from "./deferred";
import { Insn } from "./insn";
import { addJump, makeStubs } from "./jump";
import { usesTrap, usesZero } from "./kinds";
import { addKnownSite, openSites } from "./known";
import { Entry, entryAt, isData, mayCall, PlanList } from "./list";
import { Mapping } from "./maps";
import { addPatch, flush, PatchBatch } from "./patch";
import { PATCH_JUMP, PATCH_NONE, PATCH_ZERO, WHY_SIGRETURN } from "./plan";
import { hasRow, isJumpPatched } from "./stubs";

/** Sites rewritten so far, and real or possible sites left alone. */
export let patchedSites: u32 = 0;
export let leftSites: u32 = 0;

/** `call *%rax` */
const CALL_RAX: u16 = 0xd0ff;
const MOST_REPORTED: u32 = 8;

/**
 * The mapping is [start, end). The list was made for these very bytes. `mayRun`: threads may be running the code. `insn` is
 * scratch memory.
 */
export function applyList(
  list: PlanList,
  batch: PatchBatch,
  start: usize,
  end: usize,
  mayRun: bool,
  insn: Insn,
): void {
  const known = usesZero && list.count ? openSites(start, end, list.count) : 0;
  const stubs = makeStubs(list, batch.text, start, end, insn);
  let row: u32 = 0;
  for (let i: u32 = 0; i < list.count; i++) {
    const entry = entryAt(list, i);
    const site = start + entry.offset;
    if (stubs && hasRow(stubs, row, site)) {
      const index = row++;
      if (maySwap(site - entry.before, entry.traits) && addJump(batch, stubs, index, site, entry, mayRun)) continue;
    }
    if (!usesZero || !mayCall(entry) || isJumpPatched(site)) continue;
    addKnownSite(known, site);
    addPatch(batch, site, CALL_RAX, 2);
  }
  flush(batch);
}

/** What stands at a site now: PATCH_*. */
function patchAt(site: usize): u32 {
  if (isJumpPatched(site)) return PATCH_JUMP;
  return load<u16>(site) == CALL_RAX ? PATCH_ZERO : PATCH_NONE;
}

/**
 * Counts the sites of [start, end), reports those that were left (but the restorer of signal handlers, which no handler
 * returns by: guest/signal/action.ts), and tells the audit log. `cached`: the list came from the
 * cache.
 */
export function settle(list: PlanList, mapping: Mapping, start: usize, end: usize, cached: bool): void {
  const log = openAudit();
  let reported: u32 = 0;
  let zero: u32 = 0;
  let jump: u32 = 0;
  for (let i: u32 = 0; i < list.count; i++) {
    const entry = entryAt(list, i);
    const site = start + entry.offset;
    const patch = patchAt(site);
    if (patch == <u32>PATCH_ZERO) zero++;
    else if (patch == <u32>PATCH_JUMP) jump++;
    else if (!isData(entry) && entry.why != WHY_SIGRETURN && reported++ < MOST_REPORTED) reportSite(mapping, site);
    if (log) auditSite(changetype<AuditLog>(log), mapping, site, entry, patch);
  }
  const left = list.count - zero - jump;
  patchedSites += zero + jump;
  leftSites += left;
  if (log) auditObject(changetype<AuditLog>(log), mapping, start, end, zero, jump, left, cached);
  closeAudit(log);
}

/** A site that is left as it is, at `address`, in the file that `mapping` names. Where it would trap it is seen all the same. */
export function reportSite(mapping: Mapping, address: usize): void {
  if (usesTrap) return;
  recordGap(GAP_UNPATCHED_SITE, address, mapping.name, <u32>mapping.nameLength);
}
