/** Who runs the programs of a test: who runs the tests, or somebody without any privilege. */
import { spawnSync } from "node:child_process";
import { chmodSync, cpSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll } from "vitest";

const checkout = fileURLToPath(new URL("../..", import.meta.url));
const NOBODY = "65534";

export interface User {
  readonly name: string;
  /** What in front of a command makes it this user's. */
  readonly become: readonly string[];
}

/** No capability, and none to be had by exec. */
const DROPPED = ["--inh-caps=-all", "--bounding-set=-all"];

/** A user without capabilities, whoever runs the tests. */
export const ORDINARY: User = {
  name: "ordinary user",
  become:
    process.getuid?.() === 0 ? ["setpriv", "--reuid", NOBODY, "--regid", NOBODY, "--clear-groups", ...DROPPED] : [],
};

let copy: string | undefined;
afterAll(() => {
  if (copy !== undefined) rmSync(copy, { recursive: true, force: true });
});

/** What npm would install, where everybody may read it: the checkout may lie in somebody's home directory. */
function openCopy(): string {
  if (copy !== undefined) return copy;
  const directory = mkdtempSync(join(tmpdir(), "zpoline-open-"));
  chmodSync(directory, 0o755);
  for (const part of ["bin", "dist", "package.json", "node_modules/commander"]) {
    cpSync(join(checkout, part), join(directory, part), { recursive: true });
  }
  spawnSync("chmod", ["-R", "a+rX", directory]);
  copy = directory;
  return directory;
}

/** Directory of the zpoline that the user runs. */
export const packageOf = (user: User | undefined): string => (user === undefined ? checkout : openCopy());
