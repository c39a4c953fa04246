import { CaseList } from "../cases.ts";

export function processCases(): CaseList {
  const list = new CaseList();
  list.add("futex", [list.longs(1), 0x80, 2, 0, 0, 0]);
  list.add("futex", [list.longs(1), 0x80, 2, list.longs(1, 2), 0, 0], "ETIMEDOUT");
  list.add("futex", [list.longs(1), 0x81, 1], 1);
  list.add("futex", [list.longs(1), 0x189, 2, list.longs(1, 2), 0, 0xffffffff]);
  list.add("futex", [list.longs(1), 0x83, 1, 0x7fffffff, list.longs(5), 0], 1);
  list.add("futex", [list.longs(1), 0x84, 1, 0x7fffffff, list.longs(5), 3], 1);
  list.add("futex", [list.longs(1), 0x85, 1, 1, list.longs(5), 0x4000001], 1);
  list.add("futex", [list.longs(1), 0x85, 1, 1, list.longs(5), 0x8a005001], 1);
  list.add("futex", [list.longs(1), 6, 1, list.longs(1, 2), list.longs(5), 0x8a005001], 1);
  list.add("futex", [list.longs(1), 7, 1], 1);
  list.add("futex", [list.longs(1), 8, 1], 1);
  list.add("futex", [list.longs(1), 10, 1, 0, 0, -1], 1);
  list.add("futex", [list.longs(1), 0x10b, 1, list.longs(1, 2), list.longs(5), -1], 1);
  list.add("futex", [list.longs(1), 12, 1, 7, list.longs(5), -1], 1);
  list.add("futex", [list.longs(1), 13, 1, list.longs(1, 2), list.longs(5), -1], 1);
  list.add("futex", [list.longs(1), 77, 1, 7, list.longs(5), -1], 1);
  list.add("futex", [list.longs(1), 0x1ff, 1, 7, list.longs(5), -1], 1);
  list.add("futex", [list.longs(1), 2, 1, 7, list.longs(5), -1], 1);
  list.add("futex", [list.longs(1), 3, 1, 7, list.longs(5), -1], 1);
  list.add("futex", [list.longs(1), 0x82, 1, 7, list.longs(5), -1], 1);
  list.add("wait4", [-1, list.ints(0), 0, 0], 5);
  list.add("wait4", [-1, list.ints(0x300), 0, 0], 5);
  list.add("wait4", [-1, list.ints(9), 1, 0], 5);
  list.add("wait4", [-1, list.ints(0x8b), 0, 0], 5);
  list.add("wait4", [-1, list.ints(0x137f), 2, 0], 5);
  list.add("wait4", [-1, list.ints(0xffff), 8, 0], 5);
  list.add("wait4", [-1, list.ints(0x300), 1, list.longs(1, 2, 3, 4)]);
  list.add("wait4", [-1, list.ints(0), 0, 0], "ECHILD");
  list.add("wait4", [-1, 0, 0, 0], 5);
  list.add("wait4", [0, list.ints(0x3057f), 0x40000000, 0], 5);
  list.add("wait4", [0, list.ints(0xffffff), 0x40000000, 0], 5);
  list.add("waitid", [0, 0, list.ints(17, 0, 1, 0, 33, 1000, 3, 0), 4, 0]);
  list.add("waitid", [1, 33, list.ints(17, 0, 2, 0, 33, 1000, 9, 0), 4, 0]);
  list.add("waitid", [3, 33, list.ints(0, 0, 0, 0, 0, 0, 0, 0), 5, 0]);
  list.add("waitid", [1, 33, 0, 4, 0]);
  list.add("waitid", [1, 33, list.longs(1), 4, 0], "ECHILD");
  list.add("waitid", [1, 33, list.ints(17, 0, 5, 0, 33, 1000, 19, 0, 7, 0, 8, 0), 4, 0]);
  list.add("clone", [0x1200011, 0, 0, list.longs(5)], 77);
  list.add("clone", [0x3d0f00, 0x7000, list.ints(88), list.longs(5), 0x999], 77);
  list.add("clone", [0x4111, 0, 0, 0, 0], 77);
  list.add("clone", [0x100011, 0, list.ints(5), 0, 0], 77);
  list.add("clone", [0x1011, 0, list.ints(5), 0, 0], 77);
  list.add("clone", [0x80000, 0, list.ints(5), 0, 0x77], 77);
  list.add("clone", [0x80000011, 0, list.ints(5), 0, 0x77], "EAGAIN");
  list.add("clone", [0x0, 0, list.ints(5), 0, 0x77], 5);
  list.add("clone", [0x3d0f00, 0x7000, list.ints(88), list.longs(5), 0x999], "EAGAIN");
  list.add("clone3", [list.longs(0x4100, 0, 0, 0, 17, 0x7000, 0x1000, 0, 0, 0, 0), 88], 5);
  list.add(
    "clone3",
    [list.longs(0x3d0f00, 0x1, list.longs(5), list.ints(66), 0, 0x7000, 0x1000, 0x99, 0, 0, 0), 88],
    "ENOSYS",
  );
  list.add("clone3", [list.longs(0x300000000, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7), 88], 5);
  list.add("getrlimit", [7, list.longs(1024, -1)]);
  list.add("prlimit64", [0, 3, 0, list.longs(8192 * 1024, -1)]);
  list.add("prlimit64", [0, 4, list.longs(5, 1023), 0]);
  list.add("prlimit64", [0, 4, list.longs(2048, 1 << 20), 0]);
  list.add("sched_setaffinity", [0, 8, list.longs(0x5)]);
  list.add("sched_setaffinity", [0, 128, list.longs(-1, -1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)]);
  list.add("sched_getaffinity", [0, 128, list.longs(0xf)], 8);
  list.add("sched_getaffinity", [0, 128, list.longs(0xf)], "EINVAL");
  list.add("sched_setaffinity", [0, 4, list.longs(0x5)]);
  list.add("sched_setaffinity", [0, 0, list.longs(0x5)]);
  list.add("prctl", [15, list.text("name")]);
  list.add("prctl", [15, list.text("a-name-longer-than-16")]);
  list.add("prctl", [16, list.bytes("name\0" + "y".repeat(20))]);
  list.add("prctl", [16, list.text("name")], "EFAULT");
  list.add("prctl", [1, 9]);
  list.add("prctl", [2, list.ints(9)]);
  list.add("prctl", [2, list.ints(0)]);
  list.add("prctl", [3], 1);
  list.add("prctl", [4, 1]);
  list.add("prctl", [7]);
  list.add("prctl", [8, 1]);
  list.add("prctl", [23, 5], 1);
  list.add("prctl", [24, 63]);
  list.add("prctl", [21], 2);
  list.add("prctl", [22, 2, 0x77]);
  list.add("prctl", [25, list.ints(1)]);
  list.add("prctl", [26, 2]);
  list.add("prctl", [27], 0x2f);
  list.add("prctl", [28, 3]);
  list.add("prctl", [29, 50]);
  list.add("prctl", [30], 50000);
  list.add("prctl", [31]);
  list.add("prctl", [33, 1, 2, 0, 0]);
  list.add("prctl", [34, 0, 0, 0, 0], 2);
  list.add("prctl", [35, 8, 0x1000, 0, 0]);
  list.add("prctl", [35, 14, 0x1000, 104, 0]);
  list.add("prctl", [35, 13, 5, 0, 0]);
  list.add("prctl", [36, 1]);
  list.add("prctl", [37, list.ints(1)]);
  list.add("prctl", [38, 1, 0, 0, 0]);
  list.add("prctl", [39, 0, 0, 0, 0], 1);
  list.add("prctl", [40, list.longs(0x99)]);
  list.add("prctl", [41, 1, 0, 0, 0]);
  list.add("prctl", [42, 0, 0, 0, 0]);
  list.add("prctl", [47, 1, 5, 0, 0]);
  list.add("prctl", [47, 4, 0, 0, 0]);
  list.add("prctl", [52, 0, 0, 0, 0], 3);
  list.add("prctl", [53, 1, 4, 0, 0]);
  list.add("prctl", [57, 1]);
  list.add("prctl", [58], 1);
  list.add("prctl", [59, 1, 0x1000, 0x2000, 0x3000]);
  list.add("prctl", [59, 0, 0, 0, 0]);
  list.add("prctl", [0x53564d41, 0, 0x1000, 4096, list.text("stack")]);
  list.add("prctl", [0x53564d41, 0, 0x1000, 4096, 0]);
  list.add("prctl", [0x59616d61, -1]);
  list.add("prctl", [0x59616d61, 5]);
  list.add("prctl", [99, 1, 2, 3, 4], "EINVAL");
  list.add("prctl", [43, 0, 0, 0, 0]);
  list.add("arch_prctl", [0x1002, 0x7f0000]);
  list.add("arch_prctl", [0x1003, list.longs(0x7f0000)]);
  list.add("arch_prctl", [0x1003, list.longs(0x7f0000)], "EFAULT");
  list.add("arch_prctl", [0x3001, 0x7f00], "EINVAL");
  list.add("arch_prctl", [0x1011, 0], 1);
  list.add("arch_prctl", [0x1012, 1]);
  list.add("arch_prctl", [0x2003, 18]);
  list.add("rseq", [list.longs(0), 32, 0, 0x53053053]);
  list.add("rseq", [list.longs(0), 32, 1, 0x53053053]);
  list.add("personality", [0xffffffff]);
  list.add("personality", [0x40000]);
  list.add("personality", [0x40008], 0x40000);
  list.add("personality", [8], 8);
  list.add("personality", [0], 0x800000);
  list.add("seccomp", [1, 1, list.longs(5, 0x99)]);
  list.add("seccomp", [2, 0, list.ints(0x7fff0000)]);
  list.add("seccomp", [0, 0, 0]);
  list.add("seccomp", [9, 1, 5]);
  list.add("membarrier", [0, 0, 0], 0x7f);
  list.add("membarrier", [0, 0, 0]);
  list.add("membarrier", [16, 0, 0]);
  list.add("membarrier", [128, 1, 3]);
  list.add("sched_setscheduler", [0, 1, list.ints(5)]);
  list.add("sched_setscheduler", [0, 0x40000000, list.ints(5)]);
  list.add("sched_getscheduler", [0], 0x40000001);
  list.add("sched_getscheduler", [0]);
  list.add("sched_getscheduler", [0], 77);
  list.add("ioprio_set", [1, 0, 0x4004]);
  list.add("ioprio_get", [1, 0], 0x4004);
  list.add("ioprio_get", [1, 0]);
  list.add("ioprio_set", [1, 0, 0]);
  list.add("kcmp", [1, 2, 0, 3, 4]);
  list.add("kcmp", [1, 2, 99, 3, 4]);
  list.add("getpriority", [0, 0], 20);
  list.add(
    "execve",
    [
      list.text("/bin/ls"),
      list.longs(list.text("ls"), list.text("-l"), 0),
      list.longs(list.text("A=b"), list.text("B=c"), 0),
    ],
    "ENOENT",
  );
  list.add("execve", [list.text("/bin/ls"), list.longs(list.text("ls"), 0), list.longs(list.text("A=b"), 0)], "ENOENT");
  list.add("execve", [list.text("/bin/ls"), list.longs(0), list.longs(0)], "ENOENT");
  list.add("execve", [list.text("/bin/ls"), 0, 0], "ENOENT");
  list.add("execve", [list.text("/bin/ls"), 0x99, 0x99], "ENOENT");
  list.add("execve", [list.text("/bin/ls"), list.longs(list.bytes("a".repeat(50) + "\0"), 0), list.longs(0)], "ENOENT");
  list.add(
    "execve",
    [list.text("/bin/ls"), list.longs(...Array.from({ length: 40 }, () => list.text("x")), 0), list.longs(0)],
    "ENOENT",
  );
  list.add(
    "execveat",
    [
      -100,
      list.text("/bin/ls"),
      list.longs(list.text("ls"), list.text("-l"), 0),
      list.longs(list.text("A=b"), list.text("B=c"), 0),
      0x1000,
    ],
    "ENOENT",
  );
  list.add("ptrace", [0, 0, 0, 0]);
  list.add("ptrace", [16, 5, 0, 0]);
  list.add("ptrace", [7, 5, 1, 9]);
  list.add("ptrace", [0x4200, 5, 0, 0x100001]);
  list.add("ptrace", [0x4206, 5, 0, 0x1]);
  list.add("ptrace", [99, 5, 1, 7]);
  list.add("set_robust_list", [list.longs(1), 24]);
  list.add("getcpu", [list.ints(3), 0, 0]);
  list.add("exit", [3]);
  list.add("unshare", [0x20000]);
  list.add("setns", [3, 0x20000]);
  list.add("setns", [3, 0]);
  list.add("getrusage", [0xffffffff, list.longs(1, 2, 3, 4)]);
  return list;
}
