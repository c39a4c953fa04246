/**
 * clone, clone3, fork and vfork. The real call is made with the program's own registers, but with the frame as its stack
 * pointer, below the program's red zone: parent and child return with that, and find in the frame what they need. A child
 * with a new stack gets it as the program gave it, and what it needs in the 128 bytes below, which the kernel leaves alone
 * when it delivers a signal. A parent in vfork shares its stack with its child; its words are kept in its thread block.
 * Every child that shares memory has a block of its own, also a child of vfork.
 */
import {
  FRAME_HANDOVER,
  FRAME_TO_PROGRAM,
  HANDOVER_LOWERED,
  HANDOVER_NEW_STACK,
  HANDOVER_NEXT,
  HANDOVER_THROUGH_HOOK,
} from "../../src/image/layout";
import { Frame } from "../hook/frame";
import { isHookCode } from "../foreign/load";
import { readable } from "../record/memory";
import { recordChild } from "../record/record";
import { forgetChunk, releaseChunk, ring } from "../record/ring";
import { rewriteNow } from "../rewrite/deferred";
import { usesTrap } from "../rewrite/kinds";
import { dropPending } from "../signal/sigsys";
import { armChild } from "../trap/start";
import { syscall6 } from "../std/raw";
import { SIG_SETMASK, SIGSET_SIZE } from "../std/signals";
import {
  CLONE_VFORK,
  CLONE_VM,
  SYS_CLONE,
  SYS_CLONE3,
  SYS_FORK,
  SYS_RT_SIGPROCMASK,
  SYS_VFORK,
} from "../std/sys";
import { dropExecPages } from "./exec";
import {
  adoptBlock,
  allocateBlock,
  currentThread,
  freeBlock,
  freeOtherBlocks,
  lendBlock,
  popVfork,
  pushVfork,
  refreshIdentity,
  setStack,
  ThreadBlock,
  VforkEntry,
} from "./thread";

/** In a frame at FRAME_HANDOVER, or below a new stack. */
// @ts-ignore: decorator
@unmanaged
class Handover {
  /** FRAME_TSC. */
  tsc: u64;
  /** Block of the child where it gets one of its own, else 0. */
  block: usize;
  flags: u64;
  parentTid: u32;
  parentPid: u32;
  /** FRAME_THROUGH_HOOK. */
  throughHook: u64;
}

// @ts-ignore: decorator
@inline
function handoverIn(frame: usize): Handover {
  return changetype<Handover>(frame + FRAME_HANDOVER);
}

// struct clone_args (linux/sched.h)
const CLONE_ARGS_STACK: usize = 40;
const CLONE_ARGS_STACK_SIZE: usize = 48;
const CLONE_ARGS_SIZE_V0: usize = 64;

/** Whether a number makes a process or thread. */
export function clones(nr: u64): bool {
  return nr == SYS_CLONE || nr == SYS_CLONE3 || nr == SYS_FORK || nr == SYS_VFORK;
}

function flagsOf(f: Frame): u64 {
  const nr = <u32>f.nr;
  if (nr == <u32>SYS_CLONE) return f.a0;
  if (nr == <u32>SYS_VFORK) return CLONE_VM | CLONE_VFORK;
  if (nr == <u32>SYS_CLONE3 && readable(<usize>f.a0, CLONE_ARGS_SIZE_V0)) return load<u64>(<usize>f.a0);
  return 0;
}

/** Stack pointer of the child; 0 when it goes on with the parent's. */
function newStackOf(f: Frame): usize {
  const nr = <u32>f.nr;
  if (nr == <u32>SYS_CLONE) return <usize>f.a1;
  if (nr != <u32>SYS_CLONE3 || !readable(<usize>f.a0, CLONE_ARGS_SIZE_V0)) return 0;
  const stack = load<usize>(<usize>f.a0, CLONE_ARGS_STACK);
  return stack ? stack + load<usize>(<usize>f.a0, CLONE_ARGS_STACK_SIZE) : 0;
}

/** The stack pointer of the call: the frame, which a C hook's original call has on another stack. */
// @ts-ignore: decorator
@inline
function callStack(f: Frame): usize {
  return f.sp - FRAME_TO_PROGRAM;
}

function handOver(f: Frame, handover: Handover, flags: u64, block: usize): void {
  const thread = currentThread();
  handover.tsc = f.tsc;
  handover.parentTid = thread.tid;
  handover.parentPid = thread.pid;
  handover.flags = flags;
  handover.block = block;
  handover.throughHook = 0;
}

/** Block of a child with these flags, which begins on `stack` (0: its parent's); 0 when it needs none, or there is no memory. */
function blockFor(flags: u64, stack: usize): usize {
  const sharesMemory = (flags & CLONE_VM) != 0;
  // A parent that waits for its child needs no chunk meanwhile; one that is copied shares no chunk with the copy.
  if (!sharesMemory || flags & CLONE_VFORK) releaseChunk();
  const block = sharesMemory ? allocateBlock() : 0;
  if (block && flags & CLONE_VFORK) lendBlock(changetype<ThreadBlock>(block));
  if (block && stack) setStack(changetype<ThreadBlock>(block), stack);
  if (block) changetype<ThreadBlock>(block).blocksSigsys = currentThread().blocksSigsys;
  return block;
}

/** The block of a child is free again when there is no child, or when it was waited for (it has its own memory now). */
function releaseBlock(block: usize, result: i64, waited: bool): void {
  if (!block || (result >= 0 && !waited)) return;
  const childBlock = changetype<ThreadBlock>(block);
  dropExecPages(childBlock);
  freeBlock(childBlock);
}

/**
 * As beforeClone, for a call that parent and child return from on this frame or a copy of it (../trap/int80.ts). Never with
 * shared memory on one stack.
 */
export function prepareChild(f: Frame, flags: u64, stack: usize): bool {
  beforeThread(f, flags);
  const block = blockFor(flags, stack);
  if (flags & CLONE_VM && !block) return false;
  handOver(f, handoverIn(changetype<usize>(f)), flags, block);
  holdSignals(block);
  return true;
}

/** A child of vfork does not run at the same time. */
function beforeThread(f: Frame, flags: u64): void {
  if (flags & CLONE_VM && !(flags & CLONE_VFORK)) rewriteNow(f.ip);
}

/** After the call, in the child. */
export function enterChild(f: Frame): void {
  inChild(handoverIn(changetype<usize>(f)));
}

/** After the call, in the parent. */
export function releaseChild(f: Frame): void {
  const handover = handoverIn(changetype<usize>(f));
  releaseBlock(handover.block, <i64>f.result, (handover.flags & CLONE_VFORK) != 0);
  releaseSignals();
}

const everySignal: usize = memory.data<u64>([<u64>-1]);

/**
 * Until the child is armed, and has a block of its own, no handler may run in it. Its mask is its parent's: all signals, which
 * both give back afterwards. The parent needs none meanwhile: a clone is over soon, or cannot be interrupted (vfork).
 */
function holdSignals(block: usize): void {
  const thread = currentThread();
  const mask = changetype<usize>(thread) + offsetof<ThreadBlock>("heldMask");
  syscall6(SYS_RT_SIGPROCMASK, SIG_SETMASK, everySignal, mask, SIGSET_SIZE, 0, 0);
  thread.holdsSignals = 1;
  if (!block) return;
  changetype<ThreadBlock>(block).heldMask = thread.heldMask;
  changetype<ThreadBlock>(block).holdsSignals = 1;
}

function releaseSignals(): void {
  if (!currentThread().holdsSignals) return;
  currentThread().holdsSignals = 0;
  const mask = changetype<usize>(currentThread()) + offsetof<ThreadBlock>("heldMask");
  syscall6(SYS_RT_SIGPROCMASK, SIG_SETMASK, mask, 0, SIGSET_SIZE, 0, 0);
}

/** Before the call, on the parent. False when there is no memory for the child's block: then it cannot be made. */
export function beforeClone(f: Frame): bool {
  const flags = flagsOf(f);
  let child = newStackOf(f);
  const sharesMemory = (flags & CLONE_VM) != 0;
  const ofHook = sharesMemory && usesTrap && isHookCode(f.ip);
  beforeThread(f, flags);
  if (child && !readable(child + HANDOVER_NEW_STACK, -HANDOVER_NEW_STACK)) child = 0; // cannot work natively either
  const block = ofHook ? 0 : blockFor(flags, child);
  if (sharesMemory && !block && !ofHook) return false;
  if (child) {
    handOver(f, changetype<Handover>(child + HANDOVER_NEW_STACK), flags, block);
    store<usize>(child + HANDOVER_NEXT, f.next);
    store<u64>(child + HANDOVER_LOWERED, 0);
    store<u64>(child + HANDOVER_THROUGH_HOOK, 0);
  }
  handOver(f, handoverIn(callStack(f)), flags, block);
  if (sharesMemory && !child) rememberVfork(f, block);
  if (usesTrap && !ofHook) holdSignals(block);
  return true;
}

/** Whether the child will use the stack of its parent, which waits for it meanwhile. */
export function sharesStack(f: Frame): bool {
  return (flagsOf(f) & CLONE_VM) != 0 && !newStackOf(f);
}

/** After beforeClone: a child that is a copy of its parent, on a copy of its stack, returns through the C hook. */
export function throughHook(f: Frame): void {
  if (!(flagsOf(f) & CLONE_VM) && !newStackOf(f)) handoverIn(callStack(f)).throughHook = 1;
}

function rememberVfork(f: Frame, block: usize): void {
  const address = pushVfork(currentThread());
  if (!address) return;
  const entry = changetype<VforkEntry>(address);
  entry.stackPointer = callStack(f);
  entry.next = f.next;
  entry.nr = f.nr;
  entry.tsc = f.tsc;
  entry.block = block;
  entry.waited = flagsOf(f) & CLONE_VFORK;
}

/** A frame made after the call, when the kernel has returned to parent or child with `stackPointer`, becomes the program's. */
export function afterRawCall(f: Frame, stackPointer: usize): void {
  const isNewStack = !f.result && !load<u64>(stackPointer + HANDOVER_LOWERED);
  if (isNewStack) {
    f.sp = stackPointer;
    f.next = load<usize>(stackPointer + HANDOVER_NEXT);
    inChild(changetype<Handover>(stackPointer + HANDOVER_NEW_STACK));
    return;
  }
  f.sp = stackPointer + FRAME_TO_PROGRAM;
  const before = changetype<Frame>(stackPointer);
  f.nr = before.nr;
  f.next = before.next;
  afterClone(f);
}

/** After the call, on the parent, or on a child with the same stack pointer; `f.sp` is the program's. */
export function afterClone(f: Frame): void {
  const stackPointer = callStack(f);
  const handover = handoverIn(stackPointer);
  if (f.result == 0) {
    inChild(handover);
    return;
  }
  let block = handover.block;
  let waited: bool = (handover.flags & CLONE_VFORK) != 0;
  f.tsc = handover.tsc;
  const vfork = popVfork(currentThread(), stackPointer);
  if (vfork) {
    const entry = changetype<VforkEntry>(vfork);
    f.nr = entry.nr;
    f.tsc = entry.tsc;
    f.next = entry.next;
    block = entry.block;
    waited = entry.waited != 0;
  }
  releaseBlock(block, <i64>f.result, waited);
  releaseSignals();
}

function inChild(handover: Handover): void {
  const flags = handover.flags;
  if (flags & CLONE_VM && !handover.block) return; // a thread of a C hook's own, which is none of ours
  const parentPid = handover.parentPid;
  const parentTid = handover.parentTid;
  if (handover.block) {
    const block = changetype<ThreadBlock>(handover.block);
    adoptBlock(block);
  } else {
    const thread = currentThread();
    refreshIdentity(thread);
    forgetChunk(); // a signal handler may have taken one after all: it is the parent's
    thread.vforkDepth = 0;
    thread.dispatches = 0;
    dropPending();
    freeOtherBlocks(thread);
  }
  armChild(flags);
  if (ring) recordChild(parentPid, parentTid);
  releaseSignals();
}
