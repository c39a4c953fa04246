/**
 * Syscall User Dispatch of the program's own (Documentation/admin-guide/syscall-user-dispatch.rst): calls from outside of a
 * range of addresses become SIGSYS, while a byte of the program says so. The kernel's own would look at the addresses of
 * our instructions, and is in use by the trap: so the hook looks at each call itself, and makes up the signal.
 *
 * As in the kernel it belongs to a thread, and neither fork nor clone nor exec hands it on. From the first prctl on all numbers
 * come to the hook (ACTION_NOOP); other programs pay nothing.
 */
import { ACTION_NOOP, SYS_USER_DISPATCH } from "../../src/image/layout";
import { markAll } from "../hook/actions";
import { Frame } from "../hook/frame";
import { flagsOf, Landing, registerOf } from "../hook/landing";
import { beginFault, FAULT_ROOM, raiseSignal } from "../process/fault";
import { currentThread, ThreadBlock } from "../process/thread";
import { readable } from "../record/memory";
import { usesTrap } from "../rewrite/kinds";
import { syscall6 } from "../std/raw";
import { SIG_SETMASK, SIGSEGV, SIGSET_SIZE, SIGSYS } from "../std/signals";
import { EFAULT, EINVAL, failed, SYS_PRCTL, SYS_RT_SIGACTION, SYS_RT_SIGPROCMASK, SYS_TGKILL } from "../std/sys";
import { arm, PR_SET_SYSCALL_USER_DISPATCH, PR_SYS_DISPATCH_OFF } from "./arm";
import { AUDIT_ARCH_X86_64, Info, INFO_SIZE, MADE_UP } from "./info";

const PR_SYS_DISPATCH_EXCLUSIVE_ON: u64 = 1;
/** Since Linux 6.17: calls from inside of the range. */
const PR_SYS_DISPATCH_INCLUSIVE_ON: u64 = 2;
const SYSCALL_DISPATCH_FILTER_ALLOW: u8 = 0;
const SYSCALL_DISPATCH_FILTER_BLOCK: u8 = 1;
/** TASK_SIZE_MAX (asm/page_64_types.h). */
const USER_END: u64 = 0x0000_7fff_ffff_f000;

/** Whether any thread of this process has ever had it. */
export let dispatching: bool = false;

/** prctl: whether it has been answered here. */
export function setDispatch(f: Frame): bool {
  if (<u32>f.a0 != PR_SET_SYSCALL_USER_DISPATCH) return false;
  f.result = set(currentThread(), f.a1, f.a2, f.a3, f.a4);
  return true;
}

/** As task_set_syscall_user_dispatch of the kernel (kernel/entry/syscall_user_dispatch.c). */
function set(thread: ThreadBlock, mode: u64, start: u64, length: u64, selector: u64): i64 {
  if (mode == PR_SYS_DISPATCH_OFF) {
    if (start || length || selector) return -EINVAL;
  } else if (mode == PR_SYS_DISPATCH_EXCLUSIVE_ON) {
    if (start && start + length <= start) return -EINVAL;
  } else if (mode == PR_SYS_DISPATCH_INCLUSIVE_ON) {
    if (!length || start + length <= start || !hasInclusive()) return -EINVAL;
    start += length;
    length = -length;
  } else {
    return -EINVAL;
  }
  if (selector >= USER_END) return -EFAULT;
  thread.dispatches = mode;
  thread.dispatchStart = start;
  thread.dispatchLength = length;
  thread.dispatchSelector = <usize>selector;
  if (mode != PR_SYS_DISPATCH_OFF && !dispatching) {
    markAll(ACTION_NOOP);
    dispatching = true;
  }
  return 0;
}

/** Asks the kernel, with a range where no code is. */
function hasInclusive(): bool {
  const result = syscall6(SYS_PRCTL, PR_SET_SYSCALL_USER_DISPATCH, PR_SYS_DISPATCH_INCLUSIVE_ON, 1, 1, 0, 0);
  if (usesTrap) arm();
  else syscall6(SYS_PRCTL, PR_SET_SYSCALL_USER_DISPATCH, PR_SYS_DISPATCH_OFF, 0, 0, 0, 0);
  return !failed(result);
}

/** Whether the call is not to be made, but to become a signal. A selector that is none kills, as in the kernel. */
export function isDispatched(f: Frame): bool {
  const thread = currentThread();
  if (thread.dispatches == PR_SYS_DISPATCH_OFF || <u64>f.ip - thread.dispatchStart < thread.dispatchLength) return false;
  const selector = thread.dispatchSelector;
  if (!selector) return true;
  if (!readable(selector, 1)) kill(SIGSEGV);
  const state = load<u8>(selector);
  if (state == SYSCALL_DISPATCH_FILTER_ALLOW) return false;
  if (state != SYSCALL_DISPATCH_FILTER_BLOCK) kill(SIGSYS);
  return true;
}

const defaultAction: usize = memory.data(32, 8);
const noSignal: usize = memory.data(8, 8);

/** By force_exit_sig of the kernel: no handler and no mask prevents it. */
function kill(signal: u32): void {
  const thread = currentThread();
  syscall6(SYS_RT_SIGACTION, signal, defaultAction, 0, SIGSET_SIZE, 0, 0);
  syscall6(SYS_TGKILL, thread.pid, thread.tid, signal, 0, 0, 0);
  syscall6(SYS_RT_SIGPROCMASK, SIG_SETMASK, noSignal, 0, SIGSET_SIZE, 0, 0);
}

// Numbers of registers.
const RAX: u32 = 0;
const RCX: u32 = 1;

/** Called by the stub with all registers as at the call site; never returns. */
export function on_dispatch(landing: Landing): void {
  const fault = beginFault();
  const info = changetype<Info>(fault + FAULT_ROOM);
  const after = <usize>registerOf(landing, RCX);
  memory.fill(fault + FAULT_ROOM, 0, INFO_SIZE);
  info.signal = SIGSYS;
  info.errno = usesTrap ? MADE_UP : 0;
  info.code = SYS_USER_DISPATCH;
  info.callAddress = after;
  info.number = <i32>registerOf(landing, RAX);
  info.arch = AUDIT_ARCH_X86_64;
  if (!raiseSignal(fault, landing, after, flagsOf(landing))) kill(SIGSYS);
}
