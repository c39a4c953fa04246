/** Lines of the audit log about sites and the objects that they lie in. */
import { Entry } from "../rewrite/list";
import { freeMaps, Mapping, mappingAt, Maps, readMaps } from "../rewrite/maps";
import {
  PATCH_JUMP,
  PATCH_ZERO,
  WHY_ANY_NUMBER,
  WHY_ANY_NUMBER_NO_ROOM,
  WHY_CANCELLATION,
  WHY_NO_WINDOW,
  WHY_NO_WINDOW_BRANCHES,
  WHY_NO_WINDOW_CODE,
  WHY_RED_ZONE,
  WHY_RED_ZONE_NO_ROOM,
  WHY_SIGRETURN,
  WHY_SYSENTER,
  WHY_USUAL,
} from "../rewrite/plan";
import { REASON_DATA, REASON_NO_BOUNDARY, REASON_OVERLAP, REASON_UNREACHED } from "../rewrite/sites";
import { cstr } from "../std/cstr";
import { AuditLog, beginLine, closeAudit, endLine, nameField, numberField, openAudit, textField, wordField } from "./log";

/** As in src/scan/reasons.ts; 0 for the usual site. */
function planReason(entry: Entry): usize {
  switch (<u32>entry.why) {
    case <u32>WHY_USUAL:
      return 0;
    case <u32>WHY_SYSENTER:
      return cstr("sysenter");
    case <u32>WHY_RED_ZONE:
      return cstr("red-zone");
    case <u32>WHY_RED_ZONE_NO_ROOM:
      return cstr("red-zone-no-room");
    case <u32>WHY_ANY_NUMBER:
      return cstr("any-number");
    case <u32>WHY_ANY_NUMBER_NO_ROOM:
      return cstr("any-number-no-room");
    case <u32>WHY_CANCELLATION:
      return cstr("cancellation");
    case <u32>WHY_SIGRETURN:
      return cstr("sigreturn");
    case <u32>WHY_NO_WINDOW:
      return cstr("no-window");
    case <u32>WHY_NO_WINDOW_BRANCHES:
      return cstr("no-window-branches");
    case <u32>WHY_NO_WINDOW_CODE:
      return cstr("no-window-code");
    default:
      return doubt(entry.doubt);
  }
}

function doubt(reason: u32): usize {
  switch (reason) {
    case <u32>REASON_NO_BOUNDARY:
      return cstr("no-boundary");
    case <u32>REASON_UNREACHED:
      return cstr("unreached");
    case <u32>REASON_OVERLAP:
      return cstr("overlap");
    case <u32>REASON_DATA:
      return cstr("data");
    default:
      return cstr("prefix");
  }
}

/** Why the site has the patch `patch` now, which may be another than was planned. */
function reasonOf(entry: Entry, patch: u32): usize {
  if (patch == <u32>entry.patch) return planReason(entry);
  if (patch == <u32>PATCH_ZERO) return cstr("no-stub");
  return cstr("not-written");
}

function patchName(patch: u32): usize {
  if (patch == <u32>PATCH_ZERO) return cstr("zero");
  if (patch == <u32>PATCH_JUMP) return cstr("jump");
  return cstr("none");
}

/** A site, and its patch as it stands in the text. */
export function auditSite(log: AuditLog, mapping: Mapping, address: usize, entry: Entry, patch: u32): void {
  beginLine(log, cstr("site"));
  numberField(log, cstr("address"), address);
  textField(log, cstr("file"), mapping.name, <u32>mapping.nameLength);
  numberField(log, cstr("fileOffset"), address - mapping.start + mapping.offset);
  if (entry.number < 0) wordField(log, cstr("number"), cstr("null"));
  else numberField(log, cstr("number"), <u64>entry.number);
  nameField(log, cstr("patch"), patchName(patch));
  const reason = reasonOf(entry, patch);
  if (reason) nameField(log, cstr("reason"), reason);
  else wordField(log, cstr("reason"), cstr("null"));
  endLine(log);
}

/** [start, end) of a mapping, all of it rewritten; how many sites have each patch; whether its list came from the cache. */
export function auditObject(
  log: AuditLog,
  mapping: Mapping,
  start: usize,
  end: usize,
  zero: u32,
  jump: u32,
  left: u32,
  cached: bool,
): void {
  beginLine(log, cstr("object"));
  textField(log, cstr("file"), mapping.name, <u32>mapping.nameLength);
  numberField(log, cstr("start"), start);
  numberField(log, cstr("end"), end);
  numberField(log, cstr("zero"), zero);
  numberField(log, cstr("jump"), jump);
  numberField(log, cstr("left"), left);
  if (cached) wordField(log, cstr("cached"), cstr("true"));
  else wordField(log, cstr("cached"), cstr("false"));
  endLine(log);
}

/** A `syscall` that has trapped for the first time, before `after`, with this number. */
export function auditTrap(after: usize, number: u32): void {
  const pages = openAudit();
  if (!pages) return;
  const log = changetype<AuditLog>(pages);
  const address = after - SYSCALL_SIZE;
  beginLine(log, cstr("site"));
  numberField(log, cstr("address"), address);
  placeFields(log, address);
  numberField(log, cstr("number"), number);
  nameField(log, cstr("patch"), cstr("trap"));
  wordField(log, cstr("reason"), cstr("null"));
  endLine(log);
  closeAudit(pages);
}

const SYSCALL_SIZE: usize = 2;

/** The file of an address, or the name of its mapping; null where there is neither. */
function placeFields(log: AuditLog, address: usize): void {
  const list = readMaps();
  const maps = changetype<Maps>(list);
  const count: u64 = list ? maps.count : 0;
  let found: bool = false;
  for (let i: u64 = 0; i < count; i++) {
    const mapping = mappingAt(maps, i);
    if (address < mapping.start || address >= mapping.end || !mapping.nameLength) continue;
    textField(log, cstr("file"), mapping.name, <u32>mapping.nameLength);
    numberField(log, cstr("fileOffset"), address - mapping.start + mapping.offset);
    found = true;
  }
  if (!found) {
    wordField(log, cstr("file"), cstr("null"));
    wordField(log, cstr("fileOffset"), cstr("null"));
  }
  if (list) freeMaps(maps);
}
