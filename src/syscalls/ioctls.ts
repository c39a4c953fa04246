/** Requests of ioctl(2) that have a name here (include/uapi/asm-generic/ioctls.h, linux/fs.h, linux/sockios.h). */

/** What the argument is: nothing, a number, a pointer, or a pointer to data of a known kind. */
export type IoctlArgument = "none" | "value" | "pointer" | "int" | "long" | "winsize" | "termios";

export interface Ioctl {
  readonly name: string;
  readonly argument: IoctlArgument;
  /** Which way the data goes: "in" to the kernel, "out" of it. */
  readonly direction: "in" | "out";
}

const ROWS: readonly (readonly [request: number, name: string, argument: IoctlArgument, direction: "in" | "out"])[] = [
  [0x5401, "TCGETS", "termios", "out"],
  [0x5402, "TCSETS", "termios", "in"],
  [0x5403, "TCSETSW", "termios", "in"],
  [0x5404, "TCSETSF", "termios", "in"],
  [0x5409, "TCSBRK", "value", "in"],
  [0x540a, "TCXONC", "value", "in"],
  [0x540e, "TIOCSCTTY", "value", "in"],
  [0x540f, "TIOCGPGRP", "int", "out"],
  [0x5410, "TIOCSPGRP", "int", "in"],
  [0x5411, "TIOCOUTQ", "int", "out"],
  [0x5413, "TIOCGWINSZ", "winsize", "out"],
  [0x5414, "TIOCSWINSZ", "winsize", "in"],
  [0x541b, "FIONREAD", "int", "out"],
  [0x5421, "FIONBIO", "int", "in"],
  [0x5422, "TIOCNOTTY", "none", "in"],
  [0x5429, "TIOCGSID", "int", "out"],
  [0x5450, "FIONCLEX", "none", "in"],
  [0x5451, "FIOCLEX", "none", "in"],
  [0x5452, "FIOASYNC", "int", "in"],
  [0x80045430, "TIOCGPTN", "int", "out"],
  [0x40045431, "TIOCSPTLCK", "int", "in"],
  [0x8905, "SIOCATMARK", "int", "out"],
  [0x40049409, "BTRFS_IOC_CLONE or FICLONE", "value", "in"],
  [0x1260, "BLKGETSIZE", "long", "out"],
  [0x80081272, "BLKGETSIZE64", "long", "out"],
];

export const IOCTLS: Readonly<Record<number, Ioctl>> = Object.fromEntries(
  ROWS.map(([request, name, argument, direction]) => [request, { name, argument, direction }]),
);
