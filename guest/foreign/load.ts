/**
 * Loading a C hook, the library that LIBZPHOOK names, as the C zpoline does: with dlmopen into a link-map namespace of its
 * own, where it has its own libc, whose system calls are never rewritten. A libc without dlmopen (musl) gets the hook
 * with dlopen: it then shares the program's libc, and what it calls there comes back to us and is passed on (enter.ts).
 *
 * Runs at start-up, with one thread, before anything is hooked. The C library can be used: ld.so has set it up.
 */
import { actionsForHook } from "../hook/actions";
import { auxiliary, valueOf, LIBZPHOOK, ZPOLINE_VECTOR } from "../process/environment";
import { own } from "../process/own";
import { setStack, ThreadBlock } from "../process/thread";
import { freeMaps, Mapping, mappingAt, Maps, readMaps } from "../rewrite/maps";
import { sameString } from "../std/bytes";
import { cstr } from "../std/cstr";
import { refuse } from "../std/log";
import { call0, call2, call3 } from "../std/raw";
import { PROT_EXEC, PROT_READ } from "../std/sys";
import { allowReentry, useFsBase } from "./enter";
import { setHookEntry } from "./registers";
import { watchSignals } from "./signals";
import { useCtypeInit } from "./stack";

// @ts-ignore: decorator
@external("symbol", "zp_dlmopen")
declare function zp_dlmopen(): usize;
// @ts-ignore: decorator
@external("symbol", "zp_dlopen")
declare function zp_dlopen(): usize;
// @ts-ignore: decorator
@external("symbol", "zp_dlsym")
declare function zp_dlsym(): usize;
// @ts-ignore: decorator
@external("symbol", "zp_dlerror")
declare function zp_dlerror(): usize;
// @ts-ignore: decorator
@external("symbol", "zp_environ")
declare function zp_environ(): usize;
// @ts-ignore: decorator
@external("symbol", "zp_hook_function")
declare function zp_hook_function(): usize;
// @ts-ignore: decorator
@external("symbol", "zp_hook_way")
declare function zp_hook_way(): usize;
// @ts-ignore: decorator
@external("symbol", "zp_vectors_restore")
declare function zp_vectors_restore(): usize;
// @ts-ignore: decorator
@external("symbol", "zp_hook_leave")
declare function zp_hook_leave(): usize;
// @ts-ignore: decorator
@external("symbol", "zp_vectors_leave")
declare function zp_vectors_leave(): usize;
// @ts-ignore: decorator
@external("symbol", "zp_hook_0")
declare function zp_hook_0(): usize;
// @ts-ignore: decorator
@external("symbol", "zp_hook_1")
declare function zp_hook_1(): usize;
// @ts-ignore: decorator
@external("symbol", "zp_hook_2")
declare function zp_hook_2(): usize;
// @ts-ignore: decorator
@external("symbol", "zp_vectors_restore_0")
declare function zp_vectors_restore_0(): usize;
// @ts-ignore: decorator
@external("symbol", "zp_vectors_restore_1")
declare function zp_vectors_restore_1(): usize;
// @ts-ignore: decorator
@external("symbol", "zp_vectors_restore_2")
declare function zp_vectors_restore_2(): usize;
// @ts-ignore: decorator
@external("symbol", "zp_cpu_level")
declare function zp_cpu_level(): usize;
// @ts-ignore: decorator
@external("symbol", "zp_next")
declare function zp_next(): usize;
// @ts-ignore: decorator
@external("symbol", "on_hook_entry")
declare function on_hook_entry(): usize;

// The headers of an ELF file (elf(5)).
const ELF_MAGIC: u32 = 0x464c457f;
const E_PHOFF: usize = 32;
const E_PHNUM: usize = 56;
const PHDR_SIZE: usize = 56;
const PT_LOAD: u32 = 1;
const P_VADDR: usize = 16;
const P_MEMSZ: usize = 40;

const LM_ID_NEWLM: u64 = <u64>-1;
const RTLD_NOW: u64 = 2;

/** Whether the hook shares the program's C library. */
export let sharesLibrary: bool = false;
/** Executable mappings that came with the hook: [start, end) each. */
const ranges: usize = memory.data(1024, 8);
const MOST_RANGES: u32 = 64;
let rangeCount: u32 = 0;
let loaderLow: usize = 0;
let loaderHigh: usize = 0;

/** Whether code at `address` came with the hook, and is left as it is. */
export function isHookCode(address: usize): bool {
  for (let i: usize = 0; i < <usize>rangeCount; i++) {
    if (load<usize>(ranges + i * 16) <= address && address < load<usize>(ranges + i * 16, 8)) return true;
  }
  return false;
}

/** Whether `address` is in ld.so, which the hook shares with the program. */
export function isLoaderCode(address: usize): bool {
  return loaderLow <= address && address < loaderHigh;
}

/** `variables`: the environment on the initial stack. */
export function loadHook(thread: ThreadBlock, variables: usize): void {
  const path = valueOf(LIBZPHOOK);
  if (!path || !load<u8>(path)) return;
  setStack(thread, variables);
  // What a hook's own libc takes for its environment is this libc's, which sets it only later.
  const environ = load<usize>(zp_environ());
  if (environ && !load<usize>(environ)) store<usize>(environ, variables);
  const before = readMaps();
  const handle = open(path);
  if (!handle) refuse(cstr("HOOK_LOAD"), cstr("the hook that LIBZPHOOK names cannot be loaded"), lastError(), cstr("name a shared library of this machine, by its path"));
  if (before) {
    noteRanges(changetype<Maps>(before));
    freeMaps(changetype<Maps>(before));
  }
  store<usize>(zp_hook_function(), zp_next());
  start(<usize>handle);
  setVectors();
  readAuxiliary();
  watchSignals();
  actionsForHook();
}

function open(path: usize): u64 {
  const dlmopen = load<usize>(zp_dlmopen());
  if (dlmopen) return call3(dlmopen, LM_ID_NEWLM, path, RTLD_NOW);
  const dlopen = load<usize>(zp_dlopen());
  sharesLibrary = true;
  return dlopen ? call2(dlopen, path, RTLD_NOW) : 0;
}

function lastError(): usize {
  const dlerror = load<usize>(zp_dlerror());
  const text = dlerror ? <usize>call0(dlerror) : 0;
  return text ? text : cstr("this program's C library has no dlopen");
}

/** __hook_init as in the C zpoline; hook_entry, if there is one, has the last word. */
function start(handle: usize): void {
  const dlsym = load<usize>(zp_dlsym());
  const init = call2(dlsym, handle, cstr("__hook_init"));
  const entry = call2(dlsym, handle, cstr("hook_entry"));
  if (!init && !entry) {
    refuse(cstr("HOOK_INIT"), cstr("the hook has neither __hook_init nor hook_entry"), 0, cstr("see docs/c-hooks.md"));
  }
  if (init && <u32>call2(init, 0, zp_hook_function())) {
    refuse(cstr("HOOK_INIT"), cstr("the hook refused to start"), cstr("its __hook_init did not return 0"), cstr("see what the hook says"));
  }
  if (!sharesLibrary) useCtypeInit(<usize>call2(dlsym, handle, cstr("__ctype_init")));
  const reentrant = call2(dlsym, handle, cstr("zpoline_reentrant"));
  if (reentrant && load<u32>(<usize>reentrant)) allowReentry();
  if (!entry) return;
  setHookEntry(<usize>entry);
  store<usize>(zp_hook_function(), on_hook_entry());
}

/** What is saved around the hook: all that this processor has, or nothing. */
function setVectors(): void {
  const wanted = valueOf(ZPOLINE_VECTOR);
  let way = zp_hook_0();
  let restore = zp_vectors_restore_0();
  const level = call0(zp_cpu_level());
  if (wanted && sameString(wanted, cstr("leave"))) {
    way = zp_hook_leave();
    restore = zp_vectors_leave();
  } else if (level == 1) {
    way = zp_hook_1();
    restore = zp_vectors_restore_1();
  } else if (level == 2) {
    way = zp_hook_2();
    restore = zp_vectors_restore_2();
  }
  store<usize>(zp_hook_way(), way);
  store<usize>(zp_vectors_restore(), restore);
}

const AT_BASE: u64 = 7;
const AT_HWCAP2: u64 = 26;
/** Instructions for the fs and gs base are allowed (arch/x86/include/uapi/asm/hwcap2.h). */
const HWCAP2_FSGSBASE: u64 = 2;

function readAuxiliary(): void {
  if (auxiliary(AT_HWCAP2) & HWCAP2_FSGSBASE) useFsBase();
}

/** What is executable now and was not mapped before came with the hook; ld.so is known by its base address. */
function noteRanges(before: Maps): void {
  const after = readMaps();
  if (!after) return;
  const maps = changetype<Maps>(after);
  const base = <usize>auxiliary(AT_BASE);
  let inode: u64 = 0;
  for (let i: u64 = 0; i < maps.count; i++) {
    const mapping = mappingAt(maps, i);
    if (mapping.start == base) inode = mapping.inode;
    if (!mapping.offset && mapping.inode && !isMapped(before, mapping.start)) ownObject(mapping);
    if (!(mapping.protection & PROT_EXEC)) continue;
    if (inode && mapping.inode == inode && !loaderHigh) {
      loaderLow = mapping.start;
      loaderHigh = mapping.end;
    }
    if (isMapped(before, mapping.start) || rangeCount == MOST_RANGES) continue;
    store<usize>(ranges + <usize>rangeCount * 16, mapping.start);
    store<usize>(ranges + <usize>rangeCount * 16, mapping.end, 8);
    rangeCount++;
  }
  freeMaps(maps);
}

/** All segments of the object whose first mapping this is, with what is zero in them: `.bss` has no name of its own. */
function ownObject(mapping: Mapping): void {
  const header = mapping.start;
  if (!(mapping.protection & PROT_READ) || load<u32>(header) != ELF_MAGIC) return;
  const count: u32 = load<u16>(header, E_PHNUM);
  let first = <usize>-1;
  let end: usize = 0;
  for (let i: u32 = 0; i < count; i++) {
    const segment = header + load<usize>(header, E_PHOFF) + <usize>i * PHDR_SIZE;
    if (segment + PHDR_SIZE > mapping.end) return;
    if (load<u32>(segment) != PT_LOAD) continue;
    const address = load<usize>(segment, P_VADDR);
    if (address < first) first = address;
    if (address + load<usize>(segment, P_MEMSZ) > end) end = address + load<usize>(segment, P_MEMSZ);
  }
  if (end > first) own(header, end - (first & ~4095));
}

function isMapped(maps: Maps, address: usize): bool {
  for (let i: u64 = 0; i < maps.count; i++) {
    const mapping = mappingAt(maps, i);
    if (mapping.start <= address && address < mapping.end) return true;
  }
  return false;
}
