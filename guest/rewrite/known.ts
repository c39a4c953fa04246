/**
 * The call sites that have become `call *%rax`, by return address: what tells their calls from others that end in page 0.
 *
 * Who runs this: any thread, also in signal handlers; nothing is locked. A list is filled by one thread before the code
 * runs, and read by all. Lists are never unmapped, only used again.
 */
import { SITES_BIAS, SITES_FACTOR } from "../../src/image/layout";
import { own } from "../process/own";
import { failed, mapPages } from "../std/sys";

// @ts-ignore: decorator
@external("symbol", "zp_sites")
declare function zp_sites(): usize;

/** Sites of one mapping, in order of address. After the object: their return addresses, u32, counted from `origin`. */
// @ts-ignore: decorator
@unmanaged
export class SiteList {
  next: usize;
  origin: usize;
  /** What still belongs to it: [low, high). */
  low: usize;
  high: usize;
  count: u32;
  capacity: u32;
  /** 0 when the list may be used again. */
  used: u32;
}

/** The list of lists, in a word of its own because atomics work on addresses. */
const headWord: StaticArray<u64> = [0];
/** Memory was out: some sites are in no list, so every landing counts as a site's. */
let incomplete: bool = false;

// @ts-ignore: decorator
@inline
function lists(): usize {
  return changetype<usize>(headWord);
}

// @ts-ignore: decorator
@inline
function usedOf(list: SiteList): usize {
  return changetype<usize>(list) + offsetof<SiteList>("used");
}

// @ts-ignore: decorator
@inline
function entryOf(list: SiteList, index: u32): usize {
  return changetype<usize>(list) + offsetof<SiteList>() + (<usize>index << 2);
}

/** A list for the mapping [low, high) with room for `most` sites; 0 when memory is out. */
export function openSites(low: usize, high: usize, most: u32): usize {
  const list = takeList(most);
  if (!list) {
    incomplete = true;
    return 0;
  }
  const sites = changetype<SiteList>(list);
  sites.count = 0;
  sites.origin = low;
  sites.low = low;
  sites.high = high;
  return list;
}

function takeList(most: u32): usize {
  for (let p = <usize>atomic.load<u64>(lists()); p; p = changetype<SiteList>(p).next) {
    const list = changetype<SiteList>(p);
    if (list.capacity >= most && atomic.cmpxchg<u32>(usedOf(list), 0, 1) == 0) return p;
  }
  const size = (offsetof<SiteList>() + (<usize>most << 2) + 4095) & ~4095;
  const pages = mapPages(size);
  if (failed(pages)) return 0;
  own(<usize>pages, size);
  const list = changetype<SiteList>(<usize>pages);
  list.used = 1;
  list.capacity = <u32>((size - offsetof<SiteList>()) >> 2);
  while (true) {
    const head = atomic.load<u64>(lists());
    list.next = <usize>head;
    if (atomic.cmpxchg<u64>(lists(), head, pages) == head) return <usize>pages;
  }
}

/** Adds the two-byte site at `site`, which lies behind all that the list has; before it is rewritten. */
export function addKnownSite(list: usize, site: usize): void {
  if (!list) return;
  const sites = changetype<SiteList>(list);
  store<u32>(entryOf(sites, sites.count), <u32>(site + 2 - sites.origin));
  atomic.store<u32>(list + offsetof<SiteList>("count"), sites.count + 1);
}

/** Whether `address` is the return address of a rewritten site. */
export function isKnownSite(address: usize): bool {
  for (let p = <usize>atomic.load<u64>(lists()); p; p = changetype<SiteList>(p).next) {
    const list = changetype<SiteList>(p);
    if (address > list.low && address <= list.high && hasSite(list, address)) return true;
  }
  return incomplete;
}

function hasSite(list: SiteList, address: usize): bool {
  const offset = <u32>(address - list.origin);
  let low: u32 = 0;
  let high = list.count;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (load<u32>(entryOf(list, middle)) < offset) low = middle + 1;
    else high = middle;
  }
  return low < list.count && load<u32>(entryOf(list, low)) == offset;
}

// @ts-ignore: decorator
@inline
function cacheWord(address: usize): usize {
  return zp_sites() + (((address & 255) + ((address >> 8) & 255) * SITES_FACTOR) << 3);
}

/** Lets the entry stub find the known site with this return address by itself. */
export function cacheSite(address: usize): void {
  store<u64>(cacheWord(address), -(address + SITES_BIAS));
}

/**
 * A file has been mapped to [from, to): what was there before is gone. Memory that is only unmapped, or replaced by memory
 * without a file, keeps its sites: programs move their own code to larger pages like that.
 */
export function forgetSites(from: usize, to: usize): void {
  for (let p = <usize>atomic.load<u64>(lists()); p; p = changetype<SiteList>(p).next) {
    const list = changetype<SiteList>(p);
    if (!list.used || from >= list.high || to <= list.low) continue;
    for (let i: u32 = 0; i < list.count; i++) {
      const address = list.origin + load<u32>(entryOf(list, i));
      if (address > from && address <= to && load<u64>(cacheWord(address)) == -(address + SITES_BIAS)) {
        store<u64>(cacheWord(address), 0);
      }
    }
    if (from <= list.low) list.low = to;
    else if (to >= list.high) list.high = from;
    if (list.low >= list.high) {
      list.low = list.high = 0;
      atomic.store<u32>(usedOf(list), 0);
    }
  }
}
