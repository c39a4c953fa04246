/** Assertions of the core test suite that do not hold for machine code whose memory is a process's address space. */

const NO_BOUNDS = "memory.copy and memory.fill know no bounds: they trap at the first byte that is not mapped";

/** "file:line" → why. */
export const DIFFERENCES: ReadonlyMap<string, string> = new Map([
  // Out of bounds in part: what was copied before the trap stays.
  ["memory_copy:3211", NO_BOUNDS],
  ["memory_copy:3212", NO_BOUNDS],
  ["memory_copy:3213", NO_BOUNDS],
  ["memory_copy:3214", NO_BOUNDS],
  ["memory_copy:3215", NO_BOUNDS],
  ["memory_copy:3216", NO_BOUNDS],
  // No bytes at an address that is out of bounds.
  ["memory_copy:4873", NO_BOUNDS],
  ["memory_copy:4885", NO_BOUNDS],
  ["memory_copy:4897", NO_BOUNDS],
  ["memory_fill:118", NO_BOUNDS],
]);
