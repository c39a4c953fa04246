/**
 * What a handler of the program sees of a hooked call that its signal has interrupted: not our `syscall` but the one at the
 * call site, with the program's stack pointer, as it would natively. C libraries depend on it (musl, and glibc since 2.41):
 * their handler of pthread_cancel looks whether the instruction is the one at a cancellation point, and goes on elsewhere if so.
 *
 * What a handler that interrupts the stub of a jump patch sees is the instruction that was moved there.
 *
 * A thread that is about to look at the flag of a cancellation point, or has looked and not made the call yet, looks again
 * after the handler: otherwise a thread that was cancelled in between would wait for ever.
 *
 * Who runs this: any thread, before and after a handler of the program, on the handler's stack.
 */
import {
  CALL_AT,
  CALL_BACK,
  CALL_BEGUN,
  CALL_DISTANCE,
  CALL_END,
  CALL_KIND,
  CALL_LEVEL,
  CALL_RAW,
  CALL_SITE,
  CALL_SIZE,
  FRAME_FLAGS,
  FRAME_IP,
  FRAME_SP,
  FRAME_TO_PROGRAM,
  LEVEL_FRAME,
  LEVEL_SAVED,
  SHOWN_WORDS,
} from "../../src/image/layout";
import { currentThread } from "../process/thread";
import { programAddress } from "../rewrite/stubs";
import { UC_EFLAGS, UC_R11, UC_R12, UC_R13, UC_R14, UC_R15, UC_R8, UC_RBP, UC_RBX, UC_RCX, UC_RIP, UC_RSP } from "../std/signals";

// @ts-ignore: decorator
@external("symbol", "zp_calls")
declare function zp_calls(): usize;
// @ts-ignore: decorator
@external("symbol", "zp_hook_calls")
declare function zp_hook_calls(): usize;

/** Bytes of a `syscall`. */
const SYSCALL: usize = 2;
const WORDS: usize = <usize>SHOWN_WORDS * 8;

// @ts-ignore: decorator
@inline
function kindOf(row: usize): u32 {
  return load<u8>(row, CALL_KIND);
}

/** The address of its `syscall`. */
// @ts-ignore: decorator
@inline
function callOf(row: usize): usize {
  return row + CALL_AT + 4 + <usize>(<isize>load<i32>(row, CALL_AT));
}

/** The row of a table from whose `syscall` `address` is as far as it may be; 0 when there is none. */
function rowOf(table: usize, address: usize): usize {
  for (let row = table; kindOf(row) != CALL_END; row += CALL_SIZE) {
    const call = callOf(row);
    if (address == call || address == call + SYSCALL || call - address <= <usize>load<u8>(row, CALL_BACK)) return row;
  }
  return 0;
}

/**
 * Whether the context of a handler now says what the program expects, other than what is true. `shown` has the truth, and
 * then both, for hideCall.
 */
export function showCall(context: usize, shown: usize): bool {
  const address = load<usize>(context, UC_RIP);
  const found = rowOf(zp_calls(), address);
  const row = found ? found : rowOf(zp_hook_calls(), address);
  if (!row) {
    const place = programAddress(address);
    if (!place) return false;
    store<usize>(context, place, UC_RIP);
    memory.copy(shown + WORDS, context + UC_R8, WORDS);
    return true;
  }
  const call = callOf(row);
  if (address < call) {
    store<usize>(context, call - load<u8>(row, CALL_BACK), UC_RIP);
    return false;
  }
  if (kindOf(row) == CALL_RAW && address != call) return false;
  const after = showProgram(context, row);
  store<usize>(context, address == call ? after - SYSCALL : after, UC_RIP);
  store<usize>(context, after, UC_RCX);
  store<u64>(context, load<u64>(context, UC_EFLAGS), UC_R11);
  memory.copy(shown + WORDS, context + UC_R8, WORDS);
  return true;
}

/** Everything but rip, rcx and r11; answers the address after the call site. */
function showProgram(context: usize, row: usize): usize {
  const kind = kindOf(row);
  const sp = load<usize>(context, UC_RSP);
  if (kind == CALL_SITE) {
    store<usize>(context, sp + 8, UC_RSP);
    return load<usize>(sp);
  }
  let frame = sp - load<u16>(row, CALL_DISTANCE);
  if (kind == CALL_LEVEL) {
    const level = currentThread().hookLevel;
    frame = level + LEVEL_FRAME;
    store<u64>(context, load<u64>(level, LEVEL_SAVED), UC_RBX);
    store<u64>(context, load<u64>(level, LEVEL_SAVED + 8), UC_RBP);
    store<u64>(context, load<u64>(level, LEVEL_SAVED + 16), UC_R12);
    store<u64>(context, load<u64>(level, LEVEL_SAVED + 24), UC_R13);
    store<u64>(context, load<u64>(level, LEVEL_SAVED + 32), UC_R14);
    store<u64>(context, load<u64>(level, LEVEL_SAVED + 40), UC_R15);
  }
  store<usize>(context, kind == CALL_LEVEL ? load<usize>(frame, FRAME_SP) : frame + FRAME_TO_PROGRAM, UC_RSP);
  if (kind != CALL_BEGUN) store<u64>(context, load<u64>(frame, FRAME_FLAGS), UC_EFLAGS);
  return load<usize>(frame, FRAME_IP);
}

/**
 * After the handler. One that wants to go on elsewhere gets it, with all registers as it has seen them; else the truth comes
 * back, but for registers that the handler has changed.
 */
export function hideCall(context: usize, shown: usize): void {
  const seen = shown + WORDS - UC_R8;
  if (load<usize>(context, UC_RIP) != load<usize>(seen, UC_RIP)) return;
  if (load<usize>(context, UC_RSP) != load<usize>(seen, UC_RSP)) return;
  for (let at: usize = 0; at < WORDS; at += 8) {
    const now = context + UC_R8 + at;
    if (load<u64>(now) == load<u64>(shown + WORDS + at)) store<u64>(now, load<u64>(shown + at));
  }
}
