/**
 * Three small programs that `zpoline doctor` runs: no compiler is needed where it is used. They are written with the
 * assembler of the guest compiler; their disassembly is checked by a test.
 *
 * Results are words (64 bits, little-endian) on standard output. A status of 0 means that all of them have been written.
 */
import type { CodeUnit, DataUnit } from "../compiler/object.ts";
import {
  Assembler,
  at,
  type Label,
  mem,
  type Operand,
  r8,
  r9,
  r10,
  r12,
  r13,
  r14,
  rax,
  rbp,
  rbx,
  rcx,
  rdi,
  rdx,
  rsi,
  rsp,
  symbol,
} from "../compiler/x64.ts";
import { writeExecutable } from "../elf/write.ts";
import { NUMBERS } from "../syscalls/numbers.ts";

/** Questions to the kernel, by the letter that the probe takes as its argument. The answer is one word. */
export const QUESTIONS = {
  /** What a call from outside of the allowed range answers once SUD is armed: DISPATCHED, or -errno. */
  dispatch: "d",
  /** Memory at address 0, then made executable: 0, or -errno. */
  zero: "z",
  /** Text of one's own, written through /proc/self/mem: WRITTEN, or -errno. */
  text: "t",
  /** Memory that was writable, made executable: 0, or -errno. */
  code: "c",
  /** `int 0x80` with i386's getpid: a process id, or NOT_THERE. */
  int80: "i",
  /** A protection key: at least 1, or -errno. */
  key: "k",
} as const;
export type Question = keyof typeof QUESTIONS;

/** si_code of a SIGSYS by Syscall User Dispatch (asm-generic/siginfo.h). */
export const DISPATCHED = 2n;
export const WRITTEN = 0xccn;
export const NOT_THERE = -38n;

const SIGSEGV = 11;
const SIGSYS = 31;
const SA_SIGINFO = 4;
const SA_RESTORER = 0x04000000;
const SIGSET_SIZE = 8;
// struct ucontext, arch/x86/include/uapi/asm/sigcontext.h.
const CONTEXT_RAX = 144;
const CONTEXT_RIP = 168;
const SIGINFO_CODE = 8;
const PR_SET_SYSCALL_USER_DISPATCH = 59;
const PR_SYS_DISPATCH_ON = 1;
const PROT_READ_WRITE = 3;
const PROT_READ_EXEC = 5;
/** MAP_PRIVATE | MAP_ANONYMOUS */
const MAP_OWN = 0x22;
const MAP_FIXED_NOREPLACE = 0x100000;
const PAGE = 4096;
const O_RDWR_CLOEXEC = 0o2000002;
const I386_GETPID = 20;
const CLOCK_THREAD_CPUTIME_ID = 3;
const ARGUMENTS = [rdi, rsi, rdx, r10, r8, r9] as const;

class ProbeAssembler extends Assembler {
  /** `mov`s and the call; flags and rcx, r11 are lost. */
  syscall(name: keyof typeof NUMBERS, ...operands: readonly Operand[]): void {
    operands.forEach((operand, i) => {
      const register = ARGUMENTS[i] as (typeof ARGUMENTS)[number];
      if (operand !== register) this.mov(64, register, operand);
    });
    this.mov(32, rax, NUMBERS[name]);
    this.op("syscall");
  }

  /** Goes to `failed` with -errno in rax. */
  check(failed: Label): void {
    this.test(64, rax, rax);
    this.jcc("s", failed);
  }
}

/** Answers the question that its argument's first letter asks. Static: it runs where there is no dynamic loader. */
export function probeProgram(): Uint8Array {
  return writeExecutable([{ code: [probe()], data: [path()] }]);
}

function path(): DataUnit {
  const bytes = new TextEncoder().encode("/proc/self/mem\0");
  return { name: "mem_path", bytes, size: bytes.length, align: 1, writable: false, relocs: [] };
}

export function probe(): CodeUnit {
  const a = new ProbeAssembler();
  const done = a.label();
  const allowed = a.label();
  const outside = a.label();
  const handler = a.label();
  const restorer = a.label();
  const start = a.bind();
  a.mov(64, rbx, mem(rsp, 16));
  a.movzx(rbx, 8, mem(rbx));
  const asked = (question: Question, answer: () => void): void => {
    const next = a.label();
    a.cmp(32, rbx, QUESTIONS[question].charCodeAt(0));
    a.jcc("ne", next);
    a.mark(question);
    answer();
    a.jmp(done);
    a.bind(next);
  };
  /** struct sigaction of the kernel, on the stack. */
  const handle = (signal: number): void => {
    a.push(0);
    a.lea(64, rax, at(restorer));
    a.push(rax);
    a.push(SA_SIGINFO | SA_RESTORER);
    a.lea(64, rax, at(handler));
    a.push(rax);
    a.syscall("rt_sigaction", signal, rsp, 0, SIGSET_SIZE);
  };

  asked("dispatch", () => {
    handle(SIGSYS);
    a.lea(64, rdx, at(start));
    a.lea(64, r10, at(allowed));
    a.sub(64, r10, rdx);
    a.syscall("prctl", PR_SET_SYSCALL_USER_DISPATCH, PR_SYS_DISPATCH_ON, rdx, r10, 0);
    a.check(done);
    a.mov(64, rax, -1);
    a.call(outside);
  });
  asked("zero", () => {
    a.syscall("mmap", 0, PAGE, PROT_READ_WRITE, MAP_OWN | MAP_FIXED_NOREPLACE, -1, 0);
    a.check(done);
    a.syscall("mprotect", rax, PAGE, PROT_READ_EXEC);
  });
  asked("text", () => {
    a.lea(64, rdi, symbol("mem_path"));
    a.syscall("open", rdi, O_RDWR_CLOEXEC);
    a.check(done);
    a.push(Number(WRITTEN));
    a.lea(64, r10, symbol("probe_text"));
    a.syscall("pwrite64", rax, rsp, 1, r10);
    a.check(done);
    a.movzx(rax, 8, symbol("probe_text"));
  });
  asked("code", () => {
    a.syscall("mmap", 0, PAGE, PROT_READ_WRITE, MAP_OWN, -1, 0);
    a.check(done);
    a.syscall("mprotect", rax, PAGE, PROT_READ_EXEC);
  });
  asked("int80", () => {
    handle(SIGSEGV);
    a.mov(32, rax, I386_GETPID);
    a.bytes(0xcd, 0x80);
  });
  asked("key", () => a.syscall("pkey_alloc", 0, 0));

  a.bind(done);
  a.push(rax);
  a.syscall("write", 1, rsp, 8);
  a.syscall("exit_group", 0);

  // handler(signal, info, context): SUD's signal comes behind the call, a fault comes at the instruction.
  a.bind(handler);
  const fault = a.label();
  const answered = a.label();
  a.cmp(32, rdi, SIGSEGV);
  a.jcc("e", fault);
  a.movsx(64, rax, 32, mem(rsi, SIGINFO_CODE));
  a.jmp(answered);
  a.bind(fault);
  a.mov(64, rax, Number(NOT_THERE));
  a.add(64, mem(rdx, CONTEXT_RIP), 2);
  a.bind(answered);
  a.mov(64, mem(rdx, CONTEXT_RAX), rax);
  a.op("ret");
  a.bind(restorer);
  a.syscall("rt_sigreturn");
  a.op("ud2"); // an allowed call is one that returns into the range

  a.bind(allowed);
  a.bind(outside);
  a.op("syscall");
  a.op("ret");
  a.mark("probe_text");
  a.op("nop");
  return a.finish("_start");
}

/** Calls of one burst, and bursts of one run. */
export const CALLS = 1000;
export const BURSTS = 15;

/**
 * The program that is hooked. Without an argument it ends at once; with one it makes CALLS times getppid() in each of BURSTS
 * bursts. Words: the nanoseconds of CPU time that each burst took, then the last answer. It needs what `needed` names, so
 * that its start is that of an ordinary program.
 */
export function meterProgram(loader: string, needed: readonly string[]): Uint8Array {
  return writeExecutable([{ code: [meter()], data: [results("meter_results", BURSTS + 1)] }], {
    base: "pie",
    dynamic: { loader, needed },
  });
}

export function meter(): CodeUnit {
  const a = new ProbeAssembler();
  const end = a.label();
  const burst = a.label();
  const call = a.label();
  // The function's bounds are known from this row, as they are in compiled programs.
  a.unwind({ reg: rsp.dwarf, offset: 8 }, []);
  a.cmp(64, mem(rsp), 1);
  a.jcc("be", end);
  a.lea(64, r12, symbol("meter_results"));
  a.lea(64, r13, mem(r12, 8 * BURSTS));
  a.sub(64, rsp, 16);
  a.bind(burst);
  a.syscall("clock_gettime", CLOCK_THREAD_CPUTIME_ID, rsp);
  nanoseconds(a, rbp);
  a.mov(32, rbx, CALLS);
  a.align(64);
  a.bind(call);
  a.mark("meter_call");
  a.mov(32, rax, NUMBERS.getppid);
  a.op("syscall");
  a.dec(32, rbx);
  a.jcc("ne", call);
  a.mov(64, mem(r13), rax);
  a.syscall("clock_gettime", CLOCK_THREAD_CPUTIME_ID, rsp);
  nanoseconds(a, rcx);
  a.sub(64, rcx, rbp);
  a.mov(64, mem(r12), rcx);
  a.add(64, r12, 8);
  a.cmp(64, r12, r13);
  a.jcc("ne", burst);
  a.lea(64, rsi, symbol("meter_results"));
  a.syscall("write", 1, rsi, 8 * (BURSTS + 1));
  a.bind(end);
  a.syscall("exit_group", 0);
  return a.finish("_start", { align: 64 });
}

/** `to` = the struct timespec at [rsp] in nanoseconds. */
function nanoseconds(a: Assembler, to: typeof rcx): void {
  a.imul(64, to, mem(rsp), 1_000_000_000);
  a.add(64, to, mem(rsp, 8));
}

/** Starts of one run. */
export const STARTS = 7;
/** struct rusage: two struct timeval first. */
const RUSAGE_SIZE = 144;

/**
 * Runs the program that its arguments name STARTS times, with its own environment. Words: for each run the microseconds of
 * CPU time from fork to exit; then how many of them did not end with status 0. Static: LD_PRELOAD does not reach it.
 */
export function launcherProgram(): Uint8Array {
  return writeExecutable([{ code: [launcher()], data: [results("launcher_results", STARTS + 1)] }]);
}

export function launcher(): CodeUnit {
  const a = new ProbeAssembler();
  const again = a.label();
  const child = a.label();
  a.mov(64, rcx, mem(rsp));
  a.lea(64, r13, mem(rsp, 16));
  a.lea(64, r14, { kind: "mem", base: rsp, index: rcx, scale: 8, disp: 16 });
  a.lea(64, r12, symbol("launcher_results"));
  a.lea(64, rbp, mem(r12, 8 * STARTS));
  a.sub(64, rsp, RUSAGE_SIZE + 16);
  a.bind(again);
  a.syscall("fork");
  a.test(64, rax, rax);
  a.jcc("e", child);
  a.lea(64, rsi, mem(rsp, RUSAGE_SIZE));
  a.mov(32, mem(rsi), 1);
  a.syscall("wait4", rax, rsi, 0, rsp);
  const good = a.label();
  a.cmp(32, mem(rsp, RUSAGE_SIZE), 0);
  a.jcc("e", good);
  a.inc(64, mem(rbp));
  a.bind(good);
  a.mov(64, rcx, mem(rsp));
  a.add(64, rcx, mem(rsp, 16));
  a.imul(64, rcx, rcx, 1_000_000);
  a.add(64, rcx, mem(rsp, 8));
  a.add(64, rcx, mem(rsp, 24));
  a.mov(64, mem(r12), rcx);
  a.add(64, r12, 8);
  a.cmp(64, r12, rbp);
  a.jcc("ne", again);
  a.lea(64, rsi, symbol("launcher_results"));
  a.syscall("write", 1, rsi, 8 * (STARTS + 1));
  a.syscall("exit_group", 0);
  a.bind(child);
  a.mov(64, rdi, mem(r13));
  a.syscall("execve", rdi, r13, r14);
  a.syscall("exit_group", 127);
  return a.finish("_start");
}

function results(name: string, words: number): DataUnit {
  return { name, bytes: new Uint8Array(0), size: 8 * words, align: 8, writable: true, relocs: [] };
}

/** The words that a program has written; undefined where it did not write `count` of them. */
export function words(output: Buffer, count: number): bigint[] | undefined {
  if (output.length !== 8 * count) return undefined;
  return Array.from({ length: count }, (_, i) => output.readBigInt64LE(8 * i));
}
