/**
 * The sites that have trapped, by the address after the instruction: a table that `zp_sigsys` reads as a cache. The place of
 * an address is given by its last bits; those with the same bits stand in the places that follow, and the one that trapped
 * last comes first.
 *
 * Who runs this: any thread, in the handler of SIGSYS. Nothing is locked: where two threads write at once an address may be
 * lost, and is new when it traps again.
 */
import { TRAP_CACHE } from "../../src/image/layout";

// @ts-ignore: decorator
@external("symbol", "zp_trapped")
declare function zp_trapped(): usize;

/** Places that are looked at. */
const PROBES: usize = 16;

// @ts-ignore: decorator
@inline
function placeOf(address: usize, probe: usize): usize {
  return zp_trapped() + ((address + probe) & (TRAP_CACHE - 1)) * 8;
}

/** Puts an address in the first place; whether it is new. */
export function remember(address: usize): bool {
  const first = placeOf(address, 0);
  let place = first;
  for (let probe: usize = 1; probe < PROBES; probe++) {
    const there = load<usize>(place);
    if (!there || there == address) break;
    place = placeOf(address, probe);
  }
  const isNew = load<usize>(place) != address;
  store<usize>(place, load<usize>(first));
  store<usize>(first, address);
  return isNew;
}
