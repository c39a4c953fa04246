/** `npm run build:guest`: compiles guest/ to dist/libzpoline.so, dist/zpoline-exec and dist/scan.wasm. `--verbose` tells stack and code sizes as well. */
import { rmSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { ZpolineError } from "../errors.ts";
import { buildImages, DOOR_NAME, LIBRARY_NAME } from "./image.ts";
import { describeGuest } from "./report.ts";
import { buildScan, SCAN_NAME } from "./scan.ts";

const fromHere = (path: string) => fileURLToPath(new URL(path, import.meta.url));

/** In place of a file that may be running. */
function write(name: string, bytes: Uint8Array): void {
  const path = fromHere(`../../dist/${name}`);
  rmSync(path, { force: true });
  writeFileSync(path, bytes, { mode: 0o755 });
  process.stdout.write(`${path}: ${bytes.length} bytes\n`);
}

try {
  const { values } = parseArgs({ options: { verbose: { type: "boolean", default: false } } });
  const { library, door, guest } = await buildImages(fromHere("../../guest/main.ts"), fromHere("../.."));
  if (values.verbose) process.stdout.write(describeGuest(guest));
  write(LIBRARY_NAME, library);
  write(DOOR_NAME, door);
  writeFileSync(fromHere(`../../dist/${SCAN_NAME}`), await buildScan("guest/scan.ts", fromHere("../..")));
} catch (error) {
  if (!(error instanceof ZpolineError)) throw error;
  process.stderr.write(`${error.format()}\n`);
  process.exitCode = 1;
}
