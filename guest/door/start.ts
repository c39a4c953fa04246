/**
 * The loader door: what the kernel has started is zpoline-exec, and it loads the program itself.
 *
 * Runs once, with one thread, on a stack of its own; nothing of the program runs before.
 */
import { GAP_EXEC_UNHOOKED } from "../../src/image/layout";
import { AT_EXECFN, auxiliary, findVector, LIBZPHOOK, setDoor, takeEnvironment, valueOf } from "../process/environment";
import { recordGap } from "../record/record";
import { executablePath, setExecutable } from "../process/program";
import { stringLength } from "../std/bytes";
import { cstr } from "../std/cstr";
import { refuse } from "../std/log";
import { syscall6 } from "../std/raw";
import {
  AT_FDCWD,
  closeFile,
  EEXIST,
  failed,
  mapPages,
  O_CLOEXEC,
  openFile,
  O_RDONLY,
  SYS_EXECVEAT,
  SYS_EXIT_GROUP,
  SYS_READLINK,
  unmapPages,
} from "../std/sys";
import { currentBrk, makeStackExecutable, setMemoryMap, setName } from "./appearance";
import { DoorArguments, readArguments } from "./arguments";
import { runCommand } from "./command";
import { ELF_ROOM, ElfFile, openElf, readHead } from "./elf";
import { Loaded, mapElf } from "./load";
import { heapPlace, isRandom, programPlace } from "./place";
import { describeProgram, hideArguments, InitialStack, readStack } from "./stack";
import { complain } from "./complain";

/** Tries to find a place for a program, each at random. */
const MOST_TRIES: u32 = 8;
const SYS_FCNTL: u64 = 72;
const F_SETFD: u64 = 2;
const FD_CLOEXEC: u64 = 1;
const AT_EMPTY_PATH: u64 = 0x1000;

const stackMemory: usize = memory.data(offsetof<InitialStack>(), 8);
const argumentsMemory: usize = memory.data(offsetof<DoorArguments>(), 8);
const programMemory: usize = memory.data(offsetof<Loaded>(), 8);
const interpreterMemory: usize = memory.data(offsetof<Loaded>(), 8);

// @ts-ignore: decorator
@inline
function initialStack(): InitialStack {
  return changetype<InitialStack>(stackMemory);
}

// @ts-ignore: decorator
@inline
function doorArguments(): DoorArguments {
  return changetype<DoorArguments>(argumentsMemory);
}

/** Reads what this process was started with. `top` is the kernel's stack pointer. */
export function openDoor(top: usize): void {
  const stack = initialStack();
  readStack(stack, top);
  findVector(stack.variables);
  const page = mapPages(4096);
  const length = syscall6(SYS_READLINK, cstr("/proc/self/exe"), <u64>page, 4095, 0, 0, 0);
  if (length > 0) setDoor(<usize>page, <usize>length);
  else setDoor(<usize>auxiliary(AT_EXECFN), stringLength(<usize>auxiliary(AT_EXECFN)));
  unmapPages(<usize>page, 4096);
  if (!readArguments(stack, doorArguments())) {
    complain(cstr("USAGE"), cstr("usage: zpoline-exec [SETTING=VALUE]... [--] PROGRAM [ARGUMENT]..."), 0, 125);
  }
  takeEnvironment(stack.variables);
  const hook = valueOf(LIBZPHOOK);
  if (!hook || !load<u8>(hook)) return;
  const cause = cstr("a C hook needs a C library, and zpoline-exec runs before the program has one");
  refuse(cstr("HOOK_LOAD"), cstr("LIBZPHOOK does not work with zpoline-exec"), cause, cstr("LD_PRELOAD=libzpoline.so"));
}

/** This process is hooked by another zpoline, which sees the program as well: it is only executed. Does not come back. */
export function passOn(): void {
  const stack = initialStack();
  const arguments_ = doorArguments();
  if (!arguments_.name) runCommand(stack.argv + arguments_.hidden * 8, stack.variables, true);
  hideArguments(stack, arguments_.hidden);
  execByDescriptor();
}

/** Loads the program; answers where its stack pointer is to be. What cannot be loaded is executed by the kernel. */
export function loadProgram(): usize {
  const stack = initialStack();
  const arguments_ = doorArguments();
  if (!arguments_.name) runCommand(stack.argv + arguments_.hidden * 8, stack.variables, false);
  const random = isRandom(<usize>auxiliary(AT_EXECFN));
  hideArguments(stack, arguments_.hidden);
  findVector(stack.variables);
  const pages = mapPages(2 * ELF_ROOM);
  if (failed(pages)) giveUp(pages);
  const file = changetype<ElfFile>(<usize>pages);
  const error = mapProgram(file, changetype<ElfFile>(<usize>pages + ELF_ROOM), random);
  if (error) giveUp(error);
  const program = changetype<Loaded>(programMemory);
  const base = file.interpreter ? changetype<Loaded>(interpreterMemory).bias : 0;
  describeProgram(stack, program, file.count, base, arguments_.name);
  if (file.executableStack) makeStackExecutable(stack.top);
  setExecutable(arguments_.fd);
  closeFile(arguments_.fd);
  setName(arguments_.name, executablePath());
  const brk = currentBrk();
  const ownPlace = file.movable && !file.interpreter;
  setMemoryMap(program, stack, ownPlace ? brk : heapPlace(program, random && !isFixedHeap(brk)));
  unmapPages(<usize>pages, 2 * ELF_ROOM);
  return stack.top;
}

/** Where the program, or its interpreter, begins. */
export function programEntry(): usize {
  const interpreter = changetype<Loaded>(interpreterMemory);
  return interpreter.entry ? interpreter.entry : changetype<Loaded>(programMemory).entry;
}

/** The program's environment. */
export function programEnvironment(): usize {
  return initialStack().variables;
}

function isFixedHeap(brk: usize): bool {
  return brk >> 13 == programPlace(false) >> 13;
}

function mapProgram(file: ElfFile, interpreter: ElfFile, random: bool): i64 {
  let error = readHead(file, doorArguments().fd);
  if (!error) error = openElf(file, false);
  if (error) return error;
  const program = changetype<Loaded>(programMemory);
  error = -EEXIST;
  for (let tries: u32 = 0; error == -EEXIST && tries < MOST_TRIES; tries++) {
    const place = file.movable && file.interpreter ? programPlace(random || tries > 0) : 0;
    error = mapElf(file, place, program);
  }
  if (error || !file.interpreter) return error;
  const fd = openFile(file.interpreter, O_RDONLY | O_CLOEXEC);
  if (failed(fd)) return fd;
  error = readHead(interpreter, fd);
  if (!error) error = openElf(interpreter, true);
  if (!error) error = mapElf(interpreter, 0, changetype<Loaded>(interpreterMemory));
  closeFile(fd);
  return error;
}

/** The program runs without us, or not at all. */
function giveUp(error: i64): void {
  const name = doorArguments().name;
  recordGap(GAP_EXEC_UNHOOKED, <u64>-error, name, <u32>stringLength(name));
  execByDescriptor();
}

/** By the kernel; the descriptor closes. Does not come back. */
function execByDescriptor(): void {
  const stack = initialStack();
  const arguments_ = doorArguments();
  syscall6(SYS_FCNTL, arguments_.fd, F_SETFD, FD_CLOEXEC, 0, 0, 0);
  const failure = syscall6(SYS_EXECVEAT, arguments_.fd, cstr(""), stack.argv, stack.variables, AT_EMPTY_PATH, 0);
  complain(cstr("PROGRAM_FORMAT"), arguments_.name, <u64>-failure, 126);
}
