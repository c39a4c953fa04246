/** The kinds of patches under which programs behave as they do natively. */
import type { PatchChoice } from "../../src/session/session.ts";

const ALL: readonly PatchChoice[] = ["zero", "jump", "trap", "auto"];

/** ZPOLINE_TEST_PATCHES, a list with commas, chooses others. */
export const PATCHES = (process.env["ZPOLINE_TEST_PATCHES"]?.split(",") as PatchChoice[] | undefined) ?? ALL;

/** Whether Syscall User Dispatch catches what was not rewritten. */
export const usesTrap = (patch: PatchChoice): boolean => patch !== "zero" && patch !== "jump";
