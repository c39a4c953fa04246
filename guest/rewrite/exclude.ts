/**
 * What is not rewritten: ZPOLINE_EXCLUDE, names separated by colons. One with a slash is compared with the whole path of a
 * file, another with its last part; `*` stands for any bytes.
 */
import { EXCLUDE, valueOf } from "../process/environment";

const COLON: u8 = 0x3a;
const SLASH: u8 = 0x2f;
const ASTERISK: u8 = 0x2a;

/** Whether the file with the path at `name`, `length` bytes, is excluded. */
export function isExcluded(name: usize, length: usize): bool {
  let p = valueOf(EXCLUDE);
  if (!p) return false;
  const nameEnd = name + length;
  let base = nameEnd;
  while (base > name && load<u8>(base - 1) != SLASH) base--;
  while (load<u8>(p)) {
    let end = p;
    let hasSlash = false;
    while (load<u8>(end) && load<u8>(end) != COLON) if (load<u8>(end++) == SLASH) hasSlash = true;
    if (end > p && matches(p, end, hasSlash ? name : base, nameEnd)) return true;
    p = load<u8>(end) ? end + 1 : end;
  }
  return false;
}

/** Whether the pattern [p, pEnd) matches all of [s, sEnd). */
export function matches(p: usize, pEnd: usize, s: usize, sEnd: usize): bool {
  /** Where to go on when what follows the last asterisk does not match: one byte farther. */
  let retryP: usize = 0;
  let retryS: usize = 0;
  while (s < sEnd) {
    if (p < pEnd && load<u8>(p) == ASTERISK) {
      retryP = ++p;
      retryS = s;
    } else if (p < pEnd && load<u8>(p) == load<u8>(s)) {
      p++;
      s++;
    } else if (retryP) {
      p = retryP;
      s = ++retryS;
    } else {
      return false;
    }
  }
  while (p < pEnd && load<u8>(p) == ASTERISK) p++;
  return p == pEnd;
}
