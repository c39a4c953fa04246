/** What a file shows of how it will be executed (fs/binfmt_elf.c, fs/binfmt_script.c): for the audit log. */
import { isRegular, O_NONBLOCK, openAt, Stat, statDescriptor } from "../std/files";
import { syscall6 } from "../std/raw";
import {
  AT_FDCWD,
  closeFile,
  failed,
  mapPages,
  O_CLOEXEC,
  O_RDONLY,
  SYS_GETEGID,
  SYS_GETEUID,
  SYS_READ,
  unmapPages,
} from "../std/sys";

const PAGE: usize = 4096;
/** The page that is read, then the name of an interpreter, then a Stat. */
const NAME_AT: usize = PAGE;
const STAT_AT: usize = 2 * PAGE;
const SIZE: usize = 3 * PAGE;

const SCRIPT: u16 = 0x2123; // #!
const MOST_SCRIPTS: u32 = 5;
const ELF_MAGIC: u32 = 0x464c457f;
const ELFCLASS64: u8 = 2;
const EM_X86_64: u16 = 62;
const PHDR_SIZE: usize = 56;
const PT_INTERP: u32 = 3;
const S_ISUID: u32 = 0o4000;
const S_ISGID_XGRP: u32 = 0o2010;

/**
 * Whether the program at `path`, or the interpreter of the script there, will be loaded by a dynamic loader that minds
 * LD_PRELOAD. No: static programs, those for another architecture, setuid and setgid ones. What cannot be read counts as yes.
 */
export function loadsLibraries(path: usize): bool {
  const pages = mapPages(SIZE);
  if (failed(pages)) return true;
  let answer: bool = true;
  let from = path;
  for (let scripts: u32 = 0; scripts < MOST_SCRIPTS; scripts++) {
    if (!readHead(from, <usize>pages)) break;
    if (load<u16>(<usize>pages) == SCRIPT) {
      from = interpreterOf(<usize>pages);
      continue;
    }
    answer = !gainsRights(changetype<Stat>(<usize>pages + STAT_AT)) && hasInterpreter(<usize>pages);
    break;
  }
  unmapPages(<usize>pages, SIZE);
  return answer;
}

/** The first page of a regular file, and its Stat. */
function readHead(path: usize, pages: usize): bool {
  const fd = openAt(AT_FDCWD, path, O_RDONLY | O_NONBLOCK | O_CLOEXEC, 0);
  if (failed(fd)) return false;
  const stat = changetype<Stat>(pages + STAT_AT);
  memory.fill(pages, 0, PAGE);
  const done = statDescriptor(fd, stat) && isRegular(stat) && syscall6(SYS_READ, fd, pages, PAGE, 0, 0, 0) > 0;
  closeFile(fd);
  return done;
}

/** The name behind `#!`, with a NUL: the page ends with one at the latest. */
function interpreterOf(pages: usize): usize {
  let p = pages + 2;
  while (load<u8>(p) == 0x20 || load<u8>(p) == 0x09) p++;
  let to = pages + NAME_AT;
  for (; p < pages + PAGE - 1 && load<u8>(p) > 0x20; p++) store<u8>(to++, load<u8>(p));
  store<u8>(to, 0);
  return pages + NAME_AT;
}

/** Then ld.so is told AT_SECURE, and drops LD_PRELOAD. */
function gainsRights(stat: Stat): bool {
  if (stat.mode & S_ISUID && <i64>stat.uid != syscall6(SYS_GETEUID, 0, 0, 0, 0, 0, 0)) return true;
  const group = (stat.mode & S_ISGID_XGRP) == S_ISGID_XGRP;
  return group && <i64>stat.gid != syscall6(SYS_GETEGID, 0, 0, 0, 0, 0, 0);
}

/** Whether an ELF file for this architecture names its dynamic loader. */
function hasInterpreter(head: usize): bool {
  if (load<u32>(head) != ELF_MAGIC) return true;
  if (load<u8>(head, 4) != ELFCLASS64 || load<u16>(head, 18) != EM_X86_64) return false;
  const first = load<usize>(head, 32);
  const count = <usize>load<u16>(head, 56);
  if (first > PAGE || count * PHDR_SIZE > PAGE - first) return true;
  for (let i: usize = 0; i < count; i++) {
    if (load<u32>(head + first + i * PHDR_SIZE) == PT_INTERP) return true;
  }
  return false;
}
