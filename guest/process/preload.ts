/** LD_PRELOAD: paths, separated by colons or blanks (ld.so(8)). Ours may stand anywhere among them. */
import { sameBytes, startsWith, stringLength } from "../std/bytes";
import { cstr } from "../std/cstr";

/** Length of `LD_PRELOAD=`. */
export const PRELOAD_NAME: usize = 11;

// @ts-ignore: decorator
@inline
function isSeparator(c: u8): bool {
  return c == 0x3a || c == 0x20;
}

/** Address of the first entry at or after `p`, or of the NUL. */
function nextEntry(p: usize): usize {
  while (isSeparator(load<u8>(p))) p++;
  return p;
}

export function entryEnd(entry: usize): usize {
  let p = entry;
  while (load<u8>(p) && !isSeparator(load<u8>(p))) p++;
  return p;
}

/** Whether the entry [entry, end) has the file name of this library. */
function hasOurName(entry: usize, end: usize): bool {
  let name = entry;
  for (let p = entry; p < end; p++) if (load<u8>(p) == 0x2f) name = p + 1;
  return end - name == 13 && startsWith(name, cstr("libzpoline.so"));
}

/** Our own entry in the list at `list`, or the first one where none has our name; the address of the NUL in an empty list. */
export function findOurs(list: usize): usize {
  const first = nextEntry(list);
  for (let entry = first; load<u8>(entry); entry = nextEntry(entryEnd(entry))) {
    if (hasOurName(entry, entryEnd(entry))) return entry;
  }
  return first;
}

/** Whether the list names this library. */
export function namesOurs(list: usize): bool {
  const entry = findOurs(list);
  return hasOurName(entry, entryEnd(entry));
}

/**
 * Writes all entries of `list` but ours to `to`, a colon before each; returns the address of the NUL. `ours` is the path of
 * this library. Other copies of it are ours, too: a process cannot use two.
 */
export function copyOthers(to: usize, list: usize, ours: usize): usize {
  for (let entry = nextEntry(list); load<u8>(entry); ) {
    const end = entryEnd(entry);
    const length = end - entry;
    const same = length == stringLength(ours) && sameBytes(entry, ours, length);
    if (!same && !hasOurName(entry, end)) {
      store<u8>(to, 0x3a);
      memory.copy(to + 1, entry, length);
      to += 1 + length;
    }
    entry = nextEntry(end);
  }
  store<u8>(to, 0);
  return to;
}
