/**
 * Which numbers the entry stub hands to us (ACTION_* in src/image/layout.ts). The table is a symbol of the machine code
 * templates; it is filled before anything is hooked and never changed afterwards.
 */
import {
  ACTION_CONSTANT,
  ACTION_HOOK,
  ACTION_NOOP,
  ACTION_NUMBERS,
  ACTION_RECORD,
  ACTION_SPECIAL,
  POINTER_NUMBERS,
} from "../../src/image/layout";
import { EXE_CALL_COUNT, EXE_CALLS } from "../door/exe-link";
import { doorPath, HOOK, valueOf } from "../process/environment";
import { hasGoroutines } from "../process/room";
import { recorded } from "../record/record";
import { ring } from "../record/ring";
import { usesTrap, usesZero } from "../rewrite/kinds";
import { readDecimal, startsWith } from "../std/bytes";
import { MASK_CALL_COUNT, MASK_CALLS } from "../signal/mask";
import { cstr } from "../std/cstr";
import {
  SYS_BRK,
  SYS_CLONE,
  SYS_CLONE3,
  SYS_EXECVE,
  SYS_EXECVEAT,
  SYS_EXIT,
  SYS_EXIT_GROUP,
  SYS_FORK,
  SYS_IO_URING_SETUP,
  SYS_MADVISE,
  SYS_MMAP,
  SYS_MPROTECT,
  SYS_MREMAP,
  SYS_MUNMAP,
  SYS_PERSONALITY,
  SYS_PKEY_MPROTECT,
  SYS_PRCTL,
  SYS_SECCOMP,
  SYS_ARCH_PRCTL,
  SYS_RT_SIGACTION,
  SYS_RT_SIGRETURN,
  SYS_SHMAT,
  SYS_SHMDT,
  SYS_SIGALTSTACK,
  SYS_VFORK,
} from "../std/sys";
import { pointerAction, pointerRow } from "./pointers";

// @ts-ignore: decorator
@external("symbol", "zp_actions")
declare function zp_actions(): usize;

/** ACTION_* bits of a number. */
// @ts-ignore: decorator
@inline
export function actionOf(nr: u32): u32 {
  const index = nr < <u32>ACTION_NUMBERS ? nr : <u32>ACTION_NUMBERS;
  return load<u8>(zp_actions() + <usize>index);
}

const ASTERISK: u8 = 0x2a;

function mark(nr: u64, action: u32): void {
  const at = zp_actions() + <usize>nr;
  store<u8>(at, load<u8>(at) | <u8>action);
}

/** The calls that need care whether anybody looks at them or not: see specialEnter in dispatch.ts. */
const SPECIAL: StaticArray<u64> = [
  SYS_CLONE,
  SYS_CLONE3,
  SYS_FORK,
  SYS_VFORK,
  SYS_RT_SIGACTION,
  SYS_RT_SIGRETURN,
  SYS_EXECVE,
  SYS_EXECVEAT,
  SYS_EXIT,
  SYS_EXIT_GROUP,
  SYS_MMAP,
  SYS_MPROTECT,
  SYS_PKEY_MPROTECT,
  SYS_PRCTL,
  SYS_SECCOMP,
  SYS_ARCH_PRCTL,
  SYS_MUNMAP,
  SYS_MREMAP,
  SYS_BRK,
  SYS_MADVISE,
  SYS_SHMAT,
  SYS_SHMDT,
  SYS_IO_URING_SETUP,
  SYS_PERSONALITY,
];
const SPECIAL_COUNT: u32 = 24;

export function setActions(): void {
  for (let i: u32 = 0; i < SPECIAL_COUNT; i++) mark(unchecked(SPECIAL[i]), ACTION_SPECIAL);
  mark(<u64>ACTION_NUMBERS, ACTION_SPECIAL);
  if (hasGoroutines) mark(SYS_SIGALTSTACK, ACTION_SPECIAL);
  if (usesTrap) {
    mark(SYS_RT_SIGACTION, ACTION_SPECIAL);
    for (let i: u32 = 0; i < MASK_CALL_COUNT; i++) mark(unchecked(MASK_CALLS[i]), ACTION_SPECIAL);
    mark(SYS_SIGALTSTACK, ACTION_SPECIAL);
  }
  if (doorPath) {
    for (let i: u32 = 0; i < EXE_CALL_COUNT; i++) mark(unchecked(EXE_CALLS[i]), ACTION_SPECIAL);
  }
  if (usesZero) {
    for (let nr: u32 = 0; nr < <u32>POINTER_NUMBERS; nr++) mark(nr, pointerAction(pointerRow(nr)));
  }
  if (ring) {
    for (let nr: u32 = 0; nr <= <u32>ACTION_NUMBERS; nr++) {
      if (recorded(nr)) mark(nr, ACTION_RECORD);
    }
  }
  const hook = valueOf(HOOK);
  if (hook) setBuiltInHook(hook);
}

/** Adds to what every number has. */
export function markAll(action: u32): void {
  for (let nr: u64 = 0; nr <= <u64>ACTION_NUMBERS; nr++) mark(nr, action);
}

/** The C hook gets every number but rt_sigreturn, whose stack pointer is its argument. */
export function actionsForHook(): void {
  for (let nr: u64 = 0; nr <= <u64>ACTION_NUMBERS; nr++) {
    if (nr != SYS_RT_SIGRETURN) mark(nr, ACTION_HOOK);
  }
  mark(SYS_SIGALTSTACK, ACTION_SPECIAL);
}

/** The C hook gets nothing any more. */
export function actionsWithoutHook(): void {
  for (let nr: usize = 0; nr <= <usize>ACTION_NUMBERS; nr++) {
    const at = zp_actions() + nr;
    store<u8>(at, load<u8>(at) & ~<u8>ACTION_HOOK);
  }
}

/**
 * ZPOLINE_HOOK=constant:NR answers 0 without a call; noop:NR goes through the stub to the kernel, noop:* with every number.
 * For measurements and tests.
 */
function setBuiltInHook(text: usize): void {
  if (startsWith(text, cstr("constant:"))) markNumber(text + 9, ACTION_CONSTANT);
  if (startsWith(text, cstr("noop:"))) markNumber(text + 5, ACTION_NOOP);
}

function markNumber(text: usize, action: u32): void {
  if (load<u8>(text) == ASTERISK) {
    markAll(action);
    return;
  }
  const nr = readDecimal(text);
  if (nr < <u64>ACTION_NUMBERS) mark(nr, action);
}
