/** The right to map memory at address 0, which every program that is to be hooked needs. */
import { sameBytes } from "../std/bytes";
import { cstr } from "../std/cstr";
import { syscall6 } from "../std/raw";
import { closeFile, failed, O_CLOEXEC, O_RDONLY, openFile, SYS_GETEUID, SYS_PRCTL, SYS_READ, SYS_READLINK } from "../std/sys";

const CAP_SYS_RAWIO: u64 = 17;
/** Bytes of memory that the questions need. */
export const SCRATCH: usize = 24;
const PR_CAPBSET_READ: u64 = 23;
const PR_CAP_AMBIENT: u64 = 47;
const PR_CAP_AMBIENT_IS_SET: u64 = 1;

/**
 * Whether what this process executes next may map address 0 (security/commoncap.c, cap_mmap_addr): root has what its bounding
 * set has, others have their ambient capabilities (capabilities(7)). Where that cannot be told the answer is yes: then the
 * program says itself that it cannot. `scratch`: SCRATCH bytes.
 */
export function mayMapZero(scratch: usize): bool {
  if (!inInitialNamespace(scratch)) return allowsEveryone(scratch);
  if (syscall6(SYS_GETEUID, 0, 0, 0, 0, 0, 0) == 0) {
    if (syscall6(SYS_PRCTL, PR_CAPBSET_READ, CAP_SYS_RAWIO, 0, 0, 0, 0) != 0) return true;
  } else if (syscall6(SYS_PRCTL, PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, CAP_SYS_RAWIO, 0, 0, 0) == 1) {
    return true;
  }
  return allowsEveryone(scratch);
}

/** Capabilities count in the initial user namespace only, which has a fixed inode (linux/proc_ns.h, PROC_USER_INIT_INO). */
export function inInitialNamespace(scratch: usize): bool {
  const length = syscall6(SYS_READLINK, cstr("/proc/self/ns/user"), scratch, SCRATCH, 0, 0, 0);
  return length < 0 || (length == 17 && sameBytes(scratch, cstr("user:[4026531837]"), 17));
}

/** vm.mmap_min_addr = 0. */
function allowsEveryone(scratch: usize): bool {
  const fd = openFile(cstr("/proc/sys/vm/mmap_min_addr"), O_RDONLY | O_CLOEXEC);
  if (failed(fd)) return true;
  const length = syscall6(SYS_READ, fd, scratch, 1, 0, 0, 0);
  closeFile(fd);
  return length != 1 || load<u8>(scratch) == 0x30;
}
