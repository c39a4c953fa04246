import * as fs from "node:fs";
import * as path from "node:path";
import { fileURLToPath } from "node:url";
import { ZpolineError } from "../errors.ts";

/** Where the build puts the library and the loader; the same from src/ and from dist/. */
const BUILT = fileURLToPath(new URL("../../dist/libzpoline.so", import.meta.url));
const BUILT_DOOR = fileURLToPath(new URL("../../dist/zpoline-exec", import.meta.url));

/** ld.so(8): LD_PRELOAD is a list separated by blanks or colons, and nothing can be quoted. */
const UNLISTABLE = /[\s:]/;

/** The absolute path of the library as it can stand in LD_PRELOAD. Throws ZpolineError NOT_BUILT or UNUSABLE_PATH. */
export function libraryPath(library: string = BUILT): string {
  requireBuilt(library);
  if (!UNLISTABLE.test(library)) return library;
  throw unusable(
    library,
    "there are blanks or colons in it",
    "install zpoline in a directory without blanks and colons",
  );
}

/**
 * A path of the library that can stand in LD_PRELOAD; where its own cannot, a link to it in `directory`. Throws
 * ZpolineError NOT_BUILT or UNUSABLE_PATH.
 */
export function preloadPath(directory: string, library: string = BUILT): string {
  requireBuilt(library);
  if (!UNLISTABLE.test(library)) return library;
  const link = path.join(directory, "libzpoline.so");
  if (UNLISTABLE.test(link)) {
    const cause = "there are blanks or colons in its path and in that of the temporary directory";
    throw unusable(library, cause, "set TMPDIR to a directory without blanks and colons");
  }
  fs.symlinkSync(library, link);
  return link;
}

/** The absolute path of zpoline-exec. Throws ZpolineError NOT_BUILT. */
export function doorPath(): string {
  requireBuilt(BUILT_DOOR);
  return BUILT_DOOR;
}

function requireBuilt(library: string): void {
  if (fs.existsSync(library)) return;
  throw new ZpolineError("NOT_BUILT", `${library} is missing`, { fix: "npm run build" });
}

function unusable(library: string, cause: string, fix: string): ZpolineError {
  return new ZpolineError("UNUSABLE_PATH", `LD_PRELOAD cannot name ${library}`, { cause, fix });
}

/** LD_PRELOAD with `library` first, before what the user preloads. */
export function preloadList(library: string, users: string | undefined): string {
  return users === undefined || users === "" ? library : `${library}:${users}`;
}
