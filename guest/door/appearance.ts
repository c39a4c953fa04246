/**
 * What the kernel tells others of the process: its name, where its heap, arguments and environment are, its auxiliary
 * vector (/proc/PID/comm, cmdline, environ, auxv, stat, and [heap] and [stack] in maps).
 *
 * Runs once, in the loader door.
 */
import { sameString, startsWith, stringLength } from "../std/bytes";
import { cstr } from "../std/cstr";
import { syscall6 } from "../std/raw";
import { failed, PROT_EXEC, PROT_READ, PROT_WRITE, SYS_BRK, SYS_MPROTECT, SYS_PRCTL } from "../std/sys";
import { Loaded } from "./load";
import { InitialStack } from "./stack";

const PR_SET_NAME: u64 = 15;
const PR_SET_MM: u64 = 35;
const PR_SET_MM_MAP: u64 = 14;
const PROT_GROWSDOWN: u64 = 0x01000000;
const SLASH: u8 = 0x2f;

/** struct prctl_mm_map (linux/prctl.h). */
// @ts-ignore: decorator
@unmanaged
class MemoryMap {
  startCode: usize;
  endCode: usize;
  startData: usize;
  endData: usize;
  startBrk: usize;
  brk: usize;
  startStack: usize;
  argStart: usize;
  argEnd: usize;
  envStart: usize;
  envEnd: usize;
  auxiliary: usize;
  auxiliarySize: u32;
  exe: u32;
}
const map: usize = memory.data(offsetof<MemoryMap>(), 8);

/**
 * The last part of what the kernel calls the program; of a program that was executed by descriptor, that of its `path` (Linux
 * 6.14). The kernel keeps 15 bytes.
 */
export function setName(name: usize, path: usize): void {
  const part = lastPart(name);
  const byDescriptor = startsWith(name, cstr("/dev/fd/")) && part == name + 8;
  syscall6(SYS_PRCTL, PR_SET_NAME, byDescriptor ? withoutRemark(lastPart(path)) : part, 0, 0, 0, 0);
}

function lastPart(name: usize): usize {
  let part = name;
  for (let p = name; load<u8>(p); p++) if (load<u8>(p) == SLASH) part = p + 1;
  return part;
}

const NAME_SIZE: usize = 16;
const shortName: usize = memory.data(16, 8);

/** The first bytes of a name, without the ` (deleted)` of files that have none any more. */
function withoutRemark(name: usize): usize {
  const length = stringLength(name);
  const remark = length > 10 && sameString(name + length - 10, cstr(" (deleted)"));
  const kept = remark ? length - 10 : length;
  memory.copy(shortName, name, kept < NAME_SIZE - 1 ? kept : NAME_SIZE - 1);
  return shortName;
}

/** The end of the heap, which nobody has used yet. */
export function currentBrk(): usize {
  return <usize>syscall6(SYS_BRK, 0, 0, 0, 0, 0, 0);
}

/**
 * `brk`: where the heap is to begin. False where the kernel has no PR_SET_MM_MAP (CONFIG_CHECKPOINT_RESTORE): the heap is
 * then where the kernel has put it for zpoline-exec.
 */
export function setMemoryMap(program: Loaded, stack: InitialStack, brk: usize): bool {
  const m = changetype<MemoryMap>(map);
  m.startCode = program.startCode;
  m.endCode = program.endCode;
  m.startData = program.startData;
  m.endData = program.endData;
  m.startBrk = brk;
  m.brk = brk;
  m.startStack = stack.top;
  m.argStart = stack.argStart;
  m.argEnd = stack.argEnd;
  m.envStart = stack.envStart;
  m.envEnd = stack.envEnd;
  m.auxiliary = stack.auxiliary;
  m.auxiliarySize = <u32>stack.auxiliarySize;
  m.exe = <u32>-1;
  return !failed(syscall6(SYS_PRCTL, PR_SET_MM, PR_SET_MM_MAP, map, offsetof<MemoryMap>(), 0, 0));
}

/** PT_GNU_STACK asks for it. */
export function makeStackExecutable(top: usize): void {
  const protection = PROT_READ | PROT_WRITE | PROT_EXEC | PROT_GROWSDOWN;
  syscall6(SYS_MPROTECT, top & ~4095, 4096, protection, 0, 0, 0);
}
