/**
 * A C hook that crashes ends in a report, and in the death that the crash means; with ZPOLINE_HOOK_CRASH=bypass the call is
 * made without it, and the program goes on unhooked.
 *
 * Who runs this: a thread at the mercy of a fatal signal, on the alternate signal stack as a rule.
 */
import {
  GAP_HOOK_CRASHED,
  HOOK_ALTERNATE_SIZE,
  HOOK_STACK_SIZE,
} from "../../src/image/layout";
import { actionsWithoutHook } from "../hook/actions";
import { Frame } from "../hook/frame";
import { valueOf, ZPOLINE_HOOK_CRASH } from "../process/environment";
import { currentPid, currentThread, ThreadBlock } from "../process/thread";
import { recordGap } from "../record/record";
import { freeMaps, mappingAt, Maps, readMaps } from "../rewrite/maps";
import { sameString, stringLength, writeDecimal, writeHex } from "../std/bytes";
import { cstr } from "../std/cstr";
import { say } from "../std/log";
import { actionInFrame } from "../signal/action";
import { Interned } from "../signal/interned";
import { syscall6 } from "../std/raw";
import {
  SA_RESETHAND,
  SI_ADDR,
  SI_CODE,
  SI_PID,
  SI_TKILL,
  SIG_IGN,
  SIGABRT,
  SIGBUS,
  SIGFPE,
  SIGILL,
  SIGSEGV,
  UC_RIP,
  UC_RSP,
} from "../std/signals";
import { SYS_TGKILL, writeAll } from "../std/sys";
import { setDefault, watch } from "./signals";

// @ts-ignore: decorator
@external("symbol", "zp_hook_abandon")
declare function zp_hook_abandon(): usize;

const DIGITS: usize = memory.data(32, 8);
const STDERR: i64 = 2;

/** Whether the program's handler is to be called as the kernel has called us; else it goes on where the signal came. */
export function on_fault(signal: u32, info: usize, context: usize): bool {
  const thread = currentThread();
  const code = <i32>load<u32>(info, SI_CODE);
  if (isCrashOfHook(thread, signal, code, info, load<usize>(context, UC_RSP))) {
    crashed(thread, signal, info, context);
    return false;
  }
  const action = actionInFrame(context, signal);
  if (action && changetype<Interned>(action).handler > SIG_IGN) {
    if (changetype<Interned>(action).flags & SA_RESETHAND) watch(signal);
    return true;
  }
  die(thread, signal, code);
  return false;
}

/** As the kernel would have it: a fault comes again as soon as we return, any other signal is sent again. */
function die(thread: ThreadBlock, signal: u32, code: i32): void {
  setDefault(signal);
  if (code <= 0) syscall6(SYS_TGKILL, currentPid(), thread.tid, signal, 0, 0, 0);
}

/** The hook's code is running, on its own stack: a signal handler of the program that has interrupted it is not looked for. */
function isCrashOfHook(thread: ThreadBlock, signal: u32, code: i32, info: usize, stackPointer: usize): bool {
  if (!thread.hookIn) return false;
  const sentByAbort = signal == SIGABRT && code == SI_TKILL && load<u32>(info, SI_PID) == currentPid();
  if (code <= 0 && !sentByAbort) return false;
  const level = thread.hookLevel;
  return stackPointer < level && level - stackPointer < <usize>(HOOK_STACK_SIZE + HOOK_ALTERNATE_SIZE);
}

function crashed(thread: ThreadBlock, signal: u32, info: usize, context: usize): void {
  const address = load<usize>(context, UC_RIP);
  const stackPointer = load<usize>(context, UC_RSP);
  const low = thread.hookTop - HOOK_STACK_SIZE;
  const overflown = thread.hookCallSp != 0 && stackPointer < low + 4096;
  const f = changetype<Frame>(thread.hookLevel);
  say(cstr("zpoline: the hook crashed: "));
  say(nameOf(signal));
  say(cstr(" (HOOK_CRASHED)\n  cause: at "));
  sayAddress(address);
  if (signal == SIGSEGV || signal == SIGBUS) {
    say(cstr(", memory at "));
    sayHex(load<usize>(info, SI_ADDR));
  }
  say(cstr(", in the program's system call "));
  const end = writeDecimal(DIGITS, f.nr);
  writeAll(STDERR, DIGITS, end - DIGITS);
  if (overflown) say(cstr("; the hook used up its stack of 256 KiB: endless recursion?"));
  const choice = valueOf(ZPOLINE_HOOK_CRASH);
  if (!choice || !sameString(choice, cstr("bypass"))) {
    say(cstr("\n  fix: correct the hook; ZPOLINE_HOOK_CRASH=bypass lets the program go on without it\n"));
    die(thread, signal, <i32>load<u32>(info, SI_CODE)); // what abort() does next may be watched again
    return;
  }
  say(cstr("\n  fix: correct the hook; from here on the program runs without it\n"));
  actionsWithoutHook();
  recordGap(GAP_HOOK_CRASHED, address, nameOf(signal), <u32>stringLength(nameOf(signal)));
  store<usize>(context, thread.hookLevel, UC_RSP);
  store<usize>(context, zp_hook_abandon(), UC_RIP);
}

function nameOf(signal: u32): usize {
  if (signal == SIGSEGV) return cstr("SIGSEGV");
  if (signal == SIGBUS) return cstr("SIGBUS");
  if (signal == SIGFPE) return cstr("SIGFPE");
  if (signal == SIGILL) return cstr("SIGILL");
  return cstr("SIGABRT");
}

function sayHex(value: usize): void {
  const end = writeHex(DIGITS, value);
  writeAll(STDERR, DIGITS, end - DIGITS);
}

/** The address, and the file and the offset in it. */
function sayAddress(address: usize): void {
  sayHex(address);
  const list = readMaps();
  if (!list) return;
  const maps = changetype<Maps>(list);
  for (let i: u64 = 0; i < maps.count; i++) {
    const mapping = mappingAt(maps, i);
    if (address < mapping.start || address >= mapping.end || !mapping.nameLength) continue;
    say(cstr(" ("));
    writeAll(STDERR, mapping.name, <usize>mapping.nameLength);
    say(cstr("+"));
    sayHex(address - mapping.start + <usize>mapping.offset);
    say(cstr(")"));
  }
  freeMaps(maps);
}
