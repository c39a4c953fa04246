/** Why a system call site is patched in another way than by `call *%rax`, or not at all. */
import type { ScanModule } from "./module.ts";

/** In words for a terminal, by the name in JSON. docs/scan.md explains them. */
export const REASONS = {
  "red-zone": "red zone",
  "red-zone-no-room": "red zone, and no room for a jump",
  cancellation: "cancellation point",
  "any-number": "any number",
  "any-number-no-room": "any number, but no room for a jump",
  sigreturn: "how signal handlers return",
  "no-window": "no room for a jump",
  "no-window-branches": "no room for a jump that nothing may lead into",
  "no-window-code": "no room for a jump: unknown code before it",
  sysenter: "sysenter",
  "no-boundary": "maybe code: no boundary before it",
  unreached: "maybe code: nothing leads to it",
  overlap: "maybe code: two readings of the bytes",
  prefix: "needless prefixes",
  data: "data, most likely",
} as const;

export type Reason = keyof typeof REASONS;

/** The reason for the plan of `guest` for its find `index`. */
export function reasonOf(guest: ScanModule, index: number): Reason | undefined {
  const why = guest.whyOf(index);
  return why === guest.WHY_UNSURE.value ? doubts(guest).get(guest.reasonOf(index)) : exceptions(guest).get(why);
}

function exceptions(guest: ScanModule): Map<number, Reason> {
  return new Map([
    [guest.WHY_SYSENTER.value, "sysenter"],
    [guest.WHY_RED_ZONE.value, "red-zone"],
    [guest.WHY_RED_ZONE_NO_ROOM.value, "red-zone-no-room"],
    [guest.WHY_CANCELLATION.value, "cancellation"],
    [guest.WHY_SIGRETURN.value, "sigreturn"],
    [guest.WHY_NO_WINDOW.value, "no-window"],
    [guest.WHY_NO_WINDOW_BRANCHES.value, "no-window-branches"],
    [guest.WHY_NO_WINDOW_CODE.value, "no-window-code"],
    [guest.WHY_ANY_NUMBER.value, "any-number"],
    [guest.WHY_ANY_NUMBER_NO_ROOM.value, "any-number-no-room"],
  ]);
}

function doubts(guest: ScanModule): Map<number, Reason> {
  return new Map([
    [guest.REASON_NO_BOUNDARY.value, "no-boundary"],
    [guest.REASON_UNREACHED.value, "unreached"],
    [guest.REASON_OVERLAP.value, "overlap"],
    [guest.REASON_PREFIX.value, "prefix"],
    [guest.REASON_DATA.value, "data"],
  ]);
}
