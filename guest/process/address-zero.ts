/** A process that was to use page 0, and may not map it. Start-up: one thread, nothing hooked. */
import { GAP_NO_VA0, RING_H_ROOT } from "../../src/image/layout";
import { recordGap } from "../record/record";
import { ring } from "../record/ring";
import { cstr } from "../std/cstr";
import { fatal, refuse } from "../std/log";
import { EACCES, EEXIST, EPERM } from "../std/sys";
import { inSession } from "./environment";
import { inInitialNamespace, SCRATCH } from "./privileges";

const scratch: usize = memory.data(<i32>SCRATCH, 8);

/**
 * The first program of a session, or one without a session, does not run unhooked; a later one does, as a gap. (One that
 * may not open the ring is reported by whoever executed it: it never says that it has started.) `errno`: of the mmap.
 */
export function withoutSled(errno: u64): void {
  if (inSession() && !ring) return;
  if (ring && load<u32>(ring + RING_H_ROOT)) {
    recordGap(GAP_NO_VA0, errno, cstr("mmap at address 0"), 17);
    return;
  }
  const what = cstr("this process may not map memory at address 0");
  if (errno == <u64>EPERM) {
    refuse(cstr("NO_VA0"), what, whyForbidden(), howAllowed());
  } else if (errno == <u64>EACCES) {
    const cause = cstr("SELinux forbids it (mmap_zero), or written memory may not be executed (PR_SET_MDWE)");
    refuse(cstr("NO_VA0"), what, cause, cstr("ZPOLINE_PATCH=auto, which needs no address 0; or sudo setsebool -P mmap_low_allowed 1"));
  } else if (errno == <u64>EEXIST) {
    const cause = cstr("something is mapped there: the program is linked for it, or another library uses it");
    refuse(cstr("NO_VA0"), what, cause, cstr("ZPOLINE_PATCH=auto, which needs no address 0"));
  } else {
    fatal(cstr("NO_VA0"), what, errno, cstr("ZPOLINE_PATCH=auto, which needs no address 0"));
  }
}

function whyForbidden(): usize {
  if (inInitialNamespace(scratch)) return cstr("vm.mmap_min_addr is not 0, and the process has no CAP_SYS_RAWIO");
  return cstr("vm.mmap_min_addr is not 0, and no capability of a user namespace (a container) changes that");
}

function howAllowed(): usize {
  if (inInitialNamespace(scratch)) {
    return cstr("ZPOLINE_PATCH=auto, which needs no address 0; or sudo sysctl -w vm.mmap_min_addr=0; or run it as root");
  }
  return cstr("ZPOLINE_PATCH=auto, which needs no address 0; or, on the host, sudo sysctl -w vm.mmap_min_addr=0");
}
