import * as fs from "node:fs";
import { ZpolineError } from "../errors.ts";

/**
 * Throws ZpolineError NO_PROC where /proc is missing, or shows another pid namespace than this process is in: who is alive
 * could not be told then, and what the dead have left in the ring would be lost, or never waited for.
 */
export function requireProc(): void {
  let self = "";
  try {
    self = fs.readlinkSync("/proc/self");
  } catch {
    // Not mounted.
  }
  if (self === String(process.pid)) return;
  throw new ZpolineError("NO_PROC", "zpoline cannot see which processes are alive", {
    cause: self === "" ? "/proc is not mounted" : "/proc is that of another pid namespace",
    fix: "mount -t proc proc /proc (unshare --mount-proc)",
  });
}

/** capabilities(7). */
const CAP_SYS_RAWIO = 17n;

/** What decides whether a process may map address 0 (security/commoncap.c, cap_mmap_addr). */
export interface Privilege {
  /** /proc/self/status */
  readonly status: string;
  /** /proc/sys/vm/mmap_min_addr */
  readonly minAddress: string;
  /** /proc/self/uid_map: capabilities in a user namespace of one's own do not count. */
  readonly uidMap: string;
}

/** Throws ZpolineError NO_VA0 when the program could not map the sled at address 0. */
export function requireAddressZero(privilege: Privilege = readPrivilege()): void {
  const refusal = whyNotZero(privilege);
  if (refusal === undefined) return;
  throw new ZpolineError("NO_VA0", "cannot map memory at address 0, which the patch `zero` needs", {
    cause: `vm.mmap_min_addr is ${privilege.minAddress.trim()}, and ${refusal.cause}`,
    fix: `--patch auto, which needs no address 0; or ${refusal.fix} (docs/errors.md has more)`,
  });
}

export function canMapZero(privilege: Privilege): boolean {
  return whyNotZero(privilege) === undefined;
}

const SYSCTL = "sudo sysctl -w vm.mmap_min_addr=0";

/** Undefined when nothing is known that speaks against it. What SELinux says is heard only by who tries. */
function whyNotZero({ status, minAddress, uidMap }: Privilege): { cause: string; fix: string } | undefined {
  if (minAddress.trim() === "0") return undefined;
  const has = (set: string): boolean => {
    const bits = new RegExp(`^${set}:\\s*([0-9a-f]+)$`, "m").exec(status)?.[1] ?? "0";
    return ((BigInt(`0x${bits}`) >> CAP_SYS_RAWIO) & 1n) === 1n;
  };
  if (!isInitialNamespace(uidMap)) {
    const cause = "no capability of a user namespace (a container without the host's root) changes that";
    return { cause, fix: `on the host ${SYSCTL}` };
  }
  if (has("CapEff")) return undefined;
  const cause = "this process has no CAP_SYS_RAWIO";
  if (!has("CapBnd"))
    return { cause: `${cause}, nor can it get it`, fix: `${SYSCTL}, or docker run --cap-add SYS_RAWIO` };
  return { cause, fix: `${SYSCTL}, or run zpoline as root` };
}

/** The initial user namespace maps all ids to themselves (user_namespaces(7)). */
function isInitialNamespace(uidMap: string): boolean {
  return /^\s*0\s+0\s+4294967295\s*$/.test(uidMap);
}

function readPrivilege(): Privilege {
  return {
    status: read("/proc/self/status"),
    minAddress: read("/proc/sys/vm/mmap_min_addr"),
    uidMap: read("/proc/self/uid_map"),
  };
}

function read(file: string): string {
  try {
    return fs.readFileSync(file, "latin1");
  } catch {
    return "";
  }
}
