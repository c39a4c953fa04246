/**
 * The audit log, ZPOLINE_AUDIT=FILE: JSON objects, one a line (docs/audit.md). Lines are collected in a buffer of whoever
 * writes and appended to the file by one write(2) of whole lines, so that those of several processes do not mix. The file is
 * open only while that is done.
 *
 * Who runs this: any thread, also in a signal handler; each has a buffer of its own.
 */
import { AUDIT, replaceValue, valueOf } from "../process/environment";
import { currentPid } from "../process/thread";
import { copyString, stringLength, writeDecimal } from "../std/bytes";
import { cstr } from "../std/cstr";
import { O_APPEND, O_CREAT, O_NONBLOCK, O_WRONLY, openAt, QUIET_ROOM, quietWrite } from "../std/files";
import { syscall6 } from "../std/raw";
import { AT_FDCWD, closeFile, failed, mapPages, O_CLOEXEC, unmapPages, writeAll } from "../std/sys";

/** A buffer of lines. */
// @ts-ignore: decorator
@unmanaged
export class AuditLog {
  /** Where the next byte goes, and where the line began that is being written. */
  at: usize;
  line: usize;
  // Then QUIET_ROOM bytes, the file's path, the lines.
}
const ROOM_AT: usize = offsetof<AuditLog>();
const PATH_AT: usize = ROOM_AT + QUIET_ROOM;
const PATH_SIZE: usize = 8192;
const LINES_AT: usize = PATH_AT + PATH_SIZE;
const LINES_SIZE: usize = 1 << 17;
const LOG_SIZE: usize = LINES_AT + LINES_SIZE;
/** A line has one text at most, of MOST_TEXT bytes, each of which may take six, and some fields. */
const MOST_TEXT: u32 = 4096;
const MOST_LINE: usize = 6 * 4096 + 1024;

const SYS_GETCWD: u64 = 79;
const STDERR: i64 = 2;
const SLASH: u8 = 0x2f;
const PERCENT: u8 = 0x25;
const QUOTE: u8 = 0x22;
const BACKSLASH: u8 = 0x5c;

/** Whether the log's failure has been told. */
let told: bool = false;

/** At start, before the program can change its directory: a relative path is taken from here on as an absolute one. */
export function fixAuditPath(): void {
  const path = valueOf(AUDIT);
  if (!path || !load<u8>(path) || load<u8>(path) == SLASH) return;
  const absolute = replaceValue(AUDIT, PATH_SIZE);
  const length = syscall6(SYS_GETCWD, absolute, 4096, 0, 0, 0, 0);
  if (length < 2 || stringLength(path) >= 4000) return;
  const end = absolute + <usize>length - 1;
  store<u8>(end, SLASH);
  copyString(end + 1, path);
}

/** A log for lines to come; null when there is none to be written. */
export function openAudit(): usize {
  const path = valueOf(AUDIT);
  if (!path || !load<u8>(path)) return 0;
  const pages = mapPages(LOG_SIZE);
  if (failed(pages)) {
    tell(<u64>-pages);
    return 0;
  }
  const log = changetype<AuditLog>(<usize>pages);
  log.at = log.line = <usize>pages + LINES_AT;
  return <usize>pages;
}

/** Writes what is left. */
export function closeAudit(address: usize): void {
  if (!address) return;
  flush(changetype<AuditLog>(address));
  unmapPages(address, LOG_SIZE);
}

function flush(log: AuditLog): void {
  const lines = changetype<usize>(log) + LINES_AT;
  const length = log.at - lines;
  log.at = log.line = lines;
  if (!length) return;
  const path = changetype<usize>(log) + PATH_AT;
  expandPath(path);
  const fd = openAt(<i64>AT_FDCWD, path, O_WRONLY | O_APPEND | O_CREAT | O_NONBLOCK | O_CLOEXEC, 0o666);
  if (failed(fd)) {
    tell(<u64>-fd);
    return;
  }
  const written = quietWrite(fd, lines, length, changetype<usize>(log) + ROOM_AT);
  closeFile(fd);
  if (written != <i64>length) tell(written < 0 ? <u64>-written : ENOSPC);
}
const ENOSPC: u64 = 28;

/** %p becomes the process id, %% a percent sign. */
function expandPath(to: usize): void {
  const end = to + PATH_SIZE - 32;
  let from = valueOf(AUDIT);
  while (load<u8>(from) && to < end) {
    const next = load<u8>(from) == PERCENT ? load<u8>(from, 1) : 0;
    if (next == 0x70) to = writeDecimal(to, currentPid());
    else store<u8>(to++, load<u8>(from));
    from += next == 0x70 || next == PERCENT ? 2 : 1;
  }
  store<u8>(to, 0);
}

/** Once: the program runs all the same. */
function tell(errno: u64): void {
  if (told) return;
  told = true;
  const pages = mapPages(4096 * 3);
  if (failed(pages)) return;
  const text = <usize>pages;
  let end = copyString(text, cstr("zpoline: the audit log cannot be written: "));
  expandPath(end);
  end = copyString(end + stringLength(end), cstr(": errno "));
  end = writeDecimal(end, errno);
  store<u8>(end++, 0x0a);
  writeAll(STDERR, text, end - text);
  unmapPages(text, 4096 * 3);
}

/** `{"type":TYPE,"pid":PID`. The line is complete with endLine; in between come fields. */
export function beginLine(log: AuditLog, type: usize): void {
  if (changetype<usize>(log) + LOG_SIZE - log.at < MOST_LINE) flush(log);
  log.line = log.at;
  log.at = copyString(log.at, cstr('{"type":"'));
  log.at = copyString(log.at, type);
  log.at = copyString(log.at, cstr('"'));
  numberField(log, cstr("pid"), currentPid());
}

export function endLine(log: AuditLog): void {
  log.at = copyString(log.at, cstr("}\n"));
}

function fieldName(log: AuditLog, name: usize): void {
  log.at = copyString(log.at, cstr(',"'));
  log.at = copyString(log.at, name);
  log.at = copyString(log.at, cstr('":'));
}

export function numberField(log: AuditLog, name: usize, value: u64): void {
  fieldName(log, name);
  log.at = writeDecimal(log.at, value);
}

/** `null`, `true` and so on. */
export function wordField(log: AuditLog, name: usize, word: usize): void {
  fieldName(log, name);
  log.at = copyString(log.at, word);
}

export function textField(log: AuditLog, name: usize, text: usize, length: u32): void {
  fieldName(log, name);
  let at = log.at;
  store<u8>(at++, QUOTE);
  const end = text + (length < MOST_TEXT ? length : MOST_TEXT);
  for (let p = text; p < end; p++) {
    const c = load<u8>(p);
    if (c < 0x20) {
      at = copyString(at, cstr("\\u00"));
      store<u8>(at, hexDigit(c >> 4));
      store<u8>(at, hexDigit(c & 15), 1);
      at += 2;
      continue;
    }
    if (c == QUOTE || c == BACKSLASH) store<u8>(at++, BACKSLASH);
    store<u8>(at++, c);
  }
  store<u8>(at++, QUOTE);
  log.at = at;
}

function hexDigit(value: u8): u8 {
  return value < 10 ? 0x30 + value : 0x57 + value;
}

/** A word of ours. */
export function nameField(log: AuditLog, name: usize, word: usize): void {
  textField(log, name, word, <u32>stringLength(word));
}
