/**
 * The environment of the program: our variables are read and taken out before the program looks, and go back in at
 * exec (exec.ts).
 */

import { copyString, startsWith, stringLength } from "../std/bytes";
import { cstr } from "../std/cstr";
import { failed, mapPages } from "../std/sys";

/** NUL-terminated path of the ring file and of this library; 0 when this process has no session. */
export let sessionPath: usize = 0;
export let libraryPath: usize = 0;
/** Number that the built-in constant hook answers, and the one that the built-in no-op hook passes; -1 for none. */
export let hookVariable: usize = 0;

const ROOM: usize = 3 * 4096;

/** `variables` is the NULL-terminated array on the initial stack; it is changed in place. */
export function takeEnvironment(variables: usize): void {
  if (!variables) return;
  const pages = mapPages(ROOM);
  if (failed(pages)) return;
  let room = <usize>pages;
  let to = variables;
  for (let from = variables; ; from += 8) {
    const variable = load<usize>(from);
    if (!variable) break;
    if (startsWith(variable, cstr("ZPOLINE_SESSION=")) && fits(variable)) {
      sessionPath = room;
      room = copyString(room, variable + 16) + 1;
      continue;
    }
    if (startsWith(variable, cstr("ZPOLINE_HOOK=")) && fits(variable)) {
      hookVariable = room;
      room = copyString(room, variable + 13) + 1;
      continue;
    }
    let kept = variable;
    if (startsWith(variable, cstr("LD_PRELOAD=")) && !libraryPath) {
      kept = takePreload(variable, room);
      if (libraryPath) room += stringLength(libraryPath) + 1;
      if (!kept) continue;
    }
    store<usize>(to, kept);
    to += 8;
  }
  while (load<usize>(to)) {
    store<usize>(to, 0);
    to += 8;
  }
}

function fits(variable: usize): bool {
  return stringLength(variable) < 4096;
}

/**
 * Copies the first path of LD_PRELOAD, which is this library, to `room`. Returns the variable that is left (the other
 * libraries), or 0 when there are none.
 */
function takePreload(variable: usize, room: usize): usize {
  const value = variable + 11;
  let end = value;
  while (load<u8>(end) && load<u8>(end) != 0x3a && load<u8>(end) != 0x20) end++;
  if (end - value >= 4096) return variable;
  memory.copy(room, value, end - value);
  libraryPath = room;
  if (!load<u8>(end)) return 0;
  const rest = end + 1;
  memory.copy(rest - 11, variable, 11); // "LD_PRELOAD=" again, right before what is left
  return rest - 11;
}
