/** Signals (include/uapi/asm-generic/siginfo.h, signal.h; the kernel's own struct sigaction of x86-64). */

import type { Names } from "../../../syscalls/flags/names.ts";
import { SIGNAL } from "../../../syscalls/flags/signal.ts";
import { callName } from "../../../syscalls/table.ts";
import type { StructPrinters } from "../struct.ts";
import { flags, hex, pointer, signal, signalSet, signed64, unnamed, unsigned64 } from "../values.ts";
import { ticks } from "./time.ts";

const SA_RESTORER = 0x4000000;
const SIGEV_THREAD = 2;
const SIGEV_THREAD_ID = 4;
const SI_KERNEL = 0x80;
const SI_TIMER = -2;
const SI_TKILL = -6;
const AUDIT_ARCH_X86_64 = 0xc000003e;

/** Codes of the signals that the kernel raises for a fault or an event; they share numbers. */
const CODES: Readonly<Record<number, Names>> = {
  4: SIGNAL.si_ill,
  5: SIGNAL.si_trap,
  7: SIGNAL.si_bus,
  8: SIGNAL.si_fpe,
  11: SIGNAL.si_segv,
  17: SIGNAL.si_cld,
  29: SIGNAL.si_poll,
  31: SIGNAL.si_sys,
};
const FAULTS = new Set([4, 5, 7, 8, 11]);
const CLD_EXITED = 1;

function siginfo(memory: Buffer, at: number): string {
  const [number, code] = [memory.readInt32LE(at), memory.readInt32LE(at + 8)];
  if (number === 0) return "{}";
  const parts = [`si_signo=${signal(number)}`, `si_code=${signalCode(number, code)}`];
  const errno = memory.readInt32LE(at + 4);
  if (errno !== 0) parts.push(`si_errno=${errno}`);
  const known = CODES[number]?.byValue.has(code) ?? false;
  const sender = `si_pid=${memory.readInt32LE(at + 16)}, si_uid=${memory.readUInt32LE(at + 20)}`;
  const value = (): string => `si_int=${memory.readInt32LE(at + 24)}, si_ptr=${pointer(memory, at + 24)}`;
  if (code === SI_TIMER) {
    const timer = `si_timerid=${hex(memory.readUInt32LE(at + 16))}, si_overrun=${memory.readInt32LE(at + 20)}`;
    parts.push(timer, value());
  } else if (code <= 0) {
    parts.push(sender);
    const queued = pointer(memory, at + 24) !== "NULL" && code !== 0 && code !== SI_TKILL;
    if (queued) parts.push(value());
  } else if (known && FAULTS.has(number)) {
    parts.push(`si_addr=${pointer(memory, at + 16)}`);
  } else if (known && number === 17) {
    const status = memory.readInt32LE(at + 24);
    parts.push(sender, `si_status=${code === CLD_EXITED ? status : signal(status)}`);
    parts.push(`si_utime=${ticks(memory, at + 32)}`, `si_stime=${ticks(memory, at + 40)}`);
  } else if (known && number === 29) {
    parts.push(`si_band=${signed64(memory, at + 16)}, si_fd=${memory.readInt32LE(at + 24)}`);
  } else if (known && number === 31) {
    const arch = memory.readUInt32LE(at + 28);
    parts.push(`si_call_addr=${pointer(memory, at + 16)}`, `si_syscall=__NR_${callName(memory.readUInt32LE(at + 24))}`);
    parts.push(`si_arch=${arch === AUDIT_ARCH_X86_64 ? "AUDIT_ARCH_X86_64" : hex(arch)}`);
  } else {
    parts.push(sender);
    if (pointer(memory, at + 24) !== "NULL") parts.push(value());
  }
  return `{${parts.join(", ")}}`;
}

function signalCode(number: number, code: number): string {
  if (code <= 0 || code === SI_KERNEL) return SIGNAL.si_code.byValue.get(code >>> 0) ?? hex(code >>> 0);
  return CODES[number]?.byValue.get(code) ?? hex(code);
}

function sigaction(memory: Buffer, at: number): string {
  const handler = pointer(memory, at);
  const text = handler === "NULL" ? "SIG_DFL" : handler === "0x1" ? "SIG_IGN" : handler;
  const bits = memory.readUInt32LE(at + 8);
  const restorer = bits & SA_RESTORER ? `, sa_restorer=${pointer(memory, at + 16)}` : "";
  return `{sa_handler=${text}, sa_mask=${signalSet(memory, at + 24)}, sa_flags=${flags(SIGNAL.sa, bits)}${restorer}}`;
}

function sigevent(memory: Buffer, at: number): string {
  const [number, notify] = [memory.readInt32LE(at + 8), memory.readInt32LE(at + 12)];
  const signals = notify === 0 || notify === SIGEV_THREAD || notify === SIGEV_THREAD_ID;
  let text =
    `{sigev_value={sival_int=${memory.readInt32LE(at)}, sival_ptr=${pointer(memory, at)}}, ` +
    `sigev_signo=${signals ? signal(number) : number}, sigev_notify=${notifyName(notify)}`;
  if (notify === SIGEV_THREAD_ID) text += `, sigev_notify_thread_id=${memory.readInt32LE(at + 16)}`;
  if (notify === SIGEV_THREAD) {
    text += `, sigev_notify_function=${pointer(memory, at + 16)}, sigev_notify_attributes=${pointer(memory, at + 24)}`;
  }
  return `${text}}`;
}

function notifyName(notify: number): string {
  if (notify === SIGEV_THREAD_ID) return "SIGEV_THREAD_ID";
  return SIGNAL.sigev.byValue.get(notify) ?? unnamed(hex(notify >>> 0), SIGNAL.sigev);
}

export const SIGNAL_STRUCTS: StructPrinters = {
  siginfo,
  sigaction,
  sigevent,
  stack: (memory, at) =>
    `{ss_sp=${pointer(memory, at)}, ss_flags=${flags(SIGNAL.sigaltstack, memory.readUInt32LE(at + 8))}, ` +
    `ss_size=${unsigned64(memory, at + 16)}}`,
  sigset_pack: (memory, at) => `{sigmask=${pointer(memory, at)}, sigsetsize=${unsigned64(memory, at + 8)}}`,
};
