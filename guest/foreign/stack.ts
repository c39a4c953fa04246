/**
 * The stack of a thread for C hooks, made at its first hooked call: a page without access, the stack, and above that the
 * alternate signal stack for the report of a crash (crash.ts). A block keeps it for its next thread.
 */
import { HOOK_ALTERNATE_SIZE, HOOK_STACK_SIZE } from "../../src/image/layout";
import { own } from "../process/own";
import { ThreadBlock } from "../process/thread";
import { call0, syscall6 } from "../std/raw";
import { AlternateStack, SS_DISABLE } from "../std/signals";
import {
  failed,
  MAP_ANONYMOUS,
  MAP_NORESERVE,
  MAP_PRIVATE,
  PROT_NONE,
  PROT_READ,
  PROT_WRITE,
  SYS_MMAP,
  SYS_MPROTECT,
  SYS_SIGALTSTACK,
  unmapPages,
} from "../std/sys";

const GUARD: usize = 4096;

/** `__ctype_init` of the hook's own libc, or 0. */
let ctypeInit: usize = 0;

/**
 * glibc's tables of letters are thread-local pointers, which each libc sets in the threads that it makes itself. The hook's
 * would find NULL in the program's threads: toupper() crashes there, and so does printf("%f").
 */
export function useCtypeInit(address: usize): void {
  ctypeInit = address;
}

/** Without memory the hook runs on the program's stack. */
export function prepareThread(thread: ThreadBlock): void {
  thread.hookReady = 1;
  if (ctypeInit) call0(ctypeInit); // a leaf that stores three words
  if (!thread.hookTop) thread.hookTop = mapStack();
  if (!thread.hookTop) return;
  readAlternateStack(thread);
  if (!thread.alternateSize) useOurAlternateStack(thread);
}

function mapStack(): usize {
  const size = GUARD + HOOK_STACK_SIZE + HOOK_ALTERNATE_SIZE;
  const flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
  const pages = syscall6(SYS_MMAP, 0, size, PROT_NONE, flags, <u64>-1, 0);
  if (failed(pages)) return 0;
  const low = <usize>pages + GUARD;
  // This fails where a process has as many mappings as it may have (vm.max_map_count).
  if (syscall6(SYS_MPROTECT, low, size - GUARD, PROT_READ | PROT_WRITE, 0, 0, 0) == 0) {
    own(<usize>pages, size);
    return low + HOOK_STACK_SIZE;
  }
  unmapPages(<usize>pages, size);
  return 0;
}

/** Whether a handler runs on an alternate signal stack: the program's, or ours in its place. */
export function onAlternateStack(thread: ThreadBlock, stackPointer: usize): bool {
  if (stackPointer - thread.alternateLow < thread.alternateSize) return true;
  return thread.hookTop != 0 && stackPointer - thread.hookTop < <usize>HOOK_ALTERNATE_SIZE;
}

/** Whether `stack`, as the kernel tells it, is ours: the program then has none. */
export function isOurAlternateStack(thread: ThreadBlock, stack: AlternateStack): bool {
  return thread.hookTop != 0 && stack.address == thread.hookTop;
}

/** A child of fork, or of vfork, has the one of its parent. */
function readAlternateStack(thread: ThreadBlock): void {
  const stack = changetype<AlternateStack>(thread.hookTop + HOOK_ALTERNATE_SIZE - offsetof<AlternateStack>());
  if (syscall6(SYS_SIGALTSTACK, 0, changetype<usize>(stack), 0, 0, 0, 0) < 0) return;
  if (isOurAlternateStack(thread, stack)) return;
  if (stack.flags & SS_DISABLE) {
    thread.acceptsNoStack = acceptsNone(stack) ? 1 : 0;
    return;
  }
  thread.alternateLow = stack.address;
  thread.alternateSize = stack.size;
}

/** Whether the kernel takes a stack_t of zeros for what a thread without an alternate stack has already. It changes nothing. */
function acceptsNone(stack: AlternateStack): bool {
  memory.fill(changetype<usize>(stack), 0, offsetof<AlternateStack>());
  return syscall6(SYS_SIGALTSTACK, changetype<usize>(stack), 0, 0, 0, 0, 0) == 0;
}

/** The alternate stack's own memory serves as the argument: nothing runs on it now. */
export function useOurAlternateStack(thread: ThreadBlock): void {
  const stack = changetype<AlternateStack>(thread.hookTop + HOOK_ALTERNATE_SIZE - offsetof<AlternateStack>());
  stack.address = thread.hookTop;
  stack.flags = 0;
  stack.size = HOOK_ALTERNATE_SIZE;
  syscall6(SYS_SIGALTSTACK, changetype<usize>(stack), 0, 0, 0, 0, 0);
}
