/** Every system call of x86-64: number, name, shapes of its arguments and result (see row.ts for the notation). */
import { I386, i386Name } from "./i386.ts";
import { NUMBERS } from "./numbers.ts";
import { type Call, parseRow } from "./row.ts";
import { CREDS } from "./table/creds.ts";
import { FILE } from "./table/file.ts";
import { IO } from "./table/io.ts";
import { IPC } from "./table/ipc.ts";
import { MEMORY } from "./table/memory.ts";
import { NETWORK } from "./table/network.ts";
import { PROCESS } from "./table/process.ts";
import { SIGNAL } from "./table/signal.ts";
import { SYSTEM } from "./table/system.ts";
import { TIME } from "./table/time.ts";

export type CallName = keyof typeof NUMBERS;

export const ROWS: Readonly<Record<CallName, string>> = {
  ...FILE,
  ...IO,
  ...PROCESS,
  ...MEMORY,
  ...NETWORK,
  ...SIGNAL,
  ...TIME,
  ...CREDS,
  ...IPC,
  ...SYSTEM,
};

/** Calls by number; a hole where the kernel has none. */
export const CALLS: readonly (Call | undefined)[] = byNumber();

export const CALL_NAMES = Object.keys(NUMBERS) as readonly CallName[];

/** Name of a call (i386.ts: also of one by `int $0x80`), or `syscall_0x…` (hexadecimal) for a number that the kernel does not know. */
export function callName(nr: number): string {
  const name = nr < I386 ? CALLS[nr]?.name : i386Name(nr);
  return name ?? `syscall_0x${(nr % I386).toString(16)}`;
}

function byNumber(): (Call | undefined)[] {
  const calls: (Call | undefined)[] = [];
  for (const [name, nr] of Object.entries(NUMBERS)) calls[nr] = parseRow(nr, name, ROWS[name as CallName]);
  return calls;
}
