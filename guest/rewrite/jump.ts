/**
 * The `jump` patch, for a call site in a function that uses its red zone: `mov $number, %eax` right before the `syscall`
 * is five bytes, as long as a near jump to a stub of the site's own. The stub does not touch the stack. The `syscall`
 * stays where it is; nothing leads to it any more, because no branch of the function enters between the two (checked).
 *
 * Who runs this: as rewrite.ts says. The page of stubs is never writable: it is filled through /proc/self/mem.
 */
import { pause, syscall6 } from "../std/raw";
import {
  failed,
  MAP_ANONYMOUS,
  MAP_FIXED_NOREPLACE,
  MAP_PRIVATE,
  PROT_EXEC,
  PROT_READ,
  SYS_MMAP,
  SYS_PWRITE64,
} from "../std/sys";
import { decode } from "./decode";
import { Insn, RELATIVE } from "./insn";
import { Site } from "./sites";

// @ts-ignore: decorator
@external("symbol", "zp_jump_entry")
declare function zp_jump_entry(): usize;

const JUMP_SIZE: usize = 5;
const STUB_SIZE: usize = 32;
const STUBS_SIZE: usize = 4096;
const PAGE_MASK: usize = ~(<usize>4095);
/** A near jump reaches 2 GiB; half of that leaves room for the module itself. */
const REACH: usize = 1 << 30;
const STEP: usize = 1 << 16;

/** The page of stubs in use (0: none yet), and how much of it is taken. */
let stubs: usize = 0;
let taken: usize = 0;

/** Whether [start, start + size) holds jump stubs. */
export function holdsStubs(start: usize): bool {
  return start == stubs;
}

/** Guards the page of stubs and the buffer below. Not waited for without end: a signal handler may have interrupted its owner. */
const lock: StaticArray<u32> = [0];
const LOCK_TRIES: u32 = 1 << 20;
/** What is written next: a stub, or the jump to it. */
const buffer: StaticArray<u64> = [0, 0, 0, 0];

/** False when it could not be done: nothing changed. `insn` is scratch memory; `end` bounds the function. */
export function patchByJump(text: i64, site: Site, end: usize, insn: Insn): bool {
  const jump = site.address - JUMP_SIZE;
  if (failed(text) || site.number < 0 || !site.start || jump < site.start || load<u8>(jump) != 0xb8) return false;
  if (isEntered(insn, site.start, end, site.address)) return false;
  for (let tries: u32 = 0; atomic.cmpxchg<u32>(changetype<usize>(lock), 0, 1); tries++) {
    if (tries > LOCK_TRIES) return false;
    pause();
  }
  const stub = takeStub(jump);
  const done = stub != 0 && writeStub(text, stub, site) && writeJump(text, jump, stub);
  atomic.store<u32>(changetype<usize>(lock), 0);
  return done;
}

function writeJump(text: i64, jump: usize, stub: usize): bool {
  const bytes = changetype<usize>(buffer);
  store<u8>(bytes, 0xe9);
  store<u32>(bytes, <u32>(stub - (jump + JUMP_SIZE)), 1);
  return write(text, jump, bytes, JUMP_SIZE);
}

/** Whether a direct branch of the function leads to `address`. */
function isEntered(insn: Insn, start: usize, end: usize, address: usize): bool {
  for (let p = start; p < end; ) {
    const length: usize = decode(insn, p, end);
    if (length && insn.flags & RELATIVE && insn.target == address) return true;
    p += length ? length : 1;
  }
  return false;
}

/**
 *     b8 NUMBER        mov $NUMBER, %eax
 *     48 8d 0d AFTER   lea AFTER(%rip), %rcx
 *     ff 25 00000000   jmp *0(%rip)
 *     ENTRY            the entry stub
 */
function writeStub(text: i64, stub: usize, site: Site): bool {
  const bytes = changetype<usize>(buffer);
  const after = site.address + 2;
  store<u8>(bytes, 0xb8);
  store<u32>(bytes, <u32>site.number, 1);
  store<u32>(bytes, 0x0d8d48, 5);
  store<u32>(bytes, <u32>(after - (stub + 12)), 8);
  store<u16>(bytes, 0x25ff, 12);
  store<u32>(bytes, 0, 14);
  store<u64>(bytes, zp_jump_entry(), 18);
  return write(text, stub, bytes, 26);
}

function write(text: i64, to: usize, bytes: usize, length: usize): bool {
  return syscall6(SYS_PWRITE64, text, bytes, length, to, 0, 0) == <i64>length;
}

/** Room for one stub that a near jump at `near` reaches; 0 when there is none. */
function takeStub(near: usize): usize {
  if (!stubs || !reaches(near, stubs) || taken + STUB_SIZE > STUBS_SIZE) {
    const page = mapBelow(near);
    if (!page) return 0;
    stubs = page;
    taken = 0;
  }
  const stub = stubs + taken;
  taken += STUB_SIZE;
  return stub;
}

function reaches(a: usize, b: usize): bool {
  return (a > b ? a - b : b - a) < REACH;
}

/** A free page below `near`. */
function mapBelow(near: usize): usize {
  const flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE;
  for (let distance: usize = STEP; distance < REACH && distance < near; distance += STEP) {
    const address = (near - distance) & PAGE_MASK;
    const page = syscall6(SYS_MMAP, address, STUBS_SIZE, PROT_READ | PROT_EXEC, flags, <u64>-1, 0);
    if (!failed(page)) return <usize>page;
  }
  return 0;
}
