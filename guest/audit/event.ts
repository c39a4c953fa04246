/** Lines of the audit log about processes, and about what will not be seen. */
import {
  PATCHES_JUMP,
  PATCHES_TRAP,
  PATCHES_ZERO,
} from "../../src/image/layout";
import { copyExecutable } from "../process/program";
import { patchesInUse } from "../rewrite/kinds";
import { copyString } from "../std/bytes";
import { cstr } from "../std/cstr";
import { syscall6 } from "../std/raw";
import { failed, mapPages, SYS_GETPPID, unmapPages } from "../std/sys";
import { AuditLog, beginLine, closeAudit, endLine, nameField, numberField, openAudit, textField } from "./log";

/** Something that is not seen: its kind, an address or number, and what it is about (`length` bytes at `text`). */
export function auditEvent(kind: usize, value: u64, text: usize, length: u32): void {
  const address = openAudit();
  if (!address) return;
  const log = changetype<AuditLog>(address);
  beginLine(log, cstr("gap"));
  nameField(log, cstr("kind"), kind);
  numberField(log, cstr("value"), value);
  textField(log, cstr("detail"), text, length);
  endLine(log);
  closeAudit(address);
}

/** This process begins to be hooked. */
export function auditStart(): void {
  const address = openAudit();
  if (!address) return;
  const log = changetype<AuditLog>(address);
  beginLine(log, cstr("start"));
  numberField(log, cstr("ppid"), <u64>syscall6(SYS_GETPPID, 0, 0, 0, 0, 0, 0));
  const page = mapPages(4096);
  if (!failed(page)) {
    const length = copyExecutable(<usize>page, 4096);
    textField(log, cstr("exe"), <usize>page, length);
    unmapPages(<usize>page, 4096);
  }
  const names = patchNameRoom + 1;
  textField(log, cstr("patches"), names, <u32>(patchNames() - names));
  endLine(log);
  closeAudit(address);
}

/** Start-up only: one thread. */
const patchNameRoom: usize = memory.data(32, 8);

/** Writes what the process uses, each name with a plus sign in front; returns the end. */
function patchNames(): usize {
  const patches = patchesInUse();
  let end = patchNameRoom;
  if (patches & PATCHES_ZERO) end = copyString(end, cstr("+zero"));
  if (patches & PATCHES_JUMP) end = copyString(end, cstr("+jump"));
  if (patches & PATCHES_TRAP) end = copyString(end, cstr("+trap"));
  return end;
}
