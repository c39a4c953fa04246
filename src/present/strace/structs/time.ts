/** Times and intervals (include/uapi/linux/time.h, time_types.h, times.h, timex.h). */
import { TIME } from "../../../syscalls/flags/time.ts";
import type { StructPrinters } from "../struct.ts";
import { dateTime, flags, signed64 } from "../values.ts";

const UTIME_NOW = 0x3fffffff;
const UTIME_OMIT = 0x3ffffffe;
const TICKS_PER_SECOND = 100n;

function timespec(memory: Buffer, at: number): string {
  return `{tv_sec=${signed64(memory, at)}, tv_nsec=${signed64(memory, at + 8)}}`;
}

function timeval(memory: Buffer, at: number): string {
  return `{tv_sec=${signed64(memory, at)}, tv_usec=${signed64(memory, at + 8)}}`;
}

/** The date in a comment, where the fraction is in range: what a person wants to know of a file's time. */
function dated(text: string, memory: Buffer, at: number, digits: number): string {
  const seconds = memory.readBigInt64LE(at);
  const fraction = memory.readBigUInt64LE(at + 8);
  if ((seconds === 0n && fraction === 0n) || fraction >= 10n ** BigInt(digits)) return text;
  const date = dateTime(Number(seconds), fraction === 0n ? "" : `.${String(fraction).padStart(digits, "0")}`);
  return date === "" ? text : `${text} /* ${date} */`;
}

function utimespec(memory: Buffer, at: number): string {
  const nanoseconds = memory.readInt32LE(at + 8);
  if (memory.readInt32LE(at + 12) === 0 && nanoseconds === UTIME_NOW) return "UTIME_NOW";
  if (memory.readInt32LE(at + 12) === 0 && nanoseconds === UTIME_OMIT) return "UTIME_OMIT";
  return dated(timespec(memory, at), memory, at, 9);
}

/** Seconds since the epoch with their date in a comment. */
export function time(memory: Buffer, at: number): string {
  const text = signed64(memory, at);
  const date = text === "0" ? "" : dateTime(Number(text));
  return date === "" ? text : `${text} /* ${date} */`;
}

/** Clock ticks (USER_HZ) with the seconds that they are in a comment. */
export function ticks(memory: Buffer, at: number): string {
  const count = memory.readBigUInt64LE(at);
  if (count === 0n) return "0";
  const hundredths = String(count % TICKS_PER_SECOND).padStart(2, "0");
  return `${count} /* ${count / TICKS_PER_SECOND}.${hundredths} s */`;
}

function timex(memory: Buffer, at: number): string {
  const long = (name: string, offset: number): string => `${name}=${signed64(memory, at + offset)}`;
  return `{${[
    `modes=${flags(TIME.adjtimex_modes, memory.readUInt32LE(at))}`,
    long("offset", 8),
    long("freq", 16),
    long("maxerror", 24),
    long("esterror", 32),
    `status=${flags(TIME.adjtimex_status, memory.readUInt32LE(at + 40))}`,
    long("constant", 48),
    long("precision", 56),
    long("tolerance", 64),
    `time=${timeval(memory, at + 72)}`,
    long("tick", 88),
    long("ppsfreq", 96),
    long("jitter", 104),
    `shift=${memory.readInt32LE(at + 112)}`,
    long("stabil", 120),
    long("jitcnt", 128),
    long("calcnt", 136),
    long("errcnt", 144),
    long("stbcnt", 152),
    `tai=${memory.readInt32LE(at + 160)}`,
  ].join(", ")}}`;
}

export const TIME_STRUCTS: StructPrinters = {
  timespec,
  timespec_in: timespec,
  utimespec,
  timeval,
  timeval_in: timeval,
  utimeval: (memory, at) => dated(timeval(memory, at), memory, at, 6),
  time,
  timezone: (memory, at) => `{tz_minuteswest=${memory.readInt32LE(at)}, tz_dsttime=${memory.readInt32LE(at + 4)}}`,
  utimbuf: (memory, at) => `{actime=${time(memory, at)}, modtime=${time(memory, at + 8)}}`,
  itimerval: (memory, at) => `{it_interval=${timeval(memory, at)}, it_value=${timeval(memory, at + 16)}}`,
  itimerspec: (memory, at) => `{it_interval=${timespec(memory, at)}, it_value=${timespec(memory, at + 16)}}`,
  tms: (memory, at) =>
    `{tms_utime=${ticks(memory, at)}, tms_stime=${ticks(memory, at + 8)}, ` +
    `tms_cutime=${ticks(memory, at + 16)}, tms_cstime=${ticks(memory, at + 24)}}`,
  timex,
};
