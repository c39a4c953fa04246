/**
 * Numbers that two worlds must agree on: the guest (compiled by asc, which imports this very file), the machine code
 * templates, and Node. Only `export const NAME = <integer>` is allowed here, so that both compilers read it alike.
 *
 * All integers in shared memory are little-endian; offsets and sizes are in bytes.
 */

// ── The frame that the entry stub builds on the program's stack, below its 128-byte red zone ──────────────────────────
/** System call number as the program put it in rax (64 bits; the kernel looks at the low 32). */
export const FRAME_NR = 0;
/** The six arguments, in the order of the system call ABI: rdi, rsi, rdx, r10, r8, r9. */
export const FRAME_ARGS = 8;
/** Result for the program (rax). */
export const FRAME_RESULT = 56;
/** Flags of the program: rflags as pushfq stores them. */
export const FRAME_FLAGS = 64;
/** Time stamp counter at entry, handed from the enter hook to the exit hook. */
export const FRAME_TSC = 72;
/** A word that a hook may keep from enter to exit. */
export const FRAME_COOKIE = 80;
/** Six u32: sizes planned for the payloads of the arguments, between measuring and copying. */
export const FRAME_PLAN = 88;
/** In a frame that goes to a C hook: at a cancellation point the address of its flag (guest/rewrite/cancellation.ts), elsewhere 0. */
export const FRAME_CANCEL = 96;
/** The program's stack pointer at the call site, once guest code has written it (placeFrame in guest/hook/frame.ts). */
export const FRAME_SP = 112;
/** Where the stub goes on: FRAME_IP, or the rest of a jump patch, which goes on there. */
export const FRAME_NEXT = 120;
/** Address after the `syscall` of the call site. */
export const FRAME_IP = 128;
export const FRAME_SIZE = 136;
/** From the frame to the program's stack pointer: the frame, then the red zone. */
export const FRAME_TO_PROGRAM = 264;

// What an enter hook answers to the stub.
/** Do the real call with the (possibly changed) frame; the exit hook is not called. */
export const VERDICT_CALL = 0;
/** Do the real call, then call the exit hook. */
export const VERDICT_CALL_EXIT = 1;
/** Do not call: FRAME_RESULT is the answer. */
export const VERDICT_SKIP = 2;
/** Do the real call on the frame (clone, fork, vfork), which may return on another stack, then the raw exit hook. */
export const VERDICT_RAW = 3;
/** Do it with the program's own stack pointer, and touch nothing but registers (munmap of the own stack, rt_sigreturn). */
export const VERDICT_NOSTACK = 4;
/** The C hook answers. FRAME_COOKIE is where its stack begins, FRAME_PLAN what LEVEL_CALL_SP will be. */
export const VERDICT_HOOK = 5;
/** Do not call: the program gets a SIGSYS that it has asked for itself (guest/trap/user-dispatch.ts). */
export const VERDICT_DISPATCH = 6;

// ── The thread block: one per thread, found through gs ───────────────────────────────────────────────────────────────
/** Address of the block itself. */
export const THREAD_SELF = 0;
/** Ring cursor: chunk index << 32 | offset of the next record in the chunk. Only changed by single instructions. */
export const THREAD_CURSOR = 8;
/** FRAME_NEXT, kept over a call that unmaps the stack. */
export const THREAD_RETURN = 16;
/** Stack pointer for the program after a call that unmaps the stack. */
export const THREAD_STACK = 4080;
/** Not 0 while the thread runs code of the C hook; 0 again while that waits for a real call. */
export const THREAD_HOOK_IN = 72;
/** The innermost level (LEVEL_*) of the C hook; 0 when there is none. */
export const THREAD_HOOK_LEVEL = 80;
/** Stack pointer for real calls that the C hook makes: the program's, or 0 for the one that the hook has. */
export const THREAD_HOOK_CALL_SP = 88;
/** Stack pointer of the C hook while it waits for a real call. */
export const THREAD_HOOK_NEXT_SP = 96;
/** The frame of the level that uses the thread's own hook stack; 0 when none does. */
export const THREAD_HOOK_OWNER = 104;
/** End of the thread's own stack for guest code; 0: not mapped yet. Kept when the block goes to another thread. */
export const THREAD_ROOM = 4064;
/** Not 0 while guest code runs there. */
export const THREAD_ROOM_BUSY = 4072;
export const THREAD_SIZE = 4096;

// ── Zeroed memory of the image (memory.ts) ───────────────────────────────────────────────────────────────────────────
/** Copies of environment variables (guest/process/environment.ts). */
export const VARIABLES_SIZE = 65536;
/** Our own mappings (guest/process/own.ts): most ranges, each of 16 bytes. */
export const OWN_RANGES = 512;
/** Areas of near stubs (guest/rewrite/stubs.ts), each of STUB_AREA_SIZE bytes. */
export const STUB_AREAS = 1024;
export const STUB_AREA_SIZE = 56;
/** Reservations for them (near-memory.ts). */
export const STUB_POOLS = 64;
export const STUB_POOL_SIZE = 24;
export const STUB_POOL_START = 0;
/** 0 until the pool counts. */
export const STUB_POOL_END = 8;

// ── A cancellation point of the C library ────────────────────────────────────────────────────────────────────────────
/** From the stack pointer of the call site: a word with the address of the flag that says whether the thread is cancelled. */
export const CANCEL_FLAG = 8;

// ── A row of `zp_calls` and `zp_hook_calls`: a `syscall` of ours that the program's handlers see as the one at its call site ──
/** i32: from the end of this word to the `syscall`. */
export const CALL_AT = 0;
/** u8: CALL_END and so on. */
export const CALL_KIND = 4;
/** u8: bytes before the `syscall` at which a thread that has not made the call yet goes on, after any handler. */
export const CALL_BACK = 5;
/** u16: from the frame to rsp. */
export const CALL_DISTANCE = 6;
export const CALL_SIZE = 8;
/** No row: the end of the table. */
export const CALL_END = 0;
/** rsp points to the address after the call site, right below the program's stack pointer. */
export const CALL_SITE = 1;
/** There is a frame. */
export const CALL_FRAME = 2;
/** There is a frame, but only FRAME_NEXT and FRAME_IP have been written. */
export const CALL_BEGUN = 3;
/** There is a frame, but only until the call is made. */
export const CALL_RAW = 4;
/** There is a level, and what functions keep for their callers is the C hook's. */
export const CALL_LEVEL = 5;

// ── What a handler is shown, and what is true, while it runs: registers from UC_R8 to UC_EFLAGS, twice ─────────────────
export const SHOWN_WORDS = 18;
/** Bytes below the address that the kernel's signal frame begins with. */
export const SHOWN_SIZE = 296;

// ── An interned signal action (guest/signal/interned.ts) ─────────────────────────────────────────────────────────────
/** Its own address. */
export const INTERNED_SELF = 0;
export const INTERNED_HANDLER = 8;
/** Where its handler returns to. */
export const INTERNED_RETURN = 40;
/** Bytes of a chunk of them. */
export const INTERNED_SIZE = 8192;

// ── A level: what the stub keeps on the stack of a C hook, per call. Aligned to 64 bytes; the hook's stack lies below ──
/** A copy of the frame. */
export const LEVEL_FRAME = 0;
/** rbx rbp r12 r13 r14 r15 of the program. */
export const LEVEL_SAVED = 136;
/** The THREAD_HOOK_* words as they were before this level, from THREAD_HOOK_IN to THREAD_HOOK_OWNER. */
export const LEVEL_WORDS = 184;
export const LEVEL_WORD_COUNT = 5;
/** struct user_regs_struct (sys/user.h), for hook_entry. */
export const LEVEL_REGS = 224;
/** Vector, x87 and MXCSR state of the program. */
export const LEVEL_VECTORS = 448;
export const LEVEL_SIZE = 4096;

/** The thread's own stack for C hooks; the alternate signal stack lies above, one page without access below both. */
export const HOOK_STACK_SIZE = 262144;
export const HOOK_ALTERNATE_SIZE = 65536;

/** From here to FRAME_SP: what a frame keeps over clone, for parent and child (Handover in guest/process/clone.ts). */
export const FRAME_HANDOVER = 72;
/** u64 in there: 1 when the child returns through the C hook, as its parent does. */
export const FRAME_THROUGH_HOOK = 104;

// ── Words of a child of clone, right below the stack pointer that the kernel returns with ────────────────────────────
/** u64: FRAME_THROUGH_HOOK; from the stack pointer. */
export const HANDOVER_THROUGH_HOOK = -8;
/** u64: FRAME_TO_PROGRAM when the stack pointer is a frame, 0 when it is the program's own: that of a child with a new stack. */
export const HANDOVER_LOWERED = -16;
// In a child with a new stack, below those: what a frame has for others.
/** FRAME_NEXT. */
export const HANDOVER_NEXT = -24;
/** FRAME_HANDOVER. */
export const HANDOVER_NEW_STACK = -64;

// ── The session's ring file ──────────────────────────────────────────────────────────────────────────────────────────
//   [0, RING_TABLE)            header page
//   [RING_TABLE, +16 KiB)      recording table: one row of 32 bytes per system call number
//   [RING_CHUNK_TABLE, …)      one 64-byte entry per chunk
//   [RING_CHUNKS, …)           the chunks; only the first `chunkCount` exist in the file
// A chunk belongs to one thread at a time. Guests take free chunks (compare-and-swap 0 → 1) and give them back full
// (1 → 2); only the reader makes a chunk free again (2 → 0), or (1 → 0) when its owner is dead.
export const RING_MAGIC = 0x315a5052;
export const RING_VERSION = 2;

export const RING_H_MAGIC = 0; // u32
export const RING_H_VERSION = 4; // u32
/** u32: chunks that exist now; grows while the session runs, never shrinks. */
export const RING_H_CHUNK_COUNT = 8;
/** u32: most bytes copied of one data buffer (paths are always copied whole, up to 4096 bytes). */
export const RING_H_DATA_LIMIT = 12;
/** u64: changed by the reader on every pass; a guest that waits for room gives up when it stands still. */
export const RING_H_BEAT = 16;
/** u64, atomic: events that could not be recorded. */
export const RING_H_LOST = 24;
/** u64, atomic: times a thread had to wait for a free chunk. */
export const RING_H_WAITS = 32;
/** u32: RING_CLOSED when the reader has gone: guests stop recording (and count what they lose). RING_ENDED: they end. */
export const RING_H_CLOSED = 40;
export const RING_CLOSED = 1;
export const RING_ENDED = 2;
/** u32: process id of the session's root target (the first process that attaches writes its own). */
export const RING_H_ROOT = 44;

export const RING_TABLE = 4096;
export const RING_ROW_SIZE = 32;
/** Numbers below this have a row; greater ones are recorded with raw arguments, if the last row is recorded. */
export const RING_ROWS = 512;
export const RING_CHUNK_TABLE = 24576;
export const RING_CHUNK_ENTRY = 64;
export const RING_MAX_CHUNKS = 4096;
export const RING_CHUNKS = 290816; // page aligned: 24576 + 4096 * 64 = 286720, + one spare page
export const RING_CHUNK_SIZE = 32768;

// A row: u16 flags, u16 number of arguments, then six u16 captures at enter and six at exit (argument 0..5).
/** Row flag: record this call. */
export const ROW_RECORD = 1;
export const ROW_ENTER = 4;
export const ROW_EXIT = 16;

// Chunk table entry.
export const CHUNK_STATE = 0; // u32: 0 free, 1 owned, 2 full
export const CHUNK_TID = 4; // u32
export const CHUNK_PID = 8; // u32
/** u32: counts the chunks of a process, so that a reader can order them. */
export const CHUNK_SEQ = 12;
/** u64: time stamp counter when the chunk was taken, and CLOCK_REALTIME (ns) at the same moment. */
export const CHUNK_TSC = 16;
export const CHUNK_TIME = 24;
export const STATE_FREE = 0;
export const STATE_OWNED = 1;
export const STATE_FULL = 2;

// A record: u32 size (whole record, multiple of 8; written first), u32 type | RECORD_MAGIC << 16 (written last: the
// commit), u64 tsc, body, payloads. A zero size ends the chunk so far. A size without a commit word is in the making,
// or was abandoned (a signal handler jumped out of it): skip it once the chunk is full or its owner is dead.
export const RECORD_MAGIC = 0x5a50;
export const RECORD_SIZE = 0;
export const RECORD_TYPE = 4;
export const RECORD_TSC = 8;
export const RECORD_BODY = 16;
/** Greatest size of one record. */
export const RECORD_MAX = 16384;

/** body: u32 nr, u32 ABI_*, u64 address of the instruction after the system call, u64 args[6]; then payloads. */
export const TYPE_ENTER = 1;
export const ENTER_NR = 16;
export const ENTER_ABI = 20;
export const ENTER_IP = 24;
export const ENTER_ARGS = 32;
export const ENTER_PAYLOADS = 80;
/** Of which table the number is: of 64-bit programs, or of 32-bit ones (`int $0x80`), without payloads. */
export const ABI_X86_64 = 0;
export const ABI_I386 = 1;
/** body: u32 nr, u32 0, u64 tsc of the enter record it answers, i64 result; then payloads. */
export const TYPE_EXIT = 2;
export const EXIT_NR = 16;
export const EXIT_ENTER_TSC = 24;
export const EXIT_RESULT = 32;
export const EXIT_PAYLOADS = 40;
/**
 * A program image starts to be hooked. body: u32 pid, u32 ppid, u64 CLOCK_REALTIME ns at tsc, u64 tsc when our start-up
 * began, u32 sites patched, u32 sites left alone, u32 PATCHES_* in use, u32 0; then CSTRING payloads: path of the
 * executable (arg 0), and the path that was executed, which may be a script's (arg 1).
 */
export const TYPE_START = 3;
export const START_PID = 16;
export const START_PPID = 20;
export const START_TIME = 24;
export const START_BEGIN_TSC = 32;
export const START_PATCHED = 40;
export const START_LEFT = 44;
export const START_PATCHES = 48;
export const START_PAYLOADS = 56;
/** Something was not seen. body: u32 gap kind, u32 0, u64 address or number; then one CSTRING payload (detail). */
export const TYPE_GAP = 4;
export const GAP_KIND = 16;
export const GAP_VALUE = 24;
export const GAP_PAYLOADS = 32;
/** A new process (fork, vfork) or thread: first record of the child. body: u32 parent pid, u32 parent tid. */
export const TYPE_CHILD = 5;
export const CHILD_PPID = 16;
export const CHILD_PTID = 20;

// Kinds of patches that a process uses, one bit each (guest/rewrite/kinds.ts).
export const PATCHES_ZERO = 1;
export const PATCHES_JUMP = 2;
export const PATCHES_TRAP = 4;

// Gap kinds (see src/session/gaps.ts for the names that people read).
export const GAP_UNPATCHED_SITE = 1;
export const GAP_NO_VA0 = 2;
export const GAP_JIT = 3;
export const GAP_IO_URING = 4;
export const GAP_RING_OVERFLOW = 5;
export const GAP_EXEC_UNHOOKED = 6;
/** The program wanted the gs base for itself. */
export const GAP_GS_BASE = 7;
/** System calls from code that was not rewritten are not seen: Syscall User Dispatch cannot be had, or was refused. */
export const GAP_NO_TRAP = 30;
/** A call by `int $0x80` that is not shown, or not followed, as one by `syscall` would be. */
export const GAP_INT80 = 31;
/** A call with a number of the x32 ABI, which the kernel has made. */
export const GAP_X32 = 32;
/** A system call was made inside of the C hook, or by a signal handler that had interrupted it. */
export const GAP_HOOK_REENTERED = 20;
/** The C hook crashed, and the program went on without it. */
export const GAP_HOOK_CRASHED = 21;
/** A file was not rewritten because ZPOLINE_EXCLUDE names it. */
export const GAP_EXCLUDED = 8;

// A capture (u16 in a row): kind in the low 4 bits, parameter in the high 12. "arg" is an argument index 0..5.
export const CAPTURE_NONE = 0;
/** NUL-terminated string, at most 4096 bytes. */
export const CAPTURE_CSTRING = 1;
/** Bytes; length is argument `param`. */
export const CAPTURE_BUFFER = 2;
/** Bytes; length is the result of the call (exit only). */
export const CAPTURE_RESULT = 3;
/** A struct of `param` bytes. */
export const CAPTURE_STRUCT = 4;
/**
 * struct iovec array at the argument, count in argument `param` (payload `full` = count). Bytes: the first n =
 * min(count, 16) iovecs (16 bytes each), then of each of these in turn min(iov_len, data limit) bytes of data. At exit
 * that may be more than the call returned: the reader looks at the result.
 */
export const CAPTURE_IOVEC = 5;
/** struct msghdr: 56 bytes, name (≤ 128, padded to 8), control (≤ 256, padded to 8), then as CAPTURE_IOVEC. */
export const CAPTURE_MSGHDR = 6;
/** NULL-terminated array of strings: bytes are the strings with their NULs (≤ 4096 in all); `full` = how many there are. */
export const CAPTURE_STRINGS = 7;
/** As CAPTURE_STRINGS, but only counted: no bytes, `full` = how many. */
export const CAPTURE_COUNT = 8;
/** Bytes; length is the u32 that argument `param` points to (accept's address). */
export const CAPTURE_LENGTH_AT = 9;
/** Bit set for argument `param` file descriptors, in whole 8-byte words (select). */
export const CAPTURE_BITS = 10;
/** Array: element size param >> 3, count in argument param & 7 (poll); `full` = count. At most data limit × 8 bytes. */
export const CAPTURE_ARRAY = 11;
/** Array: element size `param`, count is the result (epoll_wait; exit only); `full` = count. At most data limit × 8 bytes. */
export const CAPTURE_RESULT_ARRAY = 12;

/** Directory entries (getdents64), as many bytes as the result says: only counted, `full` = how many (exit only). */
export const CAPTURE_ENTRIES = 13;

// A payload: u8 argument, u8 capture kind, u16 bytes that follow, u32 full length (or count), bytes, padding to 8.
/** Kind of a payload whose pointer could not be read: no bytes. */
export const PAYLOAD_FAULT = 15;
export const PAYLOAD_HEADER = 8;
/** Most bytes of a string or of an array of strings. */
export const STRING_MAX = 4096;

// ── The action table: one byte per system call number below ACTION_NUMBERS ───────────────────────────────────────────
// Read by the entry stub before anything is saved: 0 goes straight to the kernel. One byte more, at ACTION_NUMBERS, is for
// all greater numbers, none of which is a system call.
export const ACTION_NUMBERS = 4096;
/** Recorded in the ring. */
export const ACTION_RECORD = 1;
/** Needs care whether it is recorded or not (clone, execve, mmap, …). */
export const ACTION_SPECIAL = 2;
/** Answered with 0 without a call (the built-in constant hook). */
export const ACTION_CONSTANT = 4;
/** Goes through the whole stub although nobody looks at it (the built-in no-op hook). */
export const ACTION_NOOP = 8;
/** Answered by the C hook. */
export const ACTION_HOOK = 16;
/** Has pointer arguments, none of which may lead into page 0. Two more where that is the first alone, or the second. */
export const ACTION_POINTERS = 32;
export const ACTION_FIRST_POINTER = 96;
export const ACTION_SECOND_POINTER = 160;

// ── Pointer arguments: a row of 8 bytes for each number below POINTER_NUMBERS ────────────────────────────────────────
// Bits 0…5: the arguments in which a number below 4096 must be looked at. Bits 32…37: those in which 0 need not. Bit 6:
// there are pointers in what one of them points to. From bit 8 on four bits an argument: what it is.
export const POINTER_NUMBERS = 512;
export const POINTER_NESTED = 64;
export const POINTER_KINDS = 8;
export const POINTER_OPTIONALS = 32;
export const POINTER_REQUIRED = 1;
export const POINTER_OPTIONAL = 2;
/** Start of a range of memory; its length is the next argument. */
export const POINTER_ADDRESS = 3;
/** What it is depends on other arguments. */
export const POINTER_CONDITIONAL = 4;
/** As POINTER_REQUIRED: struct iovec with data for the kernel, as many as the next argument says. */
export const POINTER_IOVEC = 5;
/** As POINTER_REQUIRED: struct msghdr with data for the kernel. */
export const POINTER_MSGHDR = 6;
/** This and more: as POINTER_REQUIRED, a path, which may be missing when that argument (0…5) has AT_EMPTY_PATH. */
export const POINTER_EMPTY_PATH = 8;

// ── The trap: SIGSYS of Syscall User Dispatch ────────────────────────────────────────────────────────────────────────
export const SIGSYS = 31;
/** si_code of a call from outside of our text (asm-generic/siginfo.h). */
export const SYS_USER_DISPATCH = 2;
/** Words of `zp_trapped`; a power of two. */
export const TRAP_CACHE = 4096;
// What the handler leaves for a call by `int $0x80`: stack pointer, address after the site, room for rax.
export const INT80_SP = 0;
export const INT80_IP = 8;
export const INT80_RAX = 16;
export const INT80_SIZE = 32;
/** Bytes below the frame of such a call: rbx rcx rdx rsi rdi rbp r8 r9 r10 r11. */
export const INT80_SAVED = 80;

// ── The sled at VA 0 ─────────────────────────────────────────────────────────────────────────────────────────────────
// Page 0 repeats `e9 90 90 90 XX`. Landing at offset 5k is `jmp rel32`; at 5k+1…3 it is nops, then XX as a prefix that a
// jump ignores, then the next `jmp`; at 5k+4 the prefixed jump. All of them reach (XX << 24 | 0x909095) + 5k: a slot.
export const SLED_SIZE = 4096;
/** Bytes of a group, and of a slot. */
export const SLED_STEP = 5;
export const SLED_JUMP = 0xe9;
export const SLED_NOP = 0x90;
/** Address of slot 0 without its top byte. */
export const SLOTS_LOW = 0x909095;
/**
 * Pages that hold the 820 slots, and behind them: the address of the entry stub, and for each slot a pad of SLOT_PAD_SIZE
 * bytes, to which it jumps. The pad leaves the number of the slot in LANDING_SLOT and goes on to the entry stub.
 */
export const SLOTS_SIZE = 32768;
export const SLOTS_ENTRY = 4280;
export const SLOTS_PADS = 4288;
export const SLOT_PAD_SIZE = 32;

// ── A landing: what is kept of the registers until it is known that the call came from a rewritten site ──────────────
// It lies below the red zone of the stack pointer that page 0 was entered with. 16 words first: the registers by number.
export const LANDING_RCX = 8;
export const LANDING_RSP = 32;
export const LANDING_R11 = 88;
export const LANDING_FLAGS = 128;
/** u32: number of the slot that was reached. */
export const LANDING_SLOT = 136;
export const LANDING_SIZE = 144;
/** From the landing to the stack pointer that page 0 was entered with: the landing, then the red zone. */
export const LANDING_TO_SP = 272;

// ── The cache of known sites: return addresses, each at the place that its two low bytes give ────────────────────────
/** The place is the low byte, plus this times the next one. */
export const SITES_FACTOR = 8;
/** A word of the cache, the return address and this add up to 0; no return address does so with an empty word. */
export const SITES_BIAS = 0x5a505a51;
/** Bytes: the greatest place is 255 + 255 * SITES_FACTOR. */
export const SITES_SIZE = 18368;
