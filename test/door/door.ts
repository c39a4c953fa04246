/** Runs programs through zpoline-exec. */
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type Options, type Outcome, run } from "../e2e/run.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
export const DOOR = join(root, "dist/zpoline-exec");
export const FIXTURES = join(root, "test/fixtures");

export const throughDoor = (command: readonly string[], options: Options = {}, patch = "auto"): Outcome =>
  run([DOOR, `ZPOLINE_PATCH=${patch}`, "ZPOLINE_CACHE=off", "--", ...command], options);
