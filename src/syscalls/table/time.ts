import type { Rows } from "../row.ts";

/** Clocks, timers, sleeping. */
export const TIME = {
  time: "tloc:>time*1 = time",
  gettimeofday: "tv:>timeval tz:>timezone",
  settimeofday: "tv:<timeval tz:<timezone",
  times: "buf:>tms",
  nanosleep: "req:<timespec rem:pointer",
  clock_nanosleep: "clockid:enum(clock) flags:flags(timer) request:<timespec remain:pointer",
  clock_gettime: "clockid:enum(clock) tp:>timespec",
  clock_settime: "clockid:enum(clock) tp:<timespec",
  clock_getres: "clockid:enum(clock) res:>timespec",
  clock_adjtime: "clockid:enum(clock) buf:>timex = timex",
  adjtimex: "buf:>timex = timex",
  getitimer: "which:enum(itimer) curr_value:>itimerval",
  setitimer: "which:enum(itimer) new_value:<itimerval old_value:>itimerval",
  timer_create: "clockid:enum(clock) sevp:<sigevent timerid:>int*1",
  timer_settime: "timerid:int flags:flags(timer) new_value:<itimerspec old_value:>itimerspec",
  timer_gettime: "timerid:int curr_value:>itimerspec",
  timer_getoverrun: "timerid:int",
  timer_delete: "timerid:int",
} satisfies Rows;
