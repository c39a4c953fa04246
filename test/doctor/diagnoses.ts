/** Facts of made-up machines. */
import type { Facts, Trial } from "../../src/doctor/facts.ts";

export const works: Trial = { works: true, why: null };
export const fails = (why: string | null): Trial => ({ works: false, why });

/** A machine on which everything can be had. */
export const best: Facts = {
  kernel: { release: "6.18.1", machine: "x86_64" },
  processor: { model: "A Processor", protectionKeys: true, avx512: true, amx: false, fsgsbase: true },
  addressZero: {
    mapping: works,
    minAddress: 65536,
    capability: { effective: true, bounding: true },
    initialUserNamespace: true,
    selinux: "off",
    executeOnly: works,
  },
  userDispatch: works,
  seccomp: { mode: "none", filters: 0 },
  proc: { mounted: true, textWritable: works },
  executableMemory: works,
  int80: works,
  ptraceScope: 1,
  perfEventParanoid: 2,
  loader: { path: "/lib64/ld-linux-x86-64.so.2", libc: "glibc" },
  library: { path: "/opt/zpoline/dist/libzpoline.so", error: null },
  temporary: { path: "/tmp", writable: true, free: 1 << 30, programs: "/tmp" },
  cache: { path: "/home/user/.cache/zpoline", state: "used" },
};

/** An ordinary user of a distribution's kernel. */
export const ordinary: Facts = {
  ...best,
  addressZero: { ...best.addressZero, mapping: fails("EPERM"), capability: { effective: false, bounding: true } },
};
