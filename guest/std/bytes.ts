/** Bytes and NUL-terminated strings at raw addresses. Callers vouch that what is read is mapped. */

/** True when one of the eight bytes of `word` is zero. */
// @ts-ignore: decorator
@inline
export function hasZeroByte(word: u64): bool {
  return ((word - 0x0101010101010101) & ~word & 0x8080808080808080) != 0;
}

// @ts-ignore: decorator
@inline
export function least(a: u64, b: u64): u64 {
  return a < b ? a : b;
}

export function stringLength(s: usize): usize {
  let p = s;
  while (load<u8>(p)) p++;
  return p - s;
}

/** Whether the `length` bytes at `a` and `b` are the same. */
export function sameBytes(a: usize, b: usize, length: usize): bool {
  for (let i: usize = 0; i < length; i++) {
    if (load<u8>(a + i) != load<u8>(b + i)) return false;
  }
  return true;
}

/** Whether the NUL-terminated string `s` begins with the NUL-terminated `prefix`. */
export function startsWith(s: usize, prefix: usize): bool {
  while (true) {
    const c = load<u8>(prefix);
    if (!c) return true;
    if (load<u8>(s) != c) return false;
    s++;
    prefix++;
  }
}

/** Whether two NUL-terminated strings are the same. */
export function sameString(a: usize, b: usize): bool {
  while (load<u8>(a) && load<u8>(a) == load<u8>(b)) {
    a++;
    b++;
  }
  return load<u8>(a) == load<u8>(b);
}

/** Copies a NUL-terminated string with its NUL; returns the address of the NUL in the copy. */
export function copyString(to: usize, from: usize): usize {
  while (true) {
    const c = load<u8>(from);
    store<u8>(to, c);
    if (!c) return to;
    to++;
    from++;
  }
}

/** Writes `value` in decimal; returns the address after the last digit. */
export function writeDecimal(to: usize, value: u64): usize {
  let digits: usize = 1;
  for (let v = value; v >= 10; v /= 10) digits++;
  for (let i = digits; i > 0; i--) {
    store<u8>(to + i - 1, <u8>(0x30 + (value % 10)));
    value /= 10;
  }
  return to + digits;
}

/** Writes `value` in hexadecimal, with 0x; returns the address after the last digit. */
export function writeHex(to: usize, value: u64): usize {
  store<u16>(to, 0x7830);
  to += 2;
  let shift: i32 = 60;
  while (shift && !(value >> shift)) shift -= 4;
  for (; shift >= 0; shift -= 4) {
    const digit = <u8>((value >> shift) & 15);
    store<u8>(to++, digit < 10 ? 0x30 + digit : 0x57 + digit);
  }
  return to;
}

/** Reads a decimal number up to the first byte that is no digit. */
export function readDecimal(s: usize): u64 {
  let value: u64 = 0;
  while (true) {
    const digit = <u32>load<u8>(s) - 0x30;
    if (digit > 9) return value;
    value = value * 10 + digit;
    s++;
  }
}
