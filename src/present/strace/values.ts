/** Numbers and names as strace prints them. */
import type { Names } from "../../syscalls/flags/names.ts";
import { signalName } from "../../syscalls/signals.ts";

const TWO_32 = 4294967296;
const MOST_SAFE_HIGH = 0x200000;

/** u64 at `at` in decimal. */
export function unsigned64(memory: Buffer, at: number): string {
  const high = memory.readUInt32LE(at + 4);
  if (high < MOST_SAFE_HIGH) return String(high * TWO_32 + memory.readUInt32LE(at));
  return String(memory.readBigUInt64LE(at));
}

/** i64 at `at` in decimal. */
export function signed64(memory: Buffer, at: number): string {
  const high = memory.readInt32LE(at + 4);
  if (high < MOST_SAFE_HIGH && high >= -MOST_SAFE_HIGH) return String(high * TWO_32 + memory.readUInt32LE(at));
  return String(memory.readBigInt64LE(at));
}

/** u64 at `at` in hexadecimal; zero without prefix. */
export function hex64(memory: Buffer, at: number): string {
  const high = memory.readUInt32LE(at + 4);
  if (high < MOST_SAFE_HIGH) return hex(high * TWO_32 + memory.readUInt32LE(at));
  return `0x${memory.readBigUInt64LE(at).toString(16)}`;
}

/** Pointer at `at`. */
export function pointer(memory: Buffer, at: number): string {
  const text = hex64(memory, at);
  return text === "0" ? "NULL" : text;
}

/** A whole number ≥ 0 in hexadecimal; zero without prefix. */
export function hex(value: number): string {
  return value === 0 ? "0" : `0x${value.toString(16)}`;
}

/** u16 mode in octal, at least three digits. */
export function octalMode(mode: number): string {
  return `0${(mode & 0xffff).toString(8).padStart(2, "0")}`;
}

/** User or group id: -1 means "do not change". */
export function id(value: number): string {
  return value === 0xffffffff ? "-1" : String(value);
}

/**
 * A set of bits (of a u32, or any whole number below 2^53) by name; what has no name follows in hexadecimal. A name that
 * stands for several bits counts when all of them are set.
 */
export function flags(names: Names, value: number): string {
  if (value === 0) return names.byValue.get(0) ?? "0";
  const { text, rest } = takeFlags(names, value);
  if (text === "") return unnamed(hex(rest), names);
  return rest === 0 ? text : `${text}|${hex(rest)}`;
}

/** The names of the bits that have one, joined by "|", and the other bits. */
export function takeFlags(names: Names, value: number): { text: string; rest: number } {
  let low = value >>> 0;
  let high = Math.floor(value / TWO_32);
  let text = "";
  for (const [name, bits] of names.entries) {
    const [bitsLow, bitsHigh] = [bits >>> 0, Math.floor(bits / TWO_32)];
    if (bits === 0 || (low & bitsLow) >>> 0 !== bitsLow || (high & bitsHigh) >>> 0 !== bitsHigh) continue;
    text = text === "" ? name : `${text}|${name}`;
    low = (low & ~bitsLow) >>> 0;
    high = (high & ~bitsHigh) >>> 0;
    if (low === 0 && high === 0) break;
  }
  return { text, rest: high * TWO_32 + low };
}

/** One of several values by name. */
export function choice(names: Names, value: number): string {
  return names.byValue.get(value) ?? unnamed(hex(value), names);
}

/** A value without a name: in hexadecimal or as it stands, with a comment that says what kind it is. */
export function unnamed(text: string, names: Names): string {
  return names.unknown === "" ? text : `${text} /* ${names.unknown} */`;
}

export function signal(number: number): string {
  const name = signalName(number);
  return name === undefined ? String(number) : `SIG${name}`;
}

/** Two thirds of the 64 signals: a fuller set is shown by what is missing. */
const NEARLY_FULL = 42;

/** Signal set (one u64) at `at`: `[INT TERM]`, or `~[KILL]` for a nearly full one. */
export function signalSet(memory: Buffer, at: number): string {
  const words = [memory.readUInt32LE(at), memory.readUInt32LE(at + 4)];
  const members = (inverted: boolean): string[] => {
    const found: string[] = [];
    for (let number = 1; number <= 64; number++) {
      const set = ((words[(number - 1) >> 5]! >>> ((number - 1) & 31)) & 1) === 1;
      if (set !== inverted) found.push(signalName(number)!);
    }
    return found;
  };
  const set = members(false);
  return set.length >= NEARLY_FULL ? `~[${members(true).join(" ")}]` : `[${set.join(" ")}]`;
}

/** Device number as the system calls pass it (u32: 12 bits of major, 20 of minor, in the kernel's "new" encoding). */
export function device(value: number): string {
  return makedev((value >>> 8) & 0xfff, (value & 0xff) | ((value >>> 12) & 0xfff00));
}

export function makedev(major: number, minor: number): string {
  return `makedev(${hex(major)}, ${hex(minor)})`;
}

/** Local time of seconds after the epoch with an optional fraction: `2024-05-01T12:00:00.000001+0200`. */
export function dateTime(seconds: number, fraction = ""): string {
  const date = new Date(seconds * 1000);
  if (Number.isNaN(date.getTime())) return "";
  const two = (n: number): string => String(Math.abs(n)).padStart(2, "0");
  const offset = -date.getTimezoneOffset();
  const zone = `${offset < 0 ? "-" : "+"}${two(Math.trunc(offset / 60))}${two(offset % 60)}`;
  const day = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
  return `${day}T${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}${fraction}${zone}`;
}
