import * as fs from "node:fs";
import { ZpolineError } from "../errors.ts";

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
  if (canMapZero(privilege)) return;
  throw new ZpolineError("NO_VA0", "cannot map memory at address 0, where the hook has to be", {
    cause: `vm.mmap_min_addr is ${privilege.minAddress.trim()} and this process has no CAP_SYS_RAWIO`,
    fix: "sudo sysctl -w vm.mmap_min_addr=0 (until the next boot), or run zpoline as root",
  });
}

export function canMapZero({ status, minAddress, uidMap }: Privilege): boolean {
  if (minAddress.trim() === "0") return true;
  const effective = /^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? "0";
  return ((BigInt(`0x${effective}`) >> CAP_SYS_RAWIO) & 1n) === 1n && isInitialNamespace(uidMap);
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
