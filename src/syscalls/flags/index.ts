/** All tables of names, by the name that a row of the table uses. */
import { DEBUG } from "./debug.ts";
import { FILE } from "./file.ts";
import { IO } from "./io.ts";
import { IPC } from "./ipc.ts";
import { MEMORY } from "./memory.ts";
import type { Names } from "./names.ts";
import { NETWORK } from "./network.ts";
import { PRCTL } from "./prctl.ts";
import { PROCESS } from "./process.ts";
import { SIGNAL } from "./signal.ts";
import { SOCKOPT } from "./sockopt.ts";
import { SYSTEM } from "./system.ts";
import { TIME } from "./time.ts";

export const NAME_TABLES: Readonly<Record<string, Names>> = {
  ...FILE,
  ...IO,
  ...PROCESS,
  ...DEBUG,
  ...PRCTL,
  ...MEMORY,
  ...NETWORK,
  ...SOCKOPT,
  ...SIGNAL,
  ...TIME,
  ...IPC,
  ...SYSTEM,
};

/** The table called `name`. Throws a RangeError when there is none. */
export function namesOf(name: string): Names {
  const names = NAME_TABLES[name];
  if (names === undefined) throw new RangeError(`no table of names is called ${name}`);
  return names;
}
