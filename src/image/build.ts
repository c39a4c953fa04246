/** `npm run build:guest`: compiles guest/ to dist/libzpoline.so and dist/scan.wasm. `--verbose` tells stack and code sizes as well. */
import { writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { ZpolineError } from "../errors.ts";
import { buildLibrary, LIBRARY_NAME } from "./image.ts";
import { describeGuest } from "./report.ts";
import { buildScan, SCAN_NAME } from "./scan.ts";

const fromHere = (path: string) => fileURLToPath(new URL(path, import.meta.url));

try {
  const { values } = parseArgs({ options: { verbose: { type: "boolean", default: false } } });
  const { bytes, guest } = await buildLibrary(fromHere("../../guest/main.ts"), fromHere("../.."));
  const path = fromHere(`../../dist/${LIBRARY_NAME}`);
  writeFileSync(path, bytes, { mode: 0o755 });
  if (values.verbose) process.stdout.write(describeGuest(guest));
  process.stdout.write(`${path}: ${bytes.length} bytes\n`);
  writeFileSync(fromHere(`../../dist/${SCAN_NAME}`), await buildScan("guest/scan.ts", fromHere("../..")));
} catch (error) {
  if (!(error instanceof ZpolineError)) throw error;
  process.stderr.write(`${error.format()}\n`);
  process.exitCode = 1;
}
