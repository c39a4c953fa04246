/**
 * What a file shows of how it will be executed (fs/binfmt_elf.c, fs/binfmt_script.c), for those who must know beforehand
 * whether it will be hooked.
 */
import { isRegular, O_NONBLOCK, openAt, Stat, statDescriptor } from "../std/files";
import { cstr } from "../std/cstr";
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
  SYS_PRCTL,
  SYS_READ,
  unmapPages,
} from "../std/sys";

const PAGE: usize = 4096;
/** The page that is read, then the name of an interpreter, then a Stat. */
const NAME_AT: usize = PAGE;
const STAT_AT: usize = 2 * PAGE;
const SIZE: usize = 3 * PAGE;

const SYS_GETUID: u64 = 102;
const SYS_FGETXATTR: u64 = 193;
const PR_GET_NO_NEW_PRIVS: u64 = 39;

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
 * Whether the program at `path` (from `directory`, as openat(2) takes both), or the interpreter of the script there, will be
 * loaded by a dynamic loader that minds LD_PRELOAD. No: static programs, those for another architecture, those that get
 * rights. What cannot be read counts as yes.
 */
export function loadsLibraries(directory: i64, path: usize): bool {
  const pages = mapPages(SIZE);
  if (failed(pages)) return true;
  let answer: bool = true;
  let start = directory;
  let from = path;
  for (let scripts: u32 = 0; scripts < MOST_SCRIPTS; scripts++) {
    const fd = openAt(start, from, O_RDONLY | O_NONBLOCK | O_CLOEXEC, 0);
    if (failed(fd)) break;
    const read = readHead(fd, <usize>pages);
    const capable = read && hasCapabilities(fd);
    closeFile(fd);
    if (!read) break;
    if (load<u16>(<usize>pages) == SCRIPT) {
      start = <i64>AT_FDCWD;
      from = interpreterOf(<usize>pages);
      continue;
    }
    answer = !capable && !gainsRights(changetype<Stat>(<usize>pages + STAT_AT)) && hasInterpreter(<usize>pages);
    break;
  }
  unmapPages(<usize>pages, SIZE);
  return answer;
}

/** The first page of a regular file, and its Stat. */
function readHead(fd: i64, pages: usize): bool {
  const stat = changetype<Stat>(pages + STAT_AT);
  memory.fill(pages, 0, PAGE);
  return statDescriptor(fd, stat) && isRegular(stat) && syscall6(SYS_READ, fd, pages, PAGE, 0, 0, 0) > 0;
}

/** File capabilities mean nothing to root, who has them all (capabilities(7)). */
function hasCapabilities(fd: i64): bool {
  if (syscall6(SYS_GETUID, 0, 0, 0, 0, 0, 0) == 0) return false;
  return syscall6(SYS_FGETXATTR, fd, cstr("security.capability"), 0, 0, 0, 0) > 0;
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

/** Then ld.so is told AT_SECURE, and drops LD_PRELOAD. Not where no rights can be gained any more (PR_SET_NO_NEW_PRIVS). */
function gainsRights(stat: Stat): bool {
  if (syscall6(SYS_PRCTL, PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0, 0) == 1) return false;
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
