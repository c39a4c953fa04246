/**
 * execve and execveat: the next image is hooked as well. Our variables were taken out of the environment that the
 * program sees (see environment.ts); here they are put into the one that it hands on.
 */
import { GAP_EXEC_UNHOOKED, GAP_NO_VA0 } from "../../src/image/layout";
import { Frame } from "../hook/frame";
import { followExec } from "../door/follow";
import { NOT_READABLE, readable, safeStringLength } from "../record/memory";
import { recordGap } from "../record/record";
import { isStrict } from "../record/strict";
import { usesZero } from "../rewrite/kinds";
import { copyString, startsWith, stringLength, writeDecimal } from "../std/bytes";
import { afterExecSigsys, beforeExecSigsys } from "../signal/sigsys";
import { cstr } from "../std/cstr";
import { syscall6 } from "../std/raw";
import { AT_FDCWD, failed, mapPages, SYS_EXECVEAT, unmapPages } from "../std/sys";
import { loadsLibraries } from "./executable";
import { AUDIT, doorPath, isOurVariable, libraryPath, nameOf, OURS, SESSION, valueOf, valuesSize } from "./environment";
import { copyOthers, namesOurs, PRELOAD_NAME } from "./preload";
import { mayMapZero } from "./privileges";
import { currentThread, ThreadBlock } from "./thread";

const MOST_VARIABLES: usize = 1 << 20;
const MOST_PATH: usize = 4096;
const X_OK: u64 = 1;
const W_OK: u64 = 2;
const R_OK: u64 = 4;
const AT_EMPTY_PATH: u64 = 0x1000;
const SYS_FACCESSAT: u64 = 269;
const MOST_PRELOAD: usize = 65536;
/** Most bytes of our variables' names, each with `=` and NUL. */
const ROOM_FOR_NAMES: usize = 256;
/** What is added to the array at most: LD_PRELOAD, our variables, the NULL. */
const SLOTS: usize = <usize>OURS + 2;

/** Replaces the environment argument by a copy with ours in it; the original is kept in the frame's cookie. */
export function beforeExec(f: Frame): void {
  beforeExecSigsys();
  f.cookie = environmentArgument(f);
  if (doorPath) {
    followExec(f);
    return;
  }
  const variables = <usize>f.cookie;
  const count = countStrings(variables);
  if (count == NOT_READABLE) return; // the kernel will say EFAULT
  const preload = findVariable(variables, count, cstr("LD_PRELOAD="));
  let preloadLength: usize = 0;
  if (preload) {
    preloadLength = safeStringLength(preload, MOST_PRELOAD);
    if (preloadLength >= MOST_PRELOAD) return; // also NOT_READABLE: the kernel will say EFAULT
  }
  const named = preload != 0 && namesOurs(preload + PRELOAD_NAME);
  const strict = isStrict();
  if (strict || (!libraryPath && valueOf(AUDIT))) reportLoss(f, named || libraryPath != 0, strict);
  const without = usesZero && (libraryPath ? strict : named) && !mayMapZero(scratchOf(f));
  if (!libraryPath && !without) return;
  const size = ((count + SLOTS) * 8 + ROOM_FOR_NAMES + valuesSize() + preloadLength + 4095) & ~4095;
  const pages = mapPages(size);
  if (failed(pages)) return;
  const thread = currentThread();
  thread.execPages = <usize>pages;
  thread.execSize = size;
  if (without) recordGap(GAP_NO_VA0, 0, pathArgument(f), pathLength(f));
  if (libraryPath) build(<usize>pages, variables, count, preload);
  else buildWithout(<usize>pages, variables, count, preload);
  setEnvironmentArgument(f, pages);
}

/** Bytes of memory that nobody needs before the call: SCRATCH of privileges.ts, FD_PATH here. */
// @ts-ignore: decorator
@inline
export function scratchOf(f: Frame): usize {
  return changetype<usize>(f) + offsetof<Frame>("plan0");
}

/**
 * What is started will not be hooked: LD_PRELOAD, which is the user's without a session, does not name us (`named`), or it
 * means nothing to what is started. With a session the reader learns that from what it does not hear; `strict` asks before.
 */
function reportLoss(f: Frame, named: bool, strict: bool): void {
  const length = pathLength(f);
  let path = pathArgument(f);
  let directory = <i64>AT_FDCWD;
  if (<u32>f.nr == <u32>SYS_EXECVEAT) {
    directory = <i64>(<i32>f.a0);
    if (!length && f.a4 & AT_EMPTY_PATH) {
      path = descriptorPath(<u32>directory, scratchOf(f));
      directory = <i64>AT_FDCWD;
    }
  } else if (!length) {
    return;
  }
  if (syscall6(SYS_FACCESSAT, directory, path, X_OK, 0, 0, 0) != 0) return; // it will fail
  if (named && loadsLibraries(directory, path) && !(strict && libraryPath && isOutOfReach())) return;
  recordGap(GAP_EXEC_UNHOOKED, 0, path, <u32>stringLength(path));
}

const MOST_DESCRIPTOR: u32 = 999_999_999;

/** The path of a descriptor, in 24 bytes at `room`. */
function descriptorPath(descriptor: u32, room: usize): usize {
  const end = copyString(room, cstr("/proc/self/fd/"));
  store<u8>(writeDecimal(end, descriptor < MOST_DESCRIPTOR ? descriptor : MOST_DESCRIPTOR), 0);
  return room;
}

/** Whether what we need is not there for the next image: another root directory, another user. */
function isOutOfReach(): bool {
  if (syscall6(SYS_FACCESSAT, AT_FDCWD, libraryPath, R_OK, 0, 0, 0) != 0) return true;
  return syscall6(SYS_FACCESSAT, AT_FDCWD, valueOf(SESSION), R_OK | W_OK, 0, 0, 0) != 0;
}

// @ts-ignore: decorator
@inline
export function pathArgument(f: Frame): usize {
  return <usize>(<u32>f.nr == <u32>SYS_EXECVEAT ? f.a1 : f.a0);
}

/** 0 when it cannot be read. */
export function pathLength(f: Frame): u32 {
  const length = safeStringLength(pathArgument(f), MOST_PATH);
  return length == NOT_READABLE ? 0 : <u32>length;
}

/** The call came back: it failed. */
export function afterExec(f: Frame): void {
  afterExecSigsys();
  setEnvironmentArgument(f, f.cookie);
  dropExecPages(currentThread());
}

export function dropExecPages(block: ThreadBlock): void {
  if (!block.execPages) return;
  unmapPages(block.execPages, block.execSize);
  block.execPages = 0;
}

// @ts-ignore: decorator
@inline
export function environmentArgument(f: Frame): u64 {
  return <u32>f.nr == <u32>SYS_EXECVEAT ? f.a3 : f.a2;
}

function setEnvironmentArgument(f: Frame, value: u64): void {
  if (<u32>f.nr == <u32>SYS_EXECVEAT) f.a3 = value;
  else f.a2 = value;
}

/** Linux takes a null array as an empty one. */
export function countStrings(variables: usize): usize {
  if (!variables) return 0;
  for (let n: usize = 0; n < MOST_VARIABLES; n++) {
    if (!readable(variables + n * 8, 8)) return NOT_READABLE;
    if (!load<usize>(variables + n * 8)) return n;
  }
  return NOT_READABLE;
}

// @ts-ignore: decorator
@inline
function isText(variable: usize): bool {
  return readable(variable, 1) && safeStringLength(variable, 32) != NOT_READABLE;
}

function isOurs(variable: usize): bool {
  return isText(variable) && isOurVariable(variable);
}

/** Address of the variable that begins with `name` (with its `=`), or 0. */
function findVariable(variables: usize, count: usize, name: usize): usize {
  for (let i: usize = 0; i < count; i++) {
    const variable = load<usize>(variables + i * 8);
    if (isText(variable) && startsWith(variable, name)) return variable;
  }
  return 0;
}

/** At `pages`: the array of pointers, with an LD_PRELOAD behind it that does not name us. */
function buildWithout(pages: usize, variables: usize, count: usize, preload: usize): void {
  const text = pages + (count + SLOTS) * 8;
  const list = copyString(text, cstr("LD_PRELOAD"));
  const others = copyOthers(list, preload + PRELOAD_NAME, cstr("")) != list;
  store<u8>(list, 0x3d); // the first colon becomes the `=`
  let slot = pages;
  for (let i: usize = 0; i < count; i++) {
    const variable = load<usize>(variables + i * 8);
    if (variable == preload && !others) continue;
    store<usize>(slot, variable == preload ? text : variable);
    slot += 8;
  }
}

/** At `pages`: the array of pointers, then the strings it has instead of the program's. */
function build(pages: usize, variables: usize, count: usize, preload: usize): void {
  let slot = pages;
  for (let i: usize = 0; i < count; i++) {
    const variable = load<usize>(variables + i * 8);
    if (variable == preload || isOurs(variable)) continue;
    store<usize>(slot, variable);
    slot += 8;
  }
  let text = pages + (count + SLOTS) * 8;
  store<usize>(slot, text);
  text = copyString(copyString(text, cstr("LD_PRELOAD=")), libraryPath);
  if (preload) text = copyOthers(text, preload + PRELOAD_NAME, libraryPath);
  for (let variable: u32 = 0; variable < OURS; variable++) {
    if (!valueOf(variable)) continue;
    slot += 8;
    text++;
    store<usize>(slot, text);
    text = copyString(copyString(text, nameOf(variable)), valueOf(variable));
  }
}
