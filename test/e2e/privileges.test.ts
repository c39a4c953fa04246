/** Programs that lose the right to map address 0 while they are hooked. */
import { chmodSync, copyFileSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { libraryPath } from "../../src/session/library.ts";
import { readAudit } from "./audit.ts";
import { run, scratch } from "./run.ts";

// Other users can read neither the checkout nor the scratch directory.
const open = mkdtempSync("/tmp/zpoline-open-");
afterAll(() => rmSync(open, { recursive: true, force: true }));
chmodSync(open, 0o755);
const library = join(open, "libzpoline.so");
copyFileSync(libraryPath(), library);
chmodSync(library, 0o755);

const SHOW = ["/bin/sh", "-c", 'id -u; echo "<$LD_PRELOAD>"; exec /bin/true'];
const limited = readFileSync("/proc/sys/vm/mmap_min_addr", "utf8") !== "0\n";

describe.runIf(process.getuid?.() === 0 && limited)("what a program starts that may not map address 0 any more", () => {
  const LOST = [
    ["another user", ["setpriv", "--reuid", "65534", "--clear-groups"]],
    ["root without the capability", ["setpriv", "--bounding-set=-sys_rawio"]],
    ["another user namespace", ["unshare", "--user", "--map-root-user"]],
  ] as const;

  test.each(LOST)("%s: runs unhooked, without our library", (_name, command) => {
    const { LD_PRELOAD: _, ...env } = process.env;
    const native = run([...command, ...SHOW], { env });
    expect(native.status).toBe(0);
    expect(run([...command, ...SHOW], { env: { ...env, LD_PRELOAD: library } })).toEqual(native);
  });

  test("is in the audit log", () => {
    const log = join(scratch, "privileges.log");
    const command = ["setpriv", "--bounding-set=-sys_rawio", "/bin/true"];
    run(command, { env: { ...process.env, LD_PRELOAD: library, ZPOLINE_AUDIT: log } });
    expect(readAudit(log).filter(({ kind }) => kind === "no-va0")).toMatchObject([{ detail: "/bin/true" }]);
  });

  test("other preloaded libraries stay", () => {
    const env = { ...process.env, LD_PRELOAD: `libm.so.6:${library}:libdl.so.2` };
    const { stdout } = run(["setpriv", "--reuid", "65534", "--clear-groups", ...SHOW], { env });
    expect(stdout).toBe("65534\n<libm.so.6:libdl.so.2>\n");
  });

  test("the first one says what is missing", () => {
    const env = { ...process.env, LIB: library };
    const outcome = run(["setpriv", "--reuid", "65534", "--clear-groups", "/bin/sh", "-c", "LD_PRELOAD=$LIB id"], {
      env,
    });
    expect(outcome.status).toBe(125);
    expect(outcome.stderr).toMatch(
      /^zpoline: .* \(NO_VA0\)\n {2}cause: vm\.mmap_min_addr is not 0.*\n {2}fix: ZPOLINE_PATCH=auto.*sudo sysctl/,
    );
  });
});
