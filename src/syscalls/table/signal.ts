import type { Rows } from "../row.ts";

/** Signals. */
export const SIGNAL = {
  kill: "pid:int sig:signal",
  tkill: "tid:int sig:signal",
  tgkill: "tgid:int tid:int sig:signal",
  pause: "",
  alarm: "seconds:uint",
  rt_sigaction: "signum:signal act:<sigaction oldact:>sigaction sigsetsize:ulong",
  rt_sigprocmask: "how:enum(sigprocmask) set:<sigset(sigsetsize) oldset:>sigset(sigsetsize) sigsetsize:ulong",
  rt_sigreturn: "",
  rt_sigpending: "set:>sigset(sigsetsize) sigsetsize:ulong",
  rt_sigsuspend: "mask:<sigset(sigsetsize) sigsetsize:ulong",
  rt_sigtimedwait: "set:<sigset(sigsetsize) info:>siginfo timeout:<timespec sigsetsize:ulong = signal",
  rt_sigqueueinfo: "tgid:int sig:signal info:<siginfo",
  rt_tgsigqueueinfo: "tgid:int tid:int sig:signal info:<siginfo",
  pidfd_send_signal: "pidfd:fd sig:signal info:<siginfo flags:hex32",
  sigaltstack: "ss:<stack old_ss:>stack",
} satisfies Rows;
