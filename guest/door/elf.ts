/**
 * A program file, read and judged as the kernel does (fs/binfmt_elf.c, load_elf_binary): what it takes, and what is
 * ENOEXEC.
 *
 * Who runs this: the loader door at its start, and any thread at an exec. The room is the caller's.
 */
import { syscall6 } from "../std/raw";
import { failed, PROT_EXEC, PROT_READ, PROT_WRITE } from "../std/sys";

const SYS_PREAD64: u64 = 17;

// elf(5)
const ELF_MAGIC: u32 = 0x464c457f;
const ELFCLASS64: u8 = 2;
const ET_EXEC: u16 = 2;
const ET_DYN: u16 = 3;
const EM_X86_64: u16 = 62;
const E_TYPE: usize = 16;
const E_MACHINE: usize = 18;
const E_ENTRY: usize = 24;
const E_PHOFF: usize = 32;
const E_PHENTSIZE: usize = 54;
const E_PHNUM: usize = 56;
export const PHDR_SIZE: usize = 56;
export const PT_LOAD: u32 = 1;
const PT_INTERP: u32 = 3;
const PT_GNU_STACK: u32 = 0x6474e551;
const PF_X: u32 = 1;
const PF_W: u32 = 2;
const PF_R: u32 = 4;
const P_FLAGS: usize = 4;
export const P_OFFSET: usize = 8;
export const P_VADDR: usize = 16;
export const P_FILESZ: usize = 32;
export const P_MEMSZ: usize = 40;
export const P_ALIGN: usize = 48;

export const ENOEXEC: i64 = 8;
const EIO: i64 = 5;

const PAGE: usize = 4096;
/** The kernel takes no more program headers (ELF_MIN_ALIGN … 65536 bytes). */
const MOST_HEADERS: usize = 65536;
/** PATH_MAX */
const MOST_NAME: usize = 4096;

/** The file whose descriptor is `fd`, its first page, its program headers, the name of its interpreter. */
// @ts-ignore: decorator
@unmanaged
export class ElfFile {
  fd: i64;
  /** Address of the program headers, and how many there are. */
  headers: usize;
  count: usize;
  headersOffset: usize;
  entry: usize;
  /** NUL-terminated path of the interpreter; 0 when there is none. */
  interpreter: usize;
  /** Not ET_EXEC: it can be anywhere. */
  movable: u32;
  executableStack: u32;
}
const HEAD_AT: usize = offsetof<ElfFile>();
const HEADERS_AT: usize = HEAD_AT + PAGE;
const NAME_AT: usize = HEADERS_AT + MOST_HEADERS;
/** Bytes of an ElfFile with all that belongs to it. Only what is used becomes real. */
export const ELF_ROOM: usize = NAME_AT + MOST_NAME;

/** Address of the first bytes of the file, PAGE of them, zero behind its end. */
export function headOf(file: ElfFile): usize {
  return changetype<usize>(file) + HEAD_AT;
}

/** Reads the first page of `fd` into `file`; 0 or -errno. */
export function readHead(file: ElfFile, fd: i64): i64 {
  file.fd = fd;
  const head = headOf(file);
  memory.fill(head, 0, PAGE);
  const n = syscall6(SYS_PREAD64, fd, head, PAGE, 0, 0, 0);
  return n < 0 ? n : 0;
}

/** Whether the first bytes are those of an ELF file, of whatever kind. */
export function hasMagic(file: ElfFile): bool {
  return load<u32>(headOf(file)) == ELF_MAGIC;
}

/** Whether it is for this architecture: only then the kernel's answer to it is ours to give. */
export function isNative(file: ElfFile): bool {
  const head = headOf(file);
  return load<u8>(head, 4) == ELFCLASS64 && load<u16>(head, E_MACHINE) == EM_X86_64;
}

/** After readHead: 0, or -errno of what the kernel does not take. `interpreter`: it is one, and names none itself. */
export function openElf(file: ElfFile, interpreter: bool): i64 {
  const head = headOf(file);
  const type = load<u16>(head, E_TYPE);
  if (!hasMagic(file) || !isNative(file) || (type != ET_EXEC && type != ET_DYN)) return -ENOEXEC;
  if (load<u16>(head, E_PHENTSIZE) != <u16>PHDR_SIZE) return -ENOEXEC;
  const count = <usize>load<u16>(head, E_PHNUM);
  const size = count * PHDR_SIZE;
  if (!count || size > MOST_HEADERS) return -ENOEXEC;
  file.movable = type == ET_DYN ? 1 : 0;
  file.entry = load<usize>(head, E_ENTRY);
  file.count = count;
  file.headersOffset = load<usize>(head, E_PHOFF);
  file.interpreter = 0;
  file.executableStack = 0;
  file.headers = head + file.headersOffset;
  if (file.headersOffset > PAGE - size || size > PAGE) {
    file.headers = changetype<usize>(file) + HEADERS_AT;
    const n = syscall6(SYS_PREAD64, file.fd, file.headers, size, file.headersOffset, 0, 0);
    if (n != <i64>size) return n < 0 ? n : -EIO;
  }
  let loads: u32 = 0;
  for (let i: usize = 0; i < count; i++) {
    const header = file.headers + i * PHDR_SIZE;
    const kind = load<u32>(header);
    if (kind == PT_LOAD) loads++;
    if (kind == PT_GNU_STACK) file.executableStack = load<u32>(header, P_FLAGS) & PF_X;
    if (kind == PT_INTERP && !interpreter && !file.interpreter) {
      const error = readInterpreter(file, header);
      if (error) return error;
    }
  }
  return loads ? 0 : -ENOEXEC;
}

function readInterpreter(file: ElfFile, header: usize): i64 {
  const length = load<usize>(header, P_FILESZ);
  if (length < 2 || length > MOST_NAME) return -ENOEXEC;
  const name = changetype<usize>(file) + NAME_AT;
  const n = syscall6(SYS_PREAD64, file.fd, name, length, load<u64>(header, P_OFFSET), 0, 0);
  if (n != <i64>length) return n < 0 ? n : -EIO;
  if (load<u8>(name + length - 1)) return -ENOEXEC;
  file.interpreter = name;
  return 0;
}

/** Header of the `i`-th segment if it is to be loaded, else 0. */
// @ts-ignore: decorator
@inline
export function loadedSegment(file: ElfFile, i: usize): usize {
  const header = file.headers + i * PHDR_SIZE;
  return load<u32>(header) == PT_LOAD ? header : 0;
}

/** PROT_* of a segment. */
export function protectionOf(header: usize): u64 {
  const flags = load<u32>(header, P_FLAGS);
  return (flags & PF_R ? PROT_READ : 0) | (flags & PF_W ? PROT_WRITE : 0) | (flags & PF_X ? PROT_EXEC : 0);
}
