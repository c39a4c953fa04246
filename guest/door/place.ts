/**
 * Where the kernel would put a program and its heap (fs/binfmt_elf.c, arch/x86): the same places, and as random.
 *
 * Runs once, in the loader door.
 */
import { syscall6 } from "../std/raw";
import { Loaded } from "./load";

const SYS_GETRANDOM: u64 = 318;
const GRND_NONBLOCK: u64 = 1;

/** ELF_ET_DYN_BASE: two thirds of the user addresses. */
const PROGRAM_BASE: usize = 0x5555_5555_4000;
/** Pages by which a program is moved (vm.mmap_rnd_bits as it is by default), and the heap at most (1 GiB). */
const PROGRAM_PAGES: u64 = 1 << 28;
const HEAP_PAGES: u64 = 1 << 18;
/** End of the stack of a process whose addresses are not random. */
const FIXED_STACK_END: usize = 0x7fff_ffff_f000;
const PAGE: usize = 4096;

const word: StaticArray<u64> = [0];

function random(): u64 {
  syscall6(SYS_GETRANDOM, changetype<usize>(word), 8, GRND_NONBLOCK, 0, 0, 0);
  return load<u64>(changetype<usize>(word));
}

/** Whether the kernel has placed the stack at random. `string` is the last one on it, some bytes below its end. */
export function isRandom(string: usize): bool {
  return ((string + PAGE) & ~(PAGE - 1)) != FIXED_STACK_END;
}

/** For the first page of a program with an interpreter. */
export function programPlace(randomly: bool): usize {
  return PROGRAM_BASE + (randomly ? <usize>(random() & (PROGRAM_PAGES - 1)) * PAGE : 0);
}

/** For the heap, behind the program. `moves`: the kernel has moved that of zpoline-exec, too. */
export function heapPlace(program: Loaded, moves: bool): usize {
  return program.end + (moves ? <usize>(random() & (HEAP_PAGES - 1)) * PAGE : 0);
}
