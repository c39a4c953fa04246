import type { Rows } from "../row.ts";

/** Who a process is. */
export const CREDS = {
  getuid: "",
  getgid: "",
  geteuid: "",
  getegid: "",
  setuid: "uid:id",
  setgid: "gid:id",
  setreuid: "ruid:id euid:id",
  setregid: "rgid:id egid:id",
  setresuid: "ruid:id euid:id suid:id",
  setresgid: "rgid:id egid:id sgid:id",
  getresuid: "ruid:>id*1 euid:>id*1 suid:>id*1",
  getresgid: "rgid:>id*1 egid:>id*1 sgid:>id*1",
  setfsuid: "fsuid:id",
  setfsgid: "fsgid:id",
  getgroups: "size:int list:>id[]",
  setgroups: "size:int list:<id[size]",
  capget: "hdrp:<cap_header datap:>cap_data",
  capset: "hdrp:<cap_header datap:<cap_data",
} satisfies Rows;
