/** Binaryen, which asc uses: modules in the shape that its optimiser gives them, and as text. */
import binaryen from "binaryen";

/** Those that guests may use. With vectors, copies of 16 bytes would become vector moves. */
const FEATURES =
  binaryen.Features.Atomics |
  binaryen.Features.BulkMemory |
  binaryen.Features.BulkMemoryOpt |
  binaryen.Features.Memory64 |
  binaryen.Features.MutableGlobals |
  binaryen.Features.Multivalue |
  binaryen.Features.ReferenceTypes |
  binaryen.Features.SignExt;

function withModule<T>(module: binaryen.Module, use: (module: binaryen.Module) => T): T {
  try {
    module.setFeatures(FEATURES);
    return use(module);
  } finally {
    module.dispose();
  }
}

/** As `asc -O3` leaves it. */
export const optimised = (binary: Uint8Array): Uint8Array =>
  withModule(binaryen.readBinary(binary), (module) => {
    binaryen.setOptimizeLevel(3);
    binaryen.setShrinkLevel(0);
    module.optimize();
    return module.emitBinary();
  });

export const toText = (binary: Uint8Array): string =>
  withModule(binaryen.readBinary(binary), (module) => module.emitText());

export const fromText = (text: string): Uint8Array =>
  withModule(binaryen.parseText(text), (module) => module.emitBinary());
