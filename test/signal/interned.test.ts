import { beforeAll, expect, test } from "vitest";
import { INTERNED_SIZE } from "../../src/image/layout.ts";
import { type GuestModule, loadGuest } from "../helpers/guest-wasm.ts";

let guest: GuestModule;
beforeAll(async () => {
  guest = await loadGuest("guest/signal/interned.ts");
  guest.alloc(1); // a chunk does not lie at address 0
});

/** struct kernel_sigaction as wasm32 lays it out. */
function action(handler: number, restorer = 1, mask = 0n): number {
  const at = guest.alloc(32);
  guest.view().setUint32(at, handler, true);
  guest.view().setUint32(at + 16, restorer, true);
  guest.view().setBigUint64(at + 24, mask, true);
  return at;
}
const intern = (first: number, at: number, returnTo = 1): number => guest.call["intern"]!(first, at, returnTo);
const isInterned = (first: number, at: number): boolean => guest.call["isInterned"]!(first, at) === 1;

test("equal actions are one, actions that differ in a field are two", () => {
  const first = guest.alloc(INTERNED_SIZE);
  const one = intern(first, action(7));
  expect(intern(first, action(7))).toBe(one);
  const all = [
    one,
    intern(first, action(8)),
    intern(first, action(7, 2)),
    intern(first, action(7, 1, 1n)),
    intern(first, action(7), 2),
  ];
  expect(new Set(all).size).toBe(5);
  expect(all.map((at) => guest.view().getUint32(at, true))).toEqual(all);
});

test("only addresses of entries that were given out are interned", () => {
  const first = guest.alloc(INTERNED_SIZE);
  const one = intern(first, action(7));
  const size = intern(first, action(8)) - one;
  expect([one, one + size, one + 2 * size, one + 1, one - 8, first, 0].map((at) => isInterned(first, at))).toEqual([
    ...[true, true, false, false, false, false, false],
  ]);
});

test("a full chunk has no room, until another is linked behind it; what was interned stays", () => {
  const first = guest.alloc(INTERNED_SIZE);
  const given: number[] = [];
  for (let handler = 2; given.at(-1) !== 0; handler++) given.push(intern(first, action(handler)));
  expect(given.length).toBeGreaterThan(100);
  expect(intern(first, action(2))).toBe(given[0]);
  const second = guest.alloc(INTERNED_SIZE);
  guest.call["linkChunk"]!(first, second);
  const more = intern(first, action(given.length + 1));
  expect(more).toBeGreaterThan(second);
  expect(isInterned(first, more)).toBe(true);
  expect(intern(first, action(3))).toBe(given[1]);
});

test("an entry in the making is not given to anybody else", () => {
  const first = guest.alloc(INTERNED_SIZE);
  const one = intern(first, action(7));
  guest.view().setUint32(one, 0, true);
  expect(intern(first, action(7))).not.toBe(one);
});
