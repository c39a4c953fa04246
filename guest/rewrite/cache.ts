/**
 * The site cache: what was decided about the sites of a mapped file, kept from one start to the next. A file in it holds the
 * list of one mapping (list.ts) behind a header that says of which bytes it speaks. It is used only where all of that is so
 * again: the same file, unchanged (docs/cache.md), the same part of it in the same image, this very build of zpoline, and
 * the same bytes at every site. Whatever goes wrong, there is no cache, and the search is made.
 *
 * Who runs this: as rewrite.ts says. Descriptors are closed before the program goes on.
 */
import { sameBytes } from "../std/bytes";
import {
  isRegular,
  O_CREAT,
  O_EXCL,
  O_NOFOLLOW,
  O_NONBLOCK,
  O_WRONLY,
  openAt,
  quietWrite,
  renameIn,
  Stat,
  statDescriptor,
  statFile,
  unlinkIn,
} from "../std/files";
import { syscall6 } from "../std/raw";
import { CLOCK_REALTIME, closeFile, failed, O_CLOEXEC, O_RDONLY, SYS_CLOCK_GETTIME, SYS_GETPID, SYS_READ } from "../std/sys";
import { cachePath, createDirectory, isTrusted, MOST_PATH, openDirectory } from "./cache-directory";
import { Bounds } from "./describe";
import { prefersJump } from "./kinds";
import { Entry, entryAt, mayCall, PlanList } from "./list";
import { Mapping } from "./maps";
import { MOST_AFTER, MOST_BEFORE } from "./window";

// @ts-ignore: decorator
@external("symbol", "__image_start")
declare function imageStart(): usize;

/** What a file of the cache begins with; entries follow. */
// @ts-ignore: decorator
@unmanaged
export class CacheHeader {
  magic: u64;
  /** Build id of the library that wrote it. */
  build0: u64;
  build1: u64;
  /** Of all that follows. */
  checksum: u64;
  count: u64;
  /** Of the bytes at the sites. */
  code: u64;
  // From here on the key: what planPatch was asked for, the file, the mapping, the image that it is part of, and the image's
  // first page.
  prefersJump: u64;
  device: u64;
  inode: u64;
  size: u64;
  mtime: u64;
  mtimeNs: u64;
  ctime: u64;
  ctimeNs: u64;
  offset: u64;
  length: u64;
  low: u64;
  high: u64;
  page: u64;
}
const MAGIC: u64 = 0x32_45_4e_49_4c_4f_50_5a; // "ZPOLINE2"
const KEY_AT: usize = offsetof<CacheHeader>("prefersJump");
const CHECKED_AT: usize = offsetof<CacheHeader>("count");

/** What one run of the rewriter keeps for the cache. */
// @ts-ignore: decorator
@unmanaged
export class CacheWork {
  /** The directory: a descriptor, or negative. */
  directory: i64;
  /** Whether it was looked for. */
  looked: u32;
  enabled: u32;
  // Then a Stat, a CacheHeader (the key that is wanted), a file name and a temporary one, the directory's path.
}
const STAT_AT: usize = offsetof<CacheWork>();
const WANTED_AT: usize = STAT_AT + offsetof<Stat>();
const NAME_AT: usize = WANTED_AT + offsetof<CacheHeader>();
const NAME_SIZE: usize = 16;
const TEMPORARY_AT: usize = NAME_AT + 32;
const PATH_AT: usize = TEMPORARY_AT + 64;
export const CACHE_SIZE: usize = PATH_AT + MOST_PATH;

/** A smaller text is searched in less time than it takes to open a file. */
const LEAST_TEXT: usize = 32768;
/** A file that changed less than so many seconds ago may change again without a new time stamp. */
const SETTLED: i64 = 2;

// @ts-ignore: decorator
@inline
function statOf(work: CacheWork): Stat {
  return changetype<Stat>(changetype<usize>(work) + STAT_AT);
}

// @ts-ignore: decorator
@inline
function wantedOf(work: CacheWork): CacheHeader {
  return changetype<CacheHeader>(changetype<usize>(work) + WANTED_AT);
}

// @ts-ignore: decorator
@inline
function headerOf(list: PlanList): CacheHeader {
  return changetype<CacheHeader>(list.first - offsetof<CacheHeader>());
}

export function openCache(work: CacheWork): void {
  work.looked = 0;
  work.directory = -1;
}

export function closeCache(work: CacheWork): void {
  if (work.directory >= 0) closeFile(work.directory);
}

/**
 * Fills the list from the cache; room for a CacheHeader is before its first entry. [start, end) is the whole mapping, and
 * shows the file as it is. False when there is nothing that can be used; then storePlans may be called with what is found.
 */
export function loadPlans(work: CacheWork, list: PlanList, mapping: Mapping, bounds: Bounds): bool {
  if (!hasDirectory(work) || !makeKey(work, mapping, bounds) || work.directory < 0) return false;
  const name = changetype<usize>(work) + NAME_AT;
  const fd = openAt(work.directory, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0);
  if (failed(fd)) return false;
  const stat = statOf(work);
  const header = headerOf(list);
  const room = offsetof<CacheHeader>() + <usize>list.most * offsetof<Entry>();
  let length: i64 = 0;
  if (statDescriptor(fd, stat) && isRegular(stat) && isTrusted(stat)) {
    length = syscall6(SYS_READ, fd, changetype<usize>(header), room, 0, 0, 0);
  }
  closeFile(fd);
  if (!isWhole(header, length, wantedOf(work))) return false;
  list.count = <u32>header.count;
  if (isPlausible(list, mapping.end - mapping.start) && codeHash(list, mapping.start) == header.code) return true;
  list.count = 0;
  return false;
}

/** Keeps the list that the search has made, before anything is patched. */
export function storePlans(work: CacheWork, list: PlanList, mapping: Mapping): void {
  const wanted = wantedOf(work);
  if (!work.enabled || !wanted.magic || list.count > list.most || isUnsettled(work)) return;
  const path = changetype<usize>(work) + PATH_AT;
  if (work.directory < 0) {
    createDirectory(path, statOf(work));
    work.directory = openDirectory(path, statOf(work));
    if (work.directory < 0) {
      work.enabled = 0;
      return;
    }
  }
  const header = headerOf(list);
  memory.copy(changetype<usize>(header), changetype<usize>(wanted), offsetof<CacheHeader>());
  header.count = list.count;
  header.code = codeHash(list, mapping.start);
  const length = offsetof<CacheHeader>() + <usize>list.count * offsetof<Entry>();
  header.checksum = hash(changetype<usize>(header) + CHECKED_AT, length - CHECKED_AT);
  writeFile(work, changetype<usize>(header), length);
}

/** The file gets its name only when it is whole, so that whoever reads it reads all of it. */
function writeFile(work: CacheWork, bytes: usize, length: usize): void {
  const name = changetype<usize>(work) + NAME_AT;
  const temporary = changetype<usize>(work) + TEMPORARY_AT;
  memory.copy(temporary, name, NAME_SIZE);
  store<u8>(temporary, 0x2e, NAME_SIZE);
  writeHex(temporary + NAME_SIZE + 1, <u64>syscall6(SYS_GETPID, 0, 0, 0, 0, 0, 0) ^ <u64>changetype<usize>(work));
  const fd = openAt(work.directory, temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o600);
  if (failed(fd)) return;
  const whole = quietWrite(fd, bytes, length, changetype<usize>(statOf(work))) == <i64>length;
  closeFile(fd);
  if (!whole || failed(renameIn(work.directory, temporary, name))) unlinkIn(work.directory, temporary);
}

function hasDirectory(work: CacheWork): bool {
  if (work.looked) return work.enabled != 0;
  work.looked = 1;
  const path = changetype<usize>(work) + PATH_AT;
  work.enabled = cachePath(path) ? 1 : 0;
  if (work.enabled) work.directory = openDirectory(path, statOf(work));
  return work.enabled != 0;
}

/** Fills the wanted header and the name of the file; false, and no magic in it, where this mapping is not to be cached. */
function makeKey(work: CacheWork, mapping: Mapping, bounds: Bounds): bool {
  const wanted = wantedOf(work);
  const stat = statOf(work);
  wanted.magic = 0;
  if (mapping.end - mapping.start < LEAST_TEXT || !bounds.count) return false;
  const end = mapping.name + <usize>mapping.nameLength;
  if (load<u8>(end)) store<u8>(end, 0); // instead of the end of the line
  // The name may lead to another file by now.
  if (!statFile(mapping.name, stat) || stat.inode != mapping.inode || !isRegular(stat)) return false;
  if (!readBuild(wanted)) return false;
  wanted.magic = MAGIC;
  wanted.prefersJump = prefersJump ? 1 : 0;
  wanted.device = stat.device;
  wanted.inode = stat.inode;
  wanted.size = stat.size;
  wanted.mtime = stat.mtime;
  wanted.mtimeNs = stat.mtimeNs;
  wanted.ctime = stat.ctime;
  wanted.ctimeNs = stat.ctimeNs;
  wanted.offset = mapping.offset;
  wanted.length = mapping.end - mapping.start;
  wanted.low = mapping.start - bounds.low;
  wanted.high = bounds.high - bounds.low;
  wanted.page = hash(bounds.low, 4096);
  writeHex(changetype<usize>(work) + NAME_AT, nameHash(wanted));
  return true;
}

/** A changed file takes the place of its old self; plans of other kinds lie beside. */
function nameHash(wanted: CacheHeader): u64 {
  let h = mix(mix(wanted.build0 + wanted.prefersJump, wanted.device), wanted.inode);
  h = mix(h, wanted.offset);
  return mix(h, h >> 32);
}

function isUnsettled(work: CacheWork): bool {
  const time = changetype<usize>(work) + TEMPORARY_AT;
  syscall6(SYS_CLOCK_GETTIME, CLOCK_REALTIME, time, 0, 0, 0, 0);
  return load<i64>(time) - <i64>wantedOf(work).ctime < SETTLED;
}

function isWhole(header: CacheHeader, length: i64, wanted: CacheHeader): bool {
  if (length < <i64>offsetof<CacheHeader>() || header.magic != MAGIC) return false;
  if (header.build0 != wanted.build0 || header.build1 != wanted.build1) return false;
  if (<u64>length != <u64>offsetof<CacheHeader>() + header.count * <u64>offsetof<Entry>()) return false;
  const key = offsetof<CacheHeader>() - KEY_AT;
  if (!sameBytes(changetype<usize>(header) + KEY_AT, changetype<usize>(wanted) + KEY_AT, key)) return false;
  return header.checksum == hash(changetype<usize>(header) + CHECKED_AT, <usize>length - CHECKED_AT);
}

/** Whether the entries and their windows lie in order inside of a mapping of `length` bytes. */
function isPlausible(list: PlanList, length: usize): bool {
  let end: usize = 0;
  for (let i: u32 = 0; i < list.count; i++) {
    const entry = entryAt(list, i);
    const before = <usize>entry.before;
    const after = <usize>entry.after;
    if (before > MOST_BEFORE || after > MOST_AFTER) return false;
    if (<usize>entry.offset < end + before || <usize>entry.offset + 2 + after > length) return false;
    end = <usize>entry.offset + (mayCall(entry) || before || after ? 2 + after : 1);
  }
  return true;
}

/** The bytes of the sites, and around them as far as windows reach. */
function codeHash(list: PlanList, start: usize): u64 {
  let h: u64 = list.count;
  for (let i: u32 = 0; i < list.count; i++) {
    const entry = entryAt(list, i);
    const site = start + entry.offset;
    h = mix(h, load<u16>(site));
    for (let back: u32 = 8; back <= <u32>MOST_BEFORE && back <= entry.offset; back += 8) h = mix(h, load<u64>(site - back));
    for (let p = site + 2; p < site + 2 + entry.after; p++) h = mix(h, load<u8>(p));
  }
  return h;
}

// @ts-ignore: decorator
@inline
function mix(h: u64, word: u64): u64 {
  return rotl(h ^ word, 29) * 0x9e3779b97f4a7c15;
}

/** Of `length` bytes, a multiple of 4. */
function hash(bytes: usize, length: usize): u64 {
  let h: u64 = length;
  const end = bytes + (length & ~7);
  for (let p = bytes; p < end; p += 8) h = mix(h, load<u64>(p));
  if (length & 4) h = mix(h, load<u32>(end));
  return h ^ (h >> 32);
}

/** 16 digits and a NUL. */
function writeHex(to: usize, value: u64): void {
  for (let i: usize = 0; i < 16; i++) {
    const digit = <u32>(value >> 60);
    store<u8>(to + i, <u8>(digit < 10 ? 0x30 + digit : 0x57 + digit));
    value <<= 4;
  }
  store<u8>(to, 0, 16);
}

// Our own image (elf(5)).
const PHDR_SIZE: usize = 56;
const PT_NOTE: u32 = 4;
const NT_GNU_BUILD_ID: u32 = 3;

/** Our build id, which changes with every change of this code. */
function readBuild(wanted: CacheHeader): bool {
  const image = imageStart();
  const headers = image + load<usize>(image, 32); // e_phoff
  const count = <usize>load<u16>(image, 56); // e_phnum
  for (let i: usize = 0; i < count; i++) {
    const header = headers + i * PHDR_SIZE;
    const note = image + load<usize>(header, 16);
    if (load<u32>(header) != PT_NOTE || load<u32>(note, 8) != NT_GNU_BUILD_ID) continue;
    wanted.build0 = load<u64>(note, 16);
    wanted.build1 = load<u64>(note, 24);
    return true;
  }
  return false;
}
