/**
 * What `zp_sigsys` (src/image/trap-stub.ts) does not do itself. Who runs this: any thread, in the handler of SIGSYS, all
 * signals blocked, on whatever stack the kernel has chosen; everything it needs is in the signal frame.
 */
import { ACTION_SPECIAL, SYS_USER_DISPATCH } from "../../src/image/layout";
import { auditTrap } from "../audit/sites";
import { actionOf } from "../hook/actions";
import { isHookCode } from "../foreign/load";
import { programSigsys } from "../signal/sigsys";
import { isConfined } from "../process/seccomp";
import { readable } from "../record/memory";
import { CANCELLATION_SIZE, isCancellationCode } from "../rewrite/cancellation";
import { countTrap, isDeferred } from "../rewrite/deferred";
import { learnSite } from "../rewrite/learn";
import { UC_RIP, UC_STACK } from "../std/signals";
import { AUDIT_ARCH_I386, AUDIT_ARCH_X86_64, Info } from "./info";
import { fromTrap } from "./int80";
import { remember } from "./sites";
import { HANDLER_STACK } from "./start";

// @ts-ignore: decorator
@external("symbol", "zp_jump_entry")
declare function zp_jump_entry(): usize;
// @ts-ignore: decorator
@external("symbol", "zp_cancel_entry")
declare function zp_cancel_entry(): usize;
// @ts-ignore: decorator
@external("symbol", "zp_foreign_call")
declare function zp_foreign_call(): usize;

/** Bytes of `syscall`. */
const SYSCALL_SIZE: usize = 2;

/** Whether the program's handler is to be called in our place. `words`: INT80_SIZE bytes below the signal frame. */
export function on_sigsys(signal: u32, info: usize, context: usize, words: usize): bool {
  const told = changetype<Info>(info);
  const trapped = told.code == <i32>SYS_USER_DISPATCH && !told.errno;
  if (trapped && told.arch == AUDIT_ARCH_X86_64) {
    const after = load<usize>(context, UC_RIP);
    store<usize>(context, isHookCode(after - 1) ? hooksWay(<u64>told.number) : programsWay(context, <u32>told.number), UC_RIP);
  } else if (trapped && told.arch == AUDIT_ARCH_I386) {
    fromTrap(context, words);
  } else {
    return programSigsys(info, context);
  }
  return false;
}

/** In the table of sites: `zp_sigsys` is not to know this address. */
const NOT_FAST: usize = 1 << 63;

/** Whether the `syscall` before this address is that of a cancellation point, whose calls have an entry of their own. */
function endsCancellationPoint(after: usize): bool {
  const start = after - CANCELLATION_SIZE;
  return !isConfined && readable(start, CANCELLATION_SIZE + 1) && isCancellationCode(start);
}

function programsWay(context: usize, number: u32): usize {
  const after = load<usize>(context, UC_RIP);
  const isCancellable = endsCancellationPoint(after);
  if (isDeferred() && hasRoom(context)) {
    const way = countTrap(after - SYSCALL_SIZE);
    if (way) return way;
  } else if (remember(isCancellable ? after | NOT_FAST : after)) {
    auditTrap(after, number);
    if (!isCancellable && hasRoom(context)) learnSite(after - SYSCALL_SIZE);
  }
  return isCancellable ? zp_cancel_entry() : zp_jump_entry();
}

/** Whether all of the guest may be called: not at the end of an alternate stack, where one handler stands above another. */
function hasRoom(context: usize): bool {
  const low = load<usize>(context, UC_STACK);
  return context - low >= load<usize>(context, UC_STACK + 16) || context - low >= HANDLER_STACK;
}

/** What a C hook calls itself is made as it is. Such sites are not remembered: each call comes here. */
function hooksWay(number: u64): usize {
  return actionOf(<u32>number) & ACTION_SPECIAL ? zp_jump_entry() : zp_foreign_call();
}
