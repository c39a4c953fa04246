/** The two images, one for each door, from the same parts: the compiled guest and the templates. Pure but for the compiler. */
import { type CompiledGuest, compileGuest } from "../compiler/compile.ts";
import type { ObjectFile } from "../compiler/object.ts";
import { writeExecutable, writeSharedObject } from "../elf/write.ts";
import { dispatchStub } from "./dispatch-stub.ts";
import { doorStub } from "./door-stub.ts";
import { elsewhereStub } from "./elsewhere.ts";
import { hookStub } from "./hook-stub.ts";
import { int80Stub } from "./int80-stub.ts";
import { landingStub } from "./landing.ts";
import { imageMemory } from "./memory.ts";
import { pointerUnit } from "./pointers.ts";
import { signalStub } from "./signal-stub.ts";
import { entryStub } from "./stubs.ts";
import { foreignStub, trapStub } from "./trap-stub.ts";

/** The preload door. */
export const LIBRARY_NAME = "libzpoline.so";
/** The loader door. */
export const DOOR_NAME = "zpoline-exec";

const INT3 = 0xcc;
/** Most bytes of the program's stack that a hook may take, below the frame of the entry stub. */
const MAX_STACK = 2048;

/** Where the code begins whose calls are our own, behind the stubs that make those of the program. */
const guestText: ObjectFile = { code: [{ name: "zp_guest_text", bytes: Uint8Array.of(INT3), relocs: [] }], data: [] };

export interface Images {
  readonly library: Uint8Array;
  readonly door: Uint8Array;
  readonly guest: CompiledGuest;
}

const templates = (): ObjectFile[] => [
  entryStub(),
  landingStub(),
  pointerUnit(),
  hookStub(),
  int80Stub(),
  foreignStub(),
  dispatchStub(),
  elsewhereStub(),
  signalStub(),
  guestText,
  trapStub(),
];

/** Compiles the guest whose entry module is `entry`, below the project's `root`, and links it. */
export async function buildImages(entry: string, root: string): Promise<Images> {
  const guest = await compileGuest({ entry, root, maxStack: MAX_STACK });
  const objects = [...templates(), guest.object, imageMemory()];
  const library = writeSharedObject(objects, {
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
  });
  const door = writeExecutable([...objects, doorStub()], { base: "pie" });
  return { library, door, guest };
}
