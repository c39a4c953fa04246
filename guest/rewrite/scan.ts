/** The search for the bytes of system call instructions, in whatever they stand. */

/** Address of the next 0f 05 or 0f 34 in [from, end); 0 when there is none. */
export function nextPair(from: usize, end: usize): usize {
  let p = from;
  while (end - p >= 33) {
    if ((zeroBytes(p) | zeroBytes(p + 8) | zeroBytes(p + 16) | zeroBytes(p + 24)) & 0x8080808080808080) {
      for (let at = p; at < p + 32; at++) if (isPair(at)) return at;
    }
    p += 32;
  }
  while (p + 1 < end) {
    if (isPair(p)) return p;
    p++;
  }
  return 0;
}

/**
 * The top bit of a byte of the result is set where one of the eight bytes at `p` is 0f and the next one is 05 or 34: all that
 * 0x34 and 0x05 have in common, 00..0100, is looked at, so that a few others are found, too.
 */
// @ts-ignore: decorator
@inline
function zeroBytes(p: usize): u64 {
  const differ = (load<u64>(p) ^ 0x0f0f0f0f0f0f0f0f) | ((load<u64>(p, 1) & 0xcececececececece) ^ 0x0404040404040404);
  return (differ - 0x0101010101010101) & ~differ;
}

// @ts-ignore: decorator
@inline
function isPair(address: usize): bool {
  const pair = load<u16>(address);
  return pair == 0x050f || pair == 0x340f;
}
