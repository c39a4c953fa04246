/**
 * The `jump` patch, for a call site in a function that uses its red zone: the instruction right before the `syscall`
 * loads a constant (`mov $number, %eax` as a rule), in five bytes, as many as a near jump to a stub of the site's own. The
 * stub loads the constant and does not touch the stack. The `syscall` stays where it is; nothing leads to it any more,
 * because no branch of the function enters between the two (checked).
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
} from "../std/sys";
import { decode } from "./decode";
import { Insn, RELATIVE } from "./insn";
import { mappingAt, Maps } from "./maps";
import { writeText } from "./patch";
import { Site } from "./sites";

// @ts-ignore: decorator
@external("symbol", "zp_jump_entry")
declare function zp_jump_entry(): usize;

/** `mov $imm32, %r32` without prefix: the opcode holds the register. */
const MOV_CONSTANT: u8 = 0xb8;
const JUMP_SIZE: usize = 5;
const STUB_SIZE: usize = 32;
const STUBS_SIZE: usize = 4096;
/** A near jump reaches 2 GiB; half of that leaves room for the module itself. */
const REACH: usize = 1 << 30;
/** A gap between mappings that is worth looking at; what is mapped next will as a rule be put right below a mapping. */
const GAP: usize = 1 << 21;

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
export function patchByJump(text: i64, maps: Maps, site: Site, end: usize, insn: Insn): bool {
  const jump = site.address - JUMP_SIZE;
  if (failed(text) || !site.start || jump < site.start) return false;
  if ((load<u8>(jump) & 0xf8) != MOV_CONSTANT || !isAlone(insn, site.start, end, site.address)) return false;
  for (let tries: u32 = 0; atomic.cmpxchg<u32>(changetype<usize>(lock), 0, 1); tries++) {
    if (tries > LOCK_TRIES) return false;
    pause();
  }
  const stub = takeStub(maps, jump);
  const done = stub != 0 && writeStub(text, stub, site) && writeJump(text, jump, stub);
  atomic.store<u32>(changetype<usize>(lock), 0);
  return done;
}

function writeJump(text: i64, jump: usize, stub: usize): bool {
  const bytes = changetype<usize>(buffer);
  store<u8>(bytes, 0xe9);
  store<u32>(bytes, <u32>(stub - (jump + JUMP_SIZE)), 1);
  return writeText(text, jump, bytes, JUMP_SIZE);
}

/**
 * Whether, decoded from its start, the function has an instruction of five bytes right before `address`, and no direct
 * branch to `address`.
 */
function isAlone(insn: Insn, start: usize, end: usize, address: usize): bool {
  let found = false;
  for (let p = start; p < end; ) {
    const length: usize = decode(insn, p, end);
    if (length && insn.flags & RELATIVE && insn.target == address) return false;
    if (length == JUMP_SIZE && p + length == address) found = true;
    p += length ? length : 1;
  }
  return found;
}

/**
 *     b8+r CONSTANT    mov $CONSTANT, %r32
 *     48 8d 0d AFTER   lea AFTER(%rip), %rcx
 *     ff 25 00000000   jmp *0(%rip)
 *     ENTRY            the entry stub
 */
function writeStub(text: i64, stub: usize, site: Site): bool {
  const bytes = changetype<usize>(buffer);
  const after = site.address + 2;
  memory.copy(bytes, site.address - JUMP_SIZE, JUMP_SIZE);
  store<u32>(bytes, 0x0d8d48, 5);
  store<u32>(bytes, <u32>(after - (stub + 12)), 8);
  store<u16>(bytes, 0x25ff, 12);
  store<u32>(bytes, 0, 14);
  store<u64>(bytes, zp_jump_entry(), 18);
  return writeText(text, stub, bytes, 26);
}

/** Room for one stub that a near jump at `near` reaches; 0 when there is none. */
function takeStub(maps: Maps, near: usize): usize {
  if (!stubs || !reaches(near, stubs) || taken + STUB_SIZE > STUBS_SIZE) {
    const page = mapBelow(maps, near);
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

/**
 * A page in a gap between mappings below `near`: at the end of the gap, so that what grows upwards (brk) meets it last.
 * Another thread may take it first; then the next gap serves.
 */
function mapBelow(maps: Maps, near: usize): usize {
  const flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE;
  for (let i = maps.count; i > 1; i--) {
    const end = mappingAt(maps, i - 1).start;
    if (end > near || mappingAt(maps, i - 2).end + GAP > end) continue;
    if (!reaches(near, end - STUBS_SIZE)) return 0;
    const page = syscall6(SYS_MMAP, end - GAP, STUBS_SIZE, PROT_READ | PROT_EXEC, flags, <u64>-1, 0);
    if (!failed(page)) return <usize>page;
  }
  return 0;
}
