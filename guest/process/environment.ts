/**
 * The environment of the program: our variables are read before the program looks. In a session they are taken out of it,
 * and go back in at exec (exec.ts). Without one it stays untouched: then they are the user's own, and follow exec as any
 * variable does.
 */
import { VARIABLES_SIZE } from "../../src/image/layout";
import { copyString, startsWith, stringLength } from "../std/bytes";
import { cstr } from "../std/cstr";
import { fatal } from "../std/log";
import { E2BIG } from "../std/sys";
import { copyOthers, entryEnd, findOurs, PRELOAD_NAME } from "./preload";

// What is read: those below OURS are our own.
/** Path of the ring file. */
export const SESSION: u32 = 0;
/** Built-in hooks, for measurements: see hook/actions.ts. */
export const HOOK: u32 = 1;
/** What is not rewritten. */
export const EXCLUDE: u32 = 2;
/** File that tells what became of each site. */
export const AUDIT: u32 = 3;
/** Directory of the site cache, or "off". */
export const CACHE: u32 = 4;
/** The C hook, as in the C zpoline. */
export const LIBZPHOOK: u32 = 5;
/** "leave": the C hook must not use vector or x87 registers. */
export const ZPOLINE_VECTOR: u32 = 6;
/** "bypass": a C hook that crashes is left out from then on. */
export const ZPOLINE_HOOK_CRASH: u32 = 7;
/** Which patches are made: see rewrite/kinds.ts. */
export const PATCH: u32 = 8;
/** "1": a process ends at its first gap. */
export const STRICT: u32 = 9;
/** "off": io_uring_setup answers ENOSYS. */
export const IO_URING: u32 = 10;
export const OURS: u32 = 11;
export const XDG_CACHE_HOME: u32 = 11;
export const HOME: u32 = 12;
const COUNT: u32 = 13;

/** NUL-terminated name of a variable, with its `=`. */
export function nameOf(variable: u32): usize {
  switch (variable) {
    case SESSION:
      return cstr("ZPOLINE_SESSION=");
    case HOOK:
      return cstr("ZPOLINE_HOOK=");
    case EXCLUDE:
      return cstr("ZPOLINE_EXCLUDE=");
    case AUDIT:
      return cstr("ZPOLINE_AUDIT=");
    case CACHE:
      return cstr("ZPOLINE_CACHE=");
    case LIBZPHOOK:
      return cstr("LIBZPHOOK=");
    case ZPOLINE_VECTOR:
      return cstr("ZPOLINE_VECTOR=");
    case ZPOLINE_HOOK_CRASH:
      return cstr("ZPOLINE_HOOK_CRASH=");
    case PATCH:
      return cstr("ZPOLINE_PATCH=");
    case STRICT:
      return cstr("ZPOLINE_STRICT=");
    case IO_URING:
      return cstr("ZPOLINE_IO_URING=");
    case XDG_CACHE_HOME:
      return cstr("XDG_CACHE_HOME=");
    default:
      return cstr("HOME=");
  }
}

/** Value of each variable, in zp_variables; 0 where it is not set. */
const values: StaticArray<usize> = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
/** Copies: a program may write over its initial environment. */
// @ts-ignore: decorator
@external("symbol", "zp_variables")
declare function zp_variables(): usize;
let used: usize = 0;

/** NUL-terminated path of this library in a session; 0 when this process has none. */
export let libraryPath: usize = 0;
/** NUL-terminated path of zpoline-exec in a process that it has loaded; 0 in others. */
export let doorPath: usize = 0;

/** Whether somebody reads what this process records. */
export function inSession(): bool {
  return libraryPath != 0 || (doorPath != 0 && valueOf(SESSION) != 0);
}

/** This process is loaded by the file at `path`, `length` bytes. */
export function setDoor(path: usize, length: usize): void {
  doorPath = keep(path, length);
}

/** `NAME=VALUE` of one of our own variables, given to the loader door; false when it is none. */
export function takeSetting(text: usize): bool {
  const variable = variableOf(text);
  if (variable >= OURS) return false;
  const value = text + stringLength(nameOf(variable));
  unchecked((values[variable] = keep(value, stringLength(value))));
  return true;
}

/** Address of the NUL-terminated value of a variable; 0 where it is not set. */
// @ts-ignore: decorator
@inline
export function valueOf(variable: u32): usize {
  return unchecked(values[variable]);
}

/** Room for a new value of a variable, `size` bytes; from now on it is what is in there. */
export function replaceValue(variable: u32, size: usize): usize {
  const value = reserve(size);
  unchecked((values[variable] = value));
  return value;
}

/** At least as many bytes as the copies take. */
export function valuesSize(): usize {
  return used;
}

/**
 * `variables` is the NULL-terminated array on the initial stack; in a session of the preload door it is changed in place.
 * Where the program has rights that its caller has not (setuid and so on), nothing that the caller says is believed. The
 * loader door has been told all settings of a session already.
 */
export function takeEnvironment(variables: usize): void {
  if (!variables) return;
  findVector(variables);
  if (auxiliary(AT_SECURE)) return;
  const first: u32 = doorPath && valueOf(SESSION) ? OURS : 0;
  let preload: usize = 0;
  for (let p = variables; load<usize>(p); p += 8) {
    const text = load<usize>(p);
    if (!preload && startsWith(text, cstr("LD_PRELOAD="))) preload = text;
    const variable = variableOf(text);
    if (variable >= first && variable < COUNT && !valueOf(variable)) {
      const value = text + stringLength(nameOf(variable));
      unchecked((values[variable] = keep(value, stringLength(value))));
    }
  }
  if (doorPath || !valueOf(SESSION) || !preload) return;
  const list = preload + PRELOAD_NAME;
  const ours = findOurs(list);
  libraryPath = keep(ours, entryEnd(ours) - ours);
  replaceOurs(variables, preload, otherPreloads(list));
}

/** Which variable a `NAME=value` is; COUNT for others. */
function variableOf(text: usize): u32 {
  let variable: u32 = 0;
  while (variable < COUNT && !startsWith(text, nameOf(variable))) variable++;
  return variable;
}

/** Whether `text` is one of our own variables. */
export function isOurVariable(text: usize): bool {
  return variableOf(text) < OURS;
}

/** A NUL-terminated copy in our room. */
function keep(text: usize, length: usize): usize {
  const copy = reserve(length + 1);
  memory.copy(copy, text, length);
  return copy;
}

/** Zeroed room. Where there is none, the program ends here: no setting is ignored silently. */
function reserve(size: usize): usize {
  if (size > <usize>VARIABLES_SIZE - used) {
    fatal(cstr("ENVIRONMENT"), cstr("the environment variables of zpoline are too long"), <u64>E2BIG, cstr("shorten them"));
  }
  const at = zp_variables() + used;
  used += size;
  return at;
}

/** LD_PRELOAD with what the list names beside us; 0 when that is nothing. */
function otherPreloads(list: usize): usize {
  const variable = reserve(PRELOAD_NAME + stringLength(list) + 2);
  const value = copyString(variable, cstr("LD_PRELOAD"));
  if (copyOthers(value, list, libraryPath) == value) return 0;
  store<u8>(value, 0x3d); // the first colon becomes the `=`
  return variable;
}

/** Takes our variables out of the array; `preload` becomes `others`, or goes as well (0). */
function replaceOurs(variables: usize, preload: usize, others: usize): void {
  let to = variables;
  for (let from = variables; load<usize>(from); from += 8) {
    const text = load<usize>(from);
    const kept = text == preload ? others : isOurVariable(text) ? 0 : text;
    if (!kept) continue;
    store<usize>(to, kept);
    to += 8;
  }
  while (load<usize>(to)) {
    store<usize>(to, 0);
    to += 8;
  }
}

// The auxiliary vector behind the environment (getauxval(3)): types.
const AT_NULL: u64 = 0;
export const AT_PHDR: u64 = 3;
export const AT_PHNUM: u64 = 5;
const AT_SECURE: u64 = 23;
/** 0 where the program is a dynamic loader, which was told what to load (and which changes AT_EXECFN). */
export const AT_BASE: u64 = 7;
export const AT_EXECFN: u64 = 31;
export const AT_SYSINFO_EHDR: u64 = 33;
/** Bytes of the largest signal frame; 0 from kernels before 5.14. */
export const AT_MINSIGSTKSZ: u64 = 51;
/** All types are less. What follows an environment that is not the initial one is not taken for a vector. */
const AT_LIMIT: u64 = 64;
let vector: usize = 0;

export function findVector(variables: usize): void {
  vector = variables;
  while (load<usize>(vector)) vector += 8;
  vector += 8;
}

/** A value of the auxiliary vector; 0 when it is not there. */
export function auxiliary(type: u64): u64 {
  for (let p = vector; p && load<u64>(p) != AT_NULL && load<u64>(p) < AT_LIMIT; p += 16) {
    if (load<u64>(p) == type) return load<u64>(p, 8);
  }
  return 0;
}
