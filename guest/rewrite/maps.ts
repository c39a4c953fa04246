/** /proc/self/maps, as raw records (proc_pid_maps(5)). */

import { cstr } from "../std/cstr";
import { syscall6 } from "../std/raw";
import { closeFile, failed, mapPages, O_CLOEXEC, O_RDONLY, openFile, SYS_READ, unmapPages } from "../std/sys";

// @ts-ignore: decorator
@unmanaged
export class Mapping {
  start: usize;
  end: usize;
  /** PROT_* bits, and SHARED. */
  protection: u64;
  offset: u64;
  inode: u64;
  /** The name's first byte and its length in bytes; length 0 when the mapping has no name. */
  name: usize;
  nameLength: u64;
}

/** All mappings of the process, in order of address. `address` 0 when /proc cannot be read. */
// @ts-ignore: decorator
@unmanaged
export class Maps {
  /** Pages of this list, for freeMaps. */
  address: usize;
  size: usize;
  count: u64;
  first: usize;
}

/** What is written there goes to the file. */
export const SHARED: u64 = 8;

const MOST_TEXT: usize = 16 << 20;

// @ts-ignore: decorator
@inline
export function mappingAt(maps: Maps, index: u64): Mapping {
  return changetype<Mapping>(maps.first + <usize>index * offsetof<Mapping>());
}

/** Reads the list into fresh pages; 0 when it cannot be read. */
export function readMaps(): usize {
  for (let size: usize = 256 << 10; size <= MOST_TEXT; size <<= 2) {
    const pages = mapPages(size * 2);
    if (failed(pages)) return 0;
    const maps = changetype<Maps>(<usize>pages);
    maps.address = <usize>pages;
    maps.size = size * 2;
    const text = <usize>pages + offsetof<Maps>();
    const room = size - offsetof<Maps>();
    const length = readText(text, room);
    if (length > 0 && <usize>length < room) {
      maps.first = <usize>pages + size;
      maps.count = parseMaps(text, text + <usize>length, maps.first, maps.address + maps.size);
      return <usize>pages;
    }
    freeMaps(maps);
    if (length <= 0) return 0;
  }
  return 0;
}

export function freeMaps(maps: Maps): void {
  unmapPages(maps.address, maps.size);
}

/** Whether the mapping at `address` has no name: memory that is no file's. */
export function isAnonymous(address: usize): bool {
  const list = readMaps();
  if (!list) return false;
  const maps = changetype<Maps>(list);
  let anonymous = false;
  for (let i: u64 = 0; i < maps.count; i++) {
    const mapping = mappingAt(maps, i);
    if (mapping.start <= address && address < mapping.end) anonymous = !mapping.nameLength;
  }
  freeMaps(maps);
  return anonymous;
}

function readText(to: usize, room: usize): i64 {
  const fd = openFile(cstr("/proc/self/maps"), O_RDONLY | O_CLOEXEC);
  if (failed(fd)) return -1;
  let length: usize = 0;
  while (length < room) {
    const n = syscall6(SYS_READ, fd, to + length, room - length, 0, 0, 0);
    if (n <= 0) break;
    length += <usize>n;
  }
  closeFile(fd);
  return <i64>length;
}

/** Parses whole lines of [p, end) into records at `out`, as many as fit before `outEnd`; returns how many. */
export function parseMaps(p: usize, end: usize, out: usize, outEnd: usize): u64 {
  let count: u64 = 0;
  while (p < end && out + offsetof<Mapping>() <= outEnd) {
    const m = changetype<Mapping>(out);
    p = hex(p, end, out + offsetof<Mapping>("start"));
    p = hex(p, end, out + offsetof<Mapping>("end"));
    let protection: u64 = 0;
    for (let bit: u64 = 1; bit <= 4; bit <<= 1) {
      if (p < end && load<u8>(p) != 0x2d) protection |= bit;
      p++;
    }
    if (p < end && load<u8>(p) == 0x73) protection |= SHARED;
    m.protection = protection;
    p = hex(p + 2, end, out + offsetof<Mapping>("offset"));
    p = skipField(p, end); // device
    p = decimal(p, end, out + offsetof<Mapping>("inode"));
    while (p < end && load<u8>(p) == 0x20) p++;
    m.name = p;
    while (p < end && load<u8>(p) != 0x0a) p++;
    m.nameLength = <u64>(p - m.name);
    p++;
    out += offsetof<Mapping>();
    count++;
  }
  return count;
}

/** Stores the hexadecimal number at `p` to `to`; returns the address after the one byte that ends it. */
function hex(p: usize, end: usize, to: usize): usize {
  let value: u64 = 0;
  while (p < end) {
    const c = <u32>load<u8>(p++);
    const digit = c - 0x30;
    const letter = (c | 0x20) - 0x61;
    if (digit < 10) value = (value << 4) | digit;
    else if (letter < 6) value = (value << 4) | (letter + 10);
    else break;
  }
  store<u64>(to, value);
  return p;
}

function decimal(p: usize, end: usize, to: usize): usize {
  let value: u64 = 0;
  while (p < end) {
    const digit = <u32>load<u8>(p) - 0x30;
    if (digit > 9) break;
    value = value * 10 + digit;
    p++;
  }
  store<u64>(to, value);
  return p;
}

function skipField(p: usize, end: usize): usize {
  while (p < end && load<u8>(p) != 0x20) p++;
  return p + 1;
}
