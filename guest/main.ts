/**
 * The preload door: what ld.so runs when it has loaded libzpoline.so, before the program's first instruction. One thread
 * exists; nothing is hooked until startTrap and beginRewriting.
 */
// asc takes "./std/…" in this folder for its own library: hence "../guest/std/…".
import { RING_H_ROOT } from "../src/image/layout";
import { auditStart } from "./audit/event";
import { fixAuditPath } from "./audit/log";
import { loadProgram, openDoor, passOn, programEntry, programEnvironment } from "./door/start";
import { loadHook } from "./foreign/load";
import { setActions } from "./hook/actions";
import { withoutSled } from "./process/address-zero";
import { AT_BASE, AT_EXECFN, auxiliary, doorPath, libraryPath, SESSION, takeEnvironment, valueOf } from "./process/environment";
import { ownImage } from "./process/mappings";
import { isHooked } from "./process/presence";
import { copyExecutable } from "./process/program";
import { lookForGoroutines } from "./process/room";
import { adoptBlock, allocateBlock, currentPid, ThreadBlock } from "./process/thread";
import { recordStart } from "./record/record";
import { attachRing, ring } from "./record/ring";
import { leftSites, patchedSites } from "./rewrite/apply";
import { choosePatches, isAuto, rewrites, usesZero, withoutZero } from "./rewrite/kinds";
import { beginRewriting } from "./rewrite/deferred";
import { mapSled } from "./rewrite/sled";
import { startTrap } from "./trap/start";
import { cstr } from "../guest/std/cstr";
import { fatal } from "../guest/std/log";
import { rdtsc } from "../guest/std/raw";
import { ENOMEM, failed, mapPages, unmapPages } from "../guest/std/sys";

export { on_fault } from "./foreign/crash";
export { on_hook_enter, on_hook_exit } from "./foreign/enter";
export { on_next, on_next_exit } from "./foreign/next";
export { on_hook_entry } from "./foreign/registers";
export {
  on_cancel_point,
  on_dispatching,
  on_enter,
  on_enter_any,
  on_exit,
  on_raw_exit,
  on_watched,
  exited,
  watched,
} from "./hook/dispatch";
export { on_unknown } from "./hook/landing";
export { on_signal, on_signal_return } from "./signal/deliver";
export { on_int80, on_int80_exit } from "./trap/int80";
export { on_sigsys } from "./trap/sigsys";
export { on_dispatch } from "./trap/user-dispatch";

// @ts-ignore: decorator
@external("symbol", "zp_environ")
declare function zp_environ(): usize;

/** DT_INIT_ARRAY entry. glibc passes the three arguments of main; musl passes nothing, but has set `environ`. */
export function on_load(argc: u32, argv: usize, variables: usize): void {
  const begin = rdtsc();
  if (isHooked()) return;
  takeEnvironment(environment(variables));
  const thread = ownThread();
  if (libraryPath) attachRing(valueOf(SESSION));
  startHooking(thread, environment(variables), begin);
}

/**
 * The loader door's entry point, on a stack of its own (src/image/door-stub.ts): `stack` is the initial one of zpoline-exec.
 * Returns the stack pointer of the program that it has loaded; `entry` gets the address where that begins.
 */
export function on_start(stack: usize, entry: usize): usize {
  const begin = rdtsc();
  openDoor(stack);
  if (isHooked()) passOn();
  const thread = ownThread();
  if (valueOf(SESSION)) attachRing(valueOf(SESSION));
  const top = loadProgram();
  startHooking(thread, programEnvironment(), begin);
  store<usize>(entry, programEntry());
  return top;
}

/** Both doors: the block of the one thread, now its own. Without memory the process ends here. */
function ownThread(): ThreadBlock {
  const block = allocateBlock();
  if (!block) fatal(cstr("NO_MEMORY"), cstr("cannot allocate memory"), <u64>ENOMEM, cstr("raise the limit of address space (ulimit -v)"));
  adoptBlock(changetype<ThreadBlock>(block));
  ownImage();
  return changetype<ThreadBlock>(block);
}

/** Both doors: the program is mapped, the settings are known; nothing of it has run. `variables`: its environment. */
function startHooking(thread: ThreadBlock, variables: usize, begin: u64): void {
  fixAuditPath();
  lookForGoroutines(variables);
  choosePatches();
  const sled = usesZero ? mapSled() : 0;
  if (failed(sled) && isAuto) withoutZero();
  auditStart();
  setActions();
  loadHook(thread, variables);
  if (failed(sled) && !isAuto) {
    withoutSled(<u64>-sled);
  } else {
    startTrap();
    if (rewrites()) beginRewriting();
  }
  if (ring) sayStart(begin);
}

/** glibc has not set its `environ` yet when we run. */
function environment(variables: usize): usize {
  const environ = load<usize>(zp_environ());
  const set = environ ? load<usize>(environ) : 0;
  return set ? set : variables;
}

function sayStart(begin: u64): void {
  if (!load<u32>(ring + RING_H_ROOT)) store<u32>(ring + RING_H_ROOT, currentPid());
  const page = mapPages(4096);
  if (failed(page)) return;
  const length = copyExecutable(<usize>page, 4096);
  const executed = doorPath || auxiliary(AT_BASE) ? <usize>auxiliary(AT_EXECFN) : 0;
  recordStart(<usize>page, length, executed, begin, patchedSites, leftSites);
  unmapPages(<usize>page, 4096);
}
