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
/** Value of ZPOLINE_HOOK (see hook/actions.ts), or 0. */
export let hookVariable: usize = 0;

const ROOM: usize = 2 * 4096;

/**
 * `variables` is the NULL-terminated array on the initial stack; it is changed in place. Without a session it stays as it
 * is: then LD_PRELOAD is the user's own, and follows exec as any variable does.
 */
export function takeEnvironment(variables: usize): void {
  if (!variables) return;
  const hook = findVariable(variables, cstr("ZPOLINE_HOOK="));
  if (hook) hookVariable = hook + 13;
  const session = findVariable(variables, cstr("ZPOLINE_SESSION="));
  const preload = findVariable(variables, cstr("LD_PRELOAD="));
  if (!session || !preload || !fits(session)) return;
  const pages = mapPages(ROOM);
  if (failed(pages)) return;
  sessionPath = <usize>pages;
  const room = copyString(sessionPath, session + 16) + 1;
  const others = takePreload(preload, room);
  let to = variables;
  for (let from = variables; load<usize>(from); from += 8) {
    let variable = load<usize>(from);
    if (variable == session || variable == hook) continue;
    if (variable == preload) variable = others;
    if (!variable) continue;
    store<usize>(to, variable);
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

/** The first variable that begins with `name` (with its `=`), or 0. */
function findVariable(variables: usize, name: usize): usize {
  for (let p = variables; load<usize>(p); p += 8) {
    if (startsWith(load<usize>(p), name)) return load<usize>(p);
  }
  return 0;
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
