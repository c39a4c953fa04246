import * as fs from "node:fs";
import * as path from "node:path";
import { fileURLToPath } from "node:url";
import { ZpolineError } from "../errors.ts";

/** Where the build puts the library; the same from src/ and from dist/. */
const BUILT = fileURLToPath(new URL("../../dist/libzpoline.so", import.meta.url));

/** ld.so(8): LD_PRELOAD is a list separated by blanks or colons, and nothing can be quoted. */
const UNLISTABLE = /[\s:]/;

/**
 * A path of the library that can stand in LD_PRELOAD; where its own cannot, a link to it in `directory`. Throws
 * ZpolineError NOT_BUILT or UNUSABLE_PATH.
 */
export function preloadPath(directory: string, library: string = BUILT): string {
  if (!fs.existsSync(library)) {
    throw new ZpolineError("NOT_BUILT", `${library} is missing`, { fix: "npm run build" });
  }
  if (!UNLISTABLE.test(library)) return library;
  const link = path.join(directory, "libzpoline.so");
  if (UNLISTABLE.test(link)) {
    throw new ZpolineError("UNUSABLE_PATH", `LD_PRELOAD cannot name ${library}`, {
      cause: "there are blanks or colons in its path and in that of the temporary directory",
      fix: "set TMPDIR to a directory without blanks and colons",
    });
  }
  fs.symlinkSync(library, link);
  return link;
}

/** LD_PRELOAD with `library` first, before what the user preloads. */
export function preloadList(library: string, users: string | undefined): string {
  return users === undefined || users === "" ? library : `${library}:${users}`;
}
