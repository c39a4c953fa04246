/** The shared object of the preload door, from its parts: the compiled guest and the entry stub. Pure but for the compiler. */
import { type CompiledGuest, compileGuest } from "../compiler/compile.ts";
import type { ObjectFile } from "../compiler/object.ts";
import { writeSharedObject } from "../elf/write.ts";
import { dispatchStub } from "./dispatch-stub.ts";
import { hookStub } from "./hook-stub.ts";
import { int80Stub } from "./int80-stub.ts";
import { landingStub } from "./landing.ts";
import { imageMemory } from "./memory.ts";
import { pointerUnit } from "./pointers.ts";
import { signalStub } from "./signal-stub.ts";
import { entryStub } from "./stubs.ts";
import { foreignStub, trapStub } from "./trap-stub.ts";

export const LIBRARY_NAME = "libzpoline.so";

const INT3 = 0xcc;
/** Most bytes of the program's stack that a hook may take, below the frame of the entry stub. */
const MAX_STACK = 2048;

/** Where the code begins whose calls are our own, behind the stubs that make those of the program. */
const guestText: ObjectFile = { code: [{ name: "zp_guest_text", bytes: Uint8Array.of(INT3), relocs: [] }], data: [] };

export interface Library {
  readonly bytes: Uint8Array;
  readonly guest: CompiledGuest;
}

/** Compiles the guest whose entry module is `entry`, below the project's `root`, and links it. */
export async function buildLibrary(entry: string, root: string): Promise<Library> {
  const guest = await compileGuest({ entry, root, maxStack: MAX_STACK });
  const bytes = writeSharedObject(
    [
      entryStub(),
      landingStub(),
      pointerUnit(),
      hookStub(),
      int80Stub(),
      foreignStub(),
      dispatchStub(),
      signalStub(),
      guestText,
      trapStub(),
      guest.object,
      imageMemory(),
    ],
    {
      soname: LIBRARY_NAME,
      init: ["on_load"],
      imports: {
        environ: "zp_environ",
        dlmopen: "zp_dlmopen",
        dlopen: "zp_dlopen",
        dlsym: "zp_dlsym",
        dlerror: "zp_dlerror",
      },
      // First of all constructors, so that those of other libraries are hooked; and never unloaded: patched code calls it.
      flags: ["initfirst", "nodelete"],
    },
  );
  return { bytes, guest };
}
