/** The search for system calls as an ordinary WebAssembly module, for V8: what `zpoline scan` decides by. */
import { ZpolineError } from "../errors.ts";

export const SCAN_NAME = "scan.wasm";

/** Compiles `entry`, relative to `root`. Throws ZpolineError SCAN_BUILD with the compiler's diagnostics. */
export async function buildScan(entry: string, root: string): Promise<Uint8Array> {
  const { main } = await import("assemblyscript/asc");
  let wasm: Uint8Array | undefined;
  const { error, stderr } = await main(
    [
      ...[entry, "--baseDir", root, "--outFile", SCAN_NAME],
      ...["-O3", "--runtime", "stub", "--noAssert", "--use", "abort="],
    ],
    {
      writeFile: (_name: string, contents: Uint8Array | string) => {
        if (typeof contents !== "string") wasm = contents;
      },
    },
  );
  if (error !== null || wasm === undefined) {
    throw new ZpolineError("SCAN_BUILD", `${entry} cannot be compiled`, { cause: `${error?.message}\n${stderr}` });
  }
  return wasm;
}
