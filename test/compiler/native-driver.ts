/**
 * The machine code around units under test: an executable's `_start` that obeys commands of `COMMAND.size` bytes from
 * standard input (a regular file, so that no read is short) and answers each with a record of `RECORD.size` bytes on
 * standard output. Everything that can be decided elsewhere (which values the registers hold, what of them must come
 * back) is decided in native.ts. A signal in a call ends the call: the handler notes it, and the run goes on.
 */
import type { DataUnit, ObjectFile } from "../../src/compiler/object.ts";
import {
  Assembler,
  at,
  indexed,
  type Mem,
  mem,
  type Reg,
  r8,
  r9,
  r10,
  r11,
  r12,
  r13,
  r14,
  r15,
  rax,
  rbp,
  rbx,
  rcx,
  rdi,
  rdx,
  rsi,
  rsp,
  symbol,
} from "../../src/compiler/x64.ts";
import { abs64, data } from "./units.ts";

/** Registers that a command gives and a record returns, in this order; rsp is apart. */
export const GENERAL = [rax, rbx, rcx, rdx, rsi, rdi, rbp, r8, r9, r10, r11, r12, r13, r14, r15] as const;
/** Words from the stack pointer of the caller upwards: arguments on the stack, then words that must not change. */
export const WINDOW_WORDS = 32;

export const KIND_CALL = 0;
/** A system call: number in FUNCTION, arguments in the registers' places. */
export const KIND_SYSTEM = 1;
/** Sets `rsi` words from address `rdi` on to `rdx`. */
export const KIND_FILL = 2;
/** Counts the words from address `rdi` on, at most `rsi`, that equal `rdx`. */
export const KIND_SCAN = 3;

const registersAt = (base: number): ReadonlyMap<Reg, number> => new Map(GENERAL.map((reg, i) => [reg, base + 8 * i]));

/** Offsets in a command. */
export const COMMAND = {
  kind: 0,
  function: 8,
  rsp: 16,
  flags: 24,
  registers: registersAt(32),
  window: 32 + 8 * GENERAL.length,
  size: 32 + 8 * (GENERAL.length + WINDOW_WORDS),
} as const;

/** Offsets in a record. `signal` is 0 after a return. */
export const RECORD = {
  signal: 0,
  rip: 8,
  address: 16,
  rsp: 24,
  flags: 32,
  registers: registersAt(40),
  window: 40 + 8 * GENERAL.length,
  size: 40 + 8 * (GENERAL.length + WINDOW_WORDS),
} as const;

// Numbers of the kernel's x86-64 ABI (asm/unistd_64.h, asm/signal.h, asm/sigcontext.h).
const SYS = { read: 0, write: 1, rt_sigaction: 13, rt_sigreturn: 15, sigaltstack: 131, exit_group: 231 } as const;
const SIGNALS = [4 /* ILL */, 5 /* TRAP */, 7 /* BUS */, 8 /* FPE */, 11 /* SEGV */] as const;
const SA_FLAGS = 0x04 /* SIGINFO */ | 0x08000000 /* ONSTACK */ | 0x04000000; /* RESTORER */
const SIGINFO_ADDRESS = 16;
const UCONTEXT_RSP = 40 + 15 * 8;
const UCONTEXT_RIP = 40 + 16 * 8;
const UCONTEXT_FLAGS = 40 + 17 * 8;
const ALIGNMENT_AND_DIRECTION = 0x40400;
/** Exit statuses when the driver itself goes wrong. */
const EXIT_SHORT_COMMAND = 70;
const EXIT_OWN_FAULT = 71;
const ALTERNATE_STACK_SIZE = 65536;

const command = (offset: number): Mem => symbol("driver_command", offset);
const record = (offset: number): Mem => symbol("driver_record", offset);

/** Copies the words of the window; rax and rcx are spent. */
function copyWindow(a: Assembler, to: Reg, from: Reg): void {
  a.mov(32, rcx, 0);
  const again = a.bind();
  a.mov(64, rax, indexed(from, rcx, 8));
  a.mov(64, indexed(to, rcx, 8), rax);
  a.inc(32, rcx);
  a.cmp(32, rcx, WINDOW_WORDS);
  a.jcc("ne", again);
}

function installHandlers(a: Assembler): void {
  a.lea(64, rdi, symbol("driver_alternate_stack"));
  a.mov(32, rsi, 0);
  a.mov(32, rax, SYS.sigaltstack);
  a.op("syscall");
  for (const signal of SIGNALS) {
    a.mov(32, rdi, signal);
    a.lea(64, rsi, symbol("driver_sigaction"));
    a.mov(32, rdx, 0);
    a.mov(32, r10, 8);
    a.mov(32, rax, SYS.rt_sigaction);
    a.op("syscall");
  }
}

function driverCode() {
  const a = new Assembler();
  const next = a.label();
  const answer = a.label();
  const ended = a.label();
  const system = a.label();
  const fill = a.label();
  const scan = a.label();

  a.mark("_start");
  installHandlers(a);

  a.bind(next);
  a.mov(32, rdi, 0);
  a.lea(64, rsi, command(0));
  a.mov(32, rdx, COMMAND.size);
  a.mov(32, rax, SYS.read);
  a.op("syscall");
  const whole = a.label();
  a.mov(32, rdi, 0);
  a.cmp(64, rax, COMMAND.size);
  a.jcc("e", whole);
  a.test(64, rax, rax);
  a.mov(32, rax, EXIT_SHORT_COMMAND);
  a.cmov("ne", 32, rdi, rax);
  a.mov(32, rax, SYS.exit_group);
  a.op("syscall");
  a.bind(whole);
  a.mov(64, record(RECORD.signal), 0);
  a.mov(64, rax, command(COMMAND.kind));
  a.cmp(32, rax, KIND_SYSTEM);
  a.jcc("e", system);
  a.cmp(32, rax, KIND_FILL);
  a.jcc("e", fill);
  a.cmp(32, rax, KIND_SCAN);
  a.jcc("e", scan);

  // A call: the stack window first, then the flags, then the registers, then nothing but the call itself.
  a.mov(64, rax, command(COMMAND.function));
  a.lea(64, rcx, symbol("driver_functions"));
  a.mov(64, rax, indexed(rcx, rax, 8));
  a.mov(64, symbol("driver_target"), rax);
  a.lea(64, rsi, command(COMMAND.window));
  a.mov(64, rdi, command(COMMAND.rsp));
  copyWindow(a, rdi, rsi);
  a.mov(64, symbol("driver_stack"), rsp);
  a.mov(64, rsp, command(COMMAND.rsp));
  a.mov(64, symbol("driver_calling"), 1);
  a.push(command(COMMAND.flags));
  a.op("popfq");
  for (const [register, offset] of COMMAND.registers) a.mov(64, register, command(offset));
  a.call(symbol("driver_target"));
  for (const [register, offset] of RECORD.registers) a.mov(64, record(offset), register);
  a.mov(64, record(RECORD.rsp), rsp);
  a.mov(64, rsp, symbol("driver_stack"));
  a.op("pushfq");
  a.pop(record(RECORD.flags));
  a.op("cld");

  a.bind(ended);
  a.mov(64, symbol("driver_calling"), 0);
  a.mov(64, rsi, command(COMMAND.rsp));
  a.lea(64, rdi, record(RECORD.window));
  copyWindow(a, rdi, rsi);

  a.bind(answer);
  a.mov(32, rdi, 1);
  a.lea(64, rsi, record(0));
  a.mov(32, rdx, RECORD.size);
  a.mov(32, rax, SYS.write);
  a.op("syscall");
  a.jmp(next);

  const answerWith = (result: Reg): void => {
    a.mov(64, record(RECORD.registers.get(rax)!), result);
    a.jmp(answer);
  };
  const argument = (register: Reg): void => a.mov(64, register, command(COMMAND.registers.get(register)!));

  a.bind(system);
  for (const register of [rdi, rsi, rdx, r10, r8, r9]) argument(register);
  a.mov(64, rax, command(COMMAND.function));
  a.op("syscall");
  answerWith(rax);

  a.bind(fill);
  for (const register of [rdi, rsi, rdx]) argument(register);
  const filling = a.bind();
  a.dec(64, rsi);
  a.mov(64, indexed(rdi, rsi, 8), rdx);
  a.jcc("ne", filling);
  answerWith(rsi);

  a.bind(scan);
  for (const register of [rdi, rsi, rdx]) argument(register);
  a.mov(32, rcx, 0);
  const scanning = a.bind();
  const different = a.label();
  a.cmp(64, indexed(rdi, rcx, 8), rdx);
  a.jcc("ne", different);
  a.inc(64, rcx);
  a.cmp(64, rcx, rsi);
  a.jcc("ne", scanning);
  a.bind(different);
  answerWith(rcx);

  // handler(rdi: signal, rsi: siginfo, rdx: ucontext): the interrupted call continues at `ended`, on the driver's stack.
  a.mark("driver_handler");
  const own = a.label();
  a.cmp(64, symbol("driver_calling"), 0);
  a.jcc("e", own);
  a.mov(64, record(RECORD.signal), rdi);
  a.mov(64, rax, mem(rsi, SIGINFO_ADDRESS));
  a.mov(64, record(RECORD.address), rax);
  a.mov(64, rax, mem(rdx, UCONTEXT_RIP));
  a.mov(64, record(RECORD.rip), rax);
  a.mov(64, rax, mem(rdx, UCONTEXT_RSP));
  a.mov(64, record(RECORD.rsp), rax);
  a.and(64, mem(rdx, UCONTEXT_FLAGS), ~ALIGNMENT_AND_DIRECTION);
  a.mov(64, rax, symbol("driver_stack"));
  a.mov(64, mem(rdx, UCONTEXT_RSP), rax);
  a.lea(64, rax, at(ended));
  a.mov(64, mem(rdx, UCONTEXT_RIP), rax);
  a.op("ret");
  a.bind(own);
  a.mov(32, rdi, EXIT_OWN_FAULT);
  a.mov(32, rax, SYS.exit_group);
  a.op("syscall");

  a.mark("driver_restorer");
  a.mov(32, rax, SYS.rt_sigreturn);
  a.op("syscall");

  return a.finish("driver");
}

const variable = (name: string, size: number): DataUnit =>
  data(name, new Uint8Array(0), { size, align: 16, writable: true });

/** struct kernel_sigaction: handler, flags, restorer, mask. */
function sigaction(): DataUnit {
  const bytes = new Uint8Array(32);
  new DataView(bytes.buffer).setBigUint64(8, BigInt(SA_FLAGS), true);
  return data("driver_sigaction", bytes, { relocs: [abs64(0, "driver_handler"), abs64(16, "driver_restorer")] });
}

/** stack_t: address, flags, size. */
function alternateStack(): DataUnit {
  const bytes = new Uint8Array(24);
  new DataView(bytes.buffer).setBigUint64(16, BigInt(ALTERNATE_STACK_SIZE), true);
  return data("driver_alternate_stack", bytes, { relocs: [abs64(0, "driver_alternate_stack_space")] });
}

const FIXED: ObjectFile = {
  code: [driverCode()],
  data: [
    sigaction(),
    alternateStack(),
    variable("driver_command", COMMAND.size),
    variable("driver_record", RECORD.size),
    variable("driver_stack", 8),
    variable("driver_target", 8),
    variable("driver_calling", 8),
    variable("driver_alternate_stack_space", ALTERNATE_STACK_SIZE),
  ],
};

/** The driver for these functions: a call names one by its place in the list. */
export function driver(functions: readonly string[]): ObjectFile {
  const table = data("driver_functions", new Uint8Array(Math.max(1, functions.length) * 8), {
    relocs: functions.map((name, i) => abs64(i * 8, name)),
  });
  return { code: FIXED.code, data: [...FIXED.data, table] };
}
