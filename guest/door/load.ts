/**
 * Maps a program or its interpreter as the kernel would (fs/binfmt_elf.c): same addresses, same protections, same bytes
 * behind the end of the file.
 *
 * Runs once per process, in the loader door, with one thread.
 */
import { syscall6 } from "../std/raw";
import {
  EINVAL,
  ENOMEM,
  failed,
  MAP_ANONYMOUS,
  MAP_FIXED,
  MAP_FIXED_NOREPLACE,
  MAP_NORESERVE,
  MAP_PRIVATE,
  PROT_EXEC,
  PROT_READ,
  PROT_WRITE,
  SYS_MMAP,
  unmapPages,
} from "../std/sys";
import { ElfFile, loadedSegment, P_ALIGN, P_FILESZ, P_MEMSZ, P_OFFSET, P_VADDR, protectionOf } from "./elf";

const PAGE: usize = 4096;
const PAGE_MASK: usize = ~(<usize>4095);
/** End of user addresses (TASK_SIZE). */
const USER_END: usize = 0x0000_7fff_ffff_f000;

/** Where an image lies; addresses of the process, as the kernel's struct mm_struct has them. */
// @ts-ignore: decorator
@unmanaged
export class Loaded {
  /** What is added to the addresses in the file. */
  bias: usize;
  entry: usize;
  /** The program headers; 0 when no segment holds them. */
  headers: usize;
  startCode: usize;
  endCode: usize;
  startData: usize;
  endData: usize;
  /** End of the last segment with its zeroed bytes, page-aligned. */
  end: usize;
}

// @ts-ignore: decorator
@inline
function pageDown(address: usize): usize {
  return address & PAGE_MASK;
}

// @ts-ignore: decorator
@inline
function pageUp(address: usize): usize {
  return (address + PAGE - 1) & PAGE_MASK;
}

/**
 * Maps the segments of `file`. `at`: where the first page of one that is movable shall lie, or 0: where the kernel puts
 * mappings. Returns 0, or -errno with nothing mapped (EEXIST: something lies there).
 */
export function mapElf(file: ElfFile, at: usize, loaded: Loaded): i64 {
  let low: usize = <usize>-1;
  let high: usize = 0;
  let align: usize = PAGE;
  for (let i: usize = 0; i < file.count; i++) {
    const header = loadedSegment(file, i);
    if (!header) continue;
    const start = load<usize>(header, P_VADDR);
    const size = load<usize>(header, P_MEMSZ);
    if (load<usize>(header, P_FILESZ) > size || start >= USER_END || size > USER_END - start) return -EINVAL;
    if (start < low) low = start;
    if (start + size > high) high = start + size;
    const wanted = load<usize>(header, P_ALIGN);
    if (wanted > align && !(wanted & (wanted - 1))) align = wanted;
  }
  low = pageDown(low);
  const size = pageUp(high) - low;
  const base = reserve(file.movable ? at & ~(align - 1) : low, size, file.movable ? align : PAGE, !file.movable || at != 0);
  if (failed(base)) return base;
  loaded.bias = <usize>base - low;
  loaded.end = <usize>base + size;
  const error = mapSegments(file, loaded, <usize>base);
  if (error) unmapPages(<usize>base, size);
  return error;
}

/** `size` bytes of addresses that nothing can be read from, at `at` or (`fixed` false) anywhere, so aligned. */
function reserve(at: usize, size: usize, align: usize, fixed: bool): i64 {
  const flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
  if (fixed) return syscall6(SYS_MMAP, at, size, 0, flags | MAP_FIXED_NOREPLACE, <u64>-1, 0);
  const slack = align - PAGE;
  const pages = syscall6(SYS_MMAP, 0, size + slack, 0, flags, <u64>-1, 0);
  if (failed(pages) || !slack) return pages;
  const base = (<usize>pages + slack) & ~(align - 1);
  if (base > <usize>pages) unmapPages(<usize>pages, base - <usize>pages);
  if (base < <usize>pages + slack) unmapPages(base + size, <usize>pages + slack - base);
  return base;
}

function mapSegments(file: ElfFile, loaded: Loaded, base: usize): i64 {
  const bias = loaded.bias;
  loaded.entry = bias + file.entry;
  loaded.headers = 0;
  loaded.startCode = <usize>-1;
  loaded.endCode = loaded.startData = loaded.endData = 0;
  /** End of what is mapped of the reserved addresses. */
  let mapped = base;
  for (let i: usize = 0; i < file.count; i++) {
    const header = loadedSegment(file, i);
    if (!header) continue;
    const start = bias + load<usize>(header, P_VADDR);
    const size = load<usize>(header, P_FILESZ);
    const offset = load<usize>(header, P_OFFSET);
    const error = mapSegment(file.fd, header, start);
    if (error) return error;
    if (pageDown(start) > mapped) unmapPages(mapped, pageDown(start) - mapped);
    const end = pageUp(start + load<usize>(header, P_MEMSZ));
    if (end > mapped) mapped = end;
    if (file.headersOffset >= offset && file.headersOffset < offset + size) {
      loaded.headers = start + (file.headersOffset - offset);
    }
    if (start > loaded.startData) loaded.startData = start;
    if (protectionOf(header) & PROT_EXEC) {
      if (start < loaded.startCode) loaded.startCode = start;
      if (start + size > loaded.endCode) loaded.endCode = start + size;
    }
    if (start + size > loaded.endData) loaded.endData = start + size;
  }
  return 0;
}

function mapSegment(fd: i64, header: usize, start: usize): i64 {
  const protection = protectionOf(header);
  const fileEnd = start + load<usize>(header, P_FILESZ);
  const end = start + load<usize>(header, P_MEMSZ);
  const first = pageDown(start);
  let zeroes = first;
  if (fileEnd > start) {
    const offset = load<usize>(header, P_OFFSET) - (start - first);
    if (offset & (PAGE - 1)) return -EINVAL;
    const pages = syscall6(SYS_MMAP, first, pageUp(fileEnd) - first, protection, MAP_PRIVATE | MAP_FIXED, fd, offset);
    if (failed(pages)) return pages;
    zeroes = pageUp(fileEnd);
    if (end > fileEnd && protection & PROT_WRITE) memory.fill(fileEnd, 0, zeroes - fileEnd);
  }
  if (pageUp(end) <= zeroes) return 0;
  const flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;
  const kept = PROT_READ | PROT_WRITE | (protection & PROT_EXEC);
  const pages = syscall6(SYS_MMAP, zeroes, pageUp(end) - zeroes, kept, flags, <u64>-1, 0);
  return failed(pages) ? -ENOMEM : 0;
}
