/** Pointer arguments that lead into page 0: the kernel answers as it does where page 0 is not mapped. */
import { describe, expect, test } from "vitest";
import { POINTERS } from "../../src/syscalls/pointers.ts";
import type { Argument, Call } from "../../src/syscalls/row.ts";
import { CALLS } from "../../src/syscalls/table.ts";
import { MODES } from "./conformance/modes.ts";
import { fixture, run } from "./run.ts";

/** Calls that end the caller, change the machine or other processes, or that are made otherwise here. */
const DANGEROUS = new Set(
  [
    "exit exit_group fork vfork clone clone3 rt_sigreturn reboot kexec_load kexec_file_load init_module finit_module",
    "delete_module sethostname setdomainname settimeofday clock_settime adjtimex clock_adjtime swapon swapoff acct",
    "kill tkill tgkill rt_sigqueueinfo rt_tgsigqueueinfo pidfd_send_signal ptrace vhangup pivot_root chroot quotactl",
    "quotactl_fd syslog pause ioperm iopl modify_ldt arch_prctl set_thread_area set_tid_address set_robust_list rseq",
    "munmap mprotect pkey_mprotect mmap mremap brk mseal shmat shmdt map_shadow_stack personality setgroups seccomp prctl",
    "restart_syscall uretprobe uprobe userfaultfd lookup_dcookie process_madvise setns unshare bpf keyctl add_key",
    "request_key landlock_restrict_self",
  ].flatMap((line) => line.split(" ")),
);

const VALUES = ["0", "1", "8", "4095"];
/** Arguments by whose value answers differ: see docs/limits.md. */
const KNOWN: Readonly<Record<string, string>> = { futex: "timeout" };

/** Values of arguments that are no pointers, by name or shape. */
const SIZES =
  /^(count|len|size|bufsiz|buflen|sigsetsize|addrlen|optlen|usize|sizemask|cpusetsize|msgsz|msg_len|plen|sigsz)$/;

/** Something valid for an argument, as the fixture names it. */
function valid(call: Call, argument: Argument): string {
  const { name, shape, direction } = argument;
  if (shape === "path") return "path";
  if (shape === "iovec") return "vectors";
  if (shape === "msghdr") return "message";
  if (direction !== 0 || ["pointer", "string", "strings", "count"].includes(shape)) return "buffer";
  if (shape === "dirfd") return "-100";
  if (shape === "fd" || shape === "fanfd") return descriptor(call, name);
  if (SIZES.test(name)) return call.name.startsWith("futex") ? "24" : "8";
  return /^(iovcnt|liovcnt|riovcnt|nr_segs|nfds|nsops|vlen|maxevents|op|nr|count)$/.test(name) ? "1" : "0";
}

function descriptor(call: Call, name: string): string {
  if (name === "epfd") return "epoll";
  if (name.startsWith("sock")) return "socket";
  if (/^(read|readv)$/.test(call.name)) return "reader";
  if (/^(write|writev|vmsplice)$/.test(call.name)) return "writer";
  return call.name.startsWith("timerfd") ? "timerfd" : "file";
}

function line(call: Call, args: readonly string[]): string {
  return [String(call.nr), ...Array.from({ length: 6 }, (_, i) => args[i] ?? "0")].join(" ");
}

/** Each pointer argument in turn leads into page 0; once with a descriptor that is not open. */
function callsOf(call: Call): string[] {
  const known = KNOWN[call.name];
  const args = call.arguments.map((argument) => valid(call, argument));
  const lines: string[] = [];
  const descriptorAt = call.arguments.findIndex(({ shape }) => shape === "fd");
  call.arguments.forEach((argument, i) => {
    if (argument.name === known) return;
    const points = argument.direction !== 0 || argument.shape === "pointer";
    if (!points && !"ra".includes(POINTERS[call.name as keyof typeof POINTERS]?.[i] ?? "-")) return;
    for (const value of VALUES) lines.push(line(call, args.with(i, value)));
    if (descriptorAt >= 0) lines.push(line(call, args.with(i, "0").with(descriptorAt, "99")));
  });
  return lines;
}

const nr = (name: keyof typeof POINTERS): number => CALLS.find((call) => call?.name === name)!.nr;

/** What no single argument decides. */
const SPECIAL = [
  `${nr("writev")} writer low 2 0 0 0`,
  `${nr("writev")} writer low 1 0 0 0`,
  `${nr("writev")} file low 2 0 0 0`,
  `${nr("writev")} file low 100000 0 0 0`,
  `${nr("pwritev")} file low 2 0 0 0`,
  `${nr("pwritev2")} file low 2 0 0 0`,
  `${nr("vmsplice")} writer low 2 0 0 0`,
  ...["message", "low_data", "low_name", "low_control", "low_vectors"].map(
    (m) => `${nr("sendmsg")} socket ${m} 0 0 0 0`,
  ),
  ...["0", "8"].map((address) => `${nr("newfstatat")} file ${address} buffer 0x1000 0 0`),
  ...["-100", "file"].map((fd) => `${nr("utimensat")} ${fd} 0 0 0 0 0`),
  `${nr("write")} file 0 0 0 0 0`,
  `${nr("poll")} 0 0 1 0 0 0`,
  // fcntl: F_DUPFD, F_SETFD, F_SETFL, F_GETLK, F_SETLK, F_OFD_SETLK
  ...[0, 2, 4, 5, 6, 37].flatMap((command) => ["0", "1", "8"].map((v) => `${nr("fcntl")} file ${command} ${v} 0 0 0`)),
  // ioctl: FIONBIO, FIONREAD, TCSETS, TIOCGWINSZ, SIOCGIFCONF, FS_IOC_SETFLAGS
  ...[0x5421, 0x541b, 0x5402, 0x5413, 0x8912, 0x40086602].flatMap((request) =>
    ["file", "socket", "reader"].flatMap((fd) => ["0", "8"].map((v) => `${nr("ioctl")} ${fd} ${request} ${v} 0 0 0`)),
  ),
  `${nr("prctl")} 15 0 0 0 0 0`,
  `${nr("prctl")} 15 8 0 0 0 0`,
  ...["0", "8"].map((address) => `${nr("seccomp")} 1 0 ${address} 0 0 0`),
  ...["0", "8"].map((address) => `${nr("clone3")} ${address} 64 0 0 0 0`),
  ...["0", "8"].map((address) => `${nr("settimeofday")} ${address} 0 0 0 0 0`),
  // accept and recvfrom without an address; msync, mlock over more than page 0
  `${nr("recvfrom")} socket buffer 8 0 0 0`,
  `${nr("recvfrom")} socket buffer 8 0 buffer 0`,
  `${nr("accept")} socket 0 0 0 0 0`,
  `${nr("msync")} 0 0x100000 4 0 0 0`,
  `${nr("mlock")} 0 0x100000 0 0 0 0`,
];

describe("a call with a pointer into page 0", () => {
  const program = fixture("calls-from-stdin.c");
  const calls = CALLS.filter((call) => call !== undefined && !DANGEROUS.has(call.name));
  const lines = [...calls.flatMap((call) => callsOf(call!)), ...SPECIAL];
  const answers = (stdout: string): string[] => {
    const results = stdout.trimEnd().split("\n");
    expect(results).toHaveLength(lines.length);
    return results.map((result, i) => `${CALLS[Number.parseInt(lines[i]!, 10)]!.name} ${lines[i]}: ${result}`);
  };
  const native = run([program], { input: lines.join("\n") });

  test("is made in many ways, and the kernel says EFAULT to most", () => {
    expect(native).toMatchObject({ status: 0, stderr: "" });
    expect(answers(native.stdout).filter((answer) => answer.endsWith(": error 14")).length).toBeGreaterThan(500);
  });

  // Page 0 is mapped under `zero` alone. Without any privilege, many calls answer EPERM before they look at a pointer.
  test.each(MODES.filter(({ user }) => user === undefined))("is answered as natively: $name", (mode) => {
    const hooked = mode.run([program], { input: lines.join("\n") });
    expect(hooked.status).toBe(0);
    expect(answers(hooked.stdout)).toEqual(answers(native.stdout));
  });
});
