/**
 * What is mapped, where /proc/self/maps cannot be read: the loader's own list of what it has loaded (struct r_debug and
 * struct link_map of <link.h>, the interface of debuggers), and the program headers of each. Good for the start of a
 * program only; mappings that no loader made are not in it.
 */
import { AT_EXECFN, AT_PHDR, AT_PHNUM, AT_SYSINFO_EHDR, auxiliary } from "../process/environment";
import { readable } from "../record/memory";
import { stringLength } from "../std/bytes";
import { cstr } from "../std/cstr";
import { failed, mapPages, PROT_EXEC, PROT_READ, PROT_WRITE } from "../std/sys";
import { Mapping, mappingAt, Maps } from "./maps";

// Program headers and dynamic sections (elf(5)).
const ELF_MAGIC: u32 = 0x464c457f;
const PHDR_SIZE: usize = 56;
const MOST_HEADERS: usize = 64;
const PT_LOAD: u32 = 1;
const PT_DYNAMIC: u32 = 2;
const PT_PHDR: u32 = 6;
const DT_DEBUG: u64 = 21;
const DYN_SIZE: usize = 16;

// struct r_debug, struct link_map.
const R_MAP: usize = 8;
const L_ADDR: usize = 0;
const L_NAME: usize = 8;
const L_NEXT: usize = 24;
const LINK_SIZE: usize = 32;

const SIZE: usize = 1 << 17;
const MOST_MAPPINGS: u64 = <u64>((SIZE - offsetof<Maps>()) / offsetof<Mapping>());
const PAGE_MASK: usize = ~(<usize>4095);

/** As readMaps: fresh pages with a Maps; 0 when there is no such list. Names are where the loader keeps them. */
export function readLinkMap(): usize {
  const headers = <usize>auxiliary(AT_PHDR);
  const count = <usize>auxiliary(AT_PHNUM);
  const debug = headers ? debugOf(headers, count) : 0;
  if (!debug || !readable(debug, R_MAP + 8)) return 0;
  const pages = mapPages(SIZE);
  if (failed(pages)) return 0;
  const maps = changetype<Maps>(<usize>pages);
  maps.address = <usize>pages;
  maps.size = SIZE;
  maps.count = 0;
  maps.first = <usize>pages + offsetof<Maps>();
  const vdso = <usize>auxiliary(AT_SYSINFO_EHDR);
  let object: u64 = 0;
  for (let link = load<usize>(debug, R_MAP); link && readable(link, LINK_SIZE); link = load<usize>(link, L_NEXT)) {
    const bias = load<usize>(link, L_ADDR);
    // The program itself is the first one, and has no name here.
    if (!object++) addSegments(maps, headers, count, bias, <usize>auxiliary(AT_EXECFN), object);
    else if (bias != vdso) addObject(maps, bias, load<usize>(link, L_NAME), object);
  }
  if (vdso) addObject(maps, vdso, cstr("[vdso]"), 0);
  return <usize>pages;
}

/** Where the loader keeps its list, for debuggers: the program's dynamic section says. */
function debugOf(headers: usize, count: usize): usize {
  let bias: usize = 0;
  for (let i: usize = 0; i < count; i++) {
    const header = headers + i * PHDR_SIZE;
    if (load<u32>(header) == PT_PHDR) bias = headers - load<usize>(header, 16);
  }
  for (let i: usize = 0; i < count; i++) {
    const header = headers + i * PHDR_SIZE;
    if (load<u32>(header) != PT_DYNAMIC) continue;
    for (let entry = bias + load<usize>(header, 16); load<u64>(entry); entry += DYN_SIZE) {
      if (load<u64>(entry) == DT_DEBUG) return load<usize>(entry, 8);
    }
  }
  return 0;
}

/** A library, whose first segment begins at its bias, as linkers make them. */
function addObject(maps: Maps, bias: usize, name: usize, object: u64): void {
  if (!readable(bias, 64) || load<u32>(bias) != ELF_MAGIC) return;
  const headers = bias + load<usize>(bias, 32); // e_phoff
  const count = <usize>load<u16>(bias, 56); // e_phnum
  if (count <= MOST_HEADERS && readable(headers, count * PHDR_SIZE)) addSegments(maps, headers, count, bias, name, object);
}

function addSegments(maps: Maps, headers: usize, count: usize, bias: usize, name: usize, object: u64): void {
  for (let i: usize = 0; i < count; i++) {
    const header = headers + i * PHDR_SIZE;
    if (load<u32>(header) != PT_LOAD) continue;
    const address = bias + load<usize>(header, 16);
    const end = (address + load<usize>(header, 32) + 4095) & PAGE_MASK;
    const mapping = insert(maps, address & PAGE_MASK);
    if (!changetype<usize>(mapping)) return;
    mapping.end = end;
    mapping.protection = protectionOf(load<u32>(header, 4));
    mapping.offset = load<u64>(header, 8) & PAGE_MASK;
    mapping.inode = object;
    mapping.name = name;
    mapping.nameLength = name ? stringLength(name) : 0;
  }
}

/** PF_X is 1, PF_W 2, PF_R 4. */
function protectionOf(flags: u32): u64 {
  return (flags & 4 ? PROT_READ : 0) | (flags & 2 ? PROT_WRITE : 0) | (flags & 1 ? PROT_EXEC : 0);
}

/** A new record in its place by address; null when there is no room. */
function insert(maps: Maps, start: usize): Mapping {
  if (maps.count >= MOST_MAPPINGS) return changetype<Mapping>(<usize>0);
  let index = maps.count++;
  while (index > 0 && mappingAt(maps, index - 1).start > start) {
    const from = changetype<usize>(mappingAt(maps, index - 1));
    memory.copy(from + offsetof<Mapping>(), from, offsetof<Mapping>());
    index--;
  }
  const mapping = mappingAt(maps, index);
  mapping.start = start;
  return mapping;
}
