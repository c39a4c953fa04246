/**
 * The `jump` patch: the window that window.ts has found around a `syscall` begins with a near jump to a stub of the site's
 * own, which holds what stood there and goes on to the entry stub. It does not touch the stack, and takes any number.
 *
 * Who runs this: as rewrite.ts says. As a rule nobody has run the code yet. Where threads may be running it, only a window
 * is used in which the jump replaces the beginning of one instruction, and lies in one aligned word of eight bytes, which
 * is written as a whole. A processor that fetches the word gets the old instruction or the jump: both do the same, since the stub
 * begins with a copy of the instruction. What lies behind in the window stays as it is, so a thread that is past the
 * instruction, or blocked in the `syscall`, goes on undisturbed. (Formally the SDM, volume 3, 9.1.3 promises nothing for
 * code that another processor changes; no processor is known on which such a word is torn.) Other sites are left.
 */
import { Entry, entryAt, PlanList } from "./list";
import { addPatch, PatchBatch, pokeWord } from "./patch";
import { Insn } from "./insn";
import { PATCH_JUMP, WHY_CANCELLATION } from "./plan";
import { addStub, Area, closeArea, isJumpPatched, openArea, stubBytes, stubOfRow } from "./stubs";
import { JUMP_SIZE, WINDOW_ONE } from "./window";

/** The opcode of a near jump. */
const JUMP: u64 = 0xe9;

/** The stubs for all jumps of the list, whose mapping is [start, end): an Area, or 0. Nothing is patched yet. */
export function makeStubs(list: PlanList, text: i64, start: usize, end: usize, insn: Insn): usize {
  let most: u32 = 0;
  let bytes: usize = 0;
  for (let i: u32 = 0; i < list.count; i++) {
    const entry = entryAt(list, i);
    if (entry.patch != PATCH_JUMP) continue;
    most++;
    bytes += stubBytes(entry);
  }
  const found = most ? openArea(start, end, most, bytes) : 0;
  if (!found) return 0;
  const area = changetype<Area>(found);
  for (let i: u32 = 0; i < list.count; i++) {
    const entry = entryAt(list, i);
    const site = start + entry.offset;
    if (entry.patch != PATCH_JUMP || isJumpPatched(site)) continue;
    addStub(area, site, entry, entry.why == WHY_CANCELLATION, insn);
  }
  return closeArea(area, text) ? found : 0;
}

/**
 * Adds the jump to the stub that row `index` of the area `stubs` has for `site`. `mayRun`: threads may be running the code,
 * so that it is written at once. False: it would not be safe, or was not possible.
 */
export function addJump(
  batch: PatchBatch,
  stubs: usize,
  index: u32,
  site: usize,
  entry: Entry,
  mayRun: bool,
): bool {
  const at = site - entry.before;
  const distance = stubOfRow(changetype<Area>(stubs), index) - (at + JUMP_SIZE);
  const bytes = JUMP | (<u64>(<u32>distance) << 8);
  if (mayRun) return (entry.traits & WINDOW_ONE) != 0 && pokeWord(batch, at, bytes, JUMP_SIZE);
  addPatch(batch, at, bytes, JUMP_SIZE);
  return true;
}
