/** Programs that load libraries, and change mappings, after our start. */
import { expect, test } from "vitest";
import { libraryPath } from "../../src/session/library.ts";
import { fixture, run } from "./run.ts";

const hooked = (command: readonly string[]) => run(["env", `LD_PRELOAD=${libraryPath()}`, ...command]);

test("a library is not read where the loader has not mapped it yet", () => {
  const flags = ["-shared", "-fPIC", "-nostdlib", "-s", "-fno-asynchronous-unwind-tables", "-Wl,--no-eh-frame-hdr"];
  const { stdout, signal } = hooked([fixture("dlopen.c"), fixture("late.c", ...flags)]);
  expect([stdout, signal]).toEqual(["loaded\n", null]);
});
