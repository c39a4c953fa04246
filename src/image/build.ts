/** `npm run build:guest`: compiles guest/ to dist/libzpoline.so. */
import { writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { ZpolineError } from "../errors.ts";
import { buildLibrary, LIBRARY_NAME } from "./image.ts";

const fromHere = (path: string) => fileURLToPath(new URL(path, import.meta.url));

try {
  const library = await buildLibrary(fromHere("../../guest/main.ts"), fromHere("../.."));
  const path = fromHere(`../../dist/${LIBRARY_NAME}`);
  writeFileSync(path, library, { mode: 0o755 });
  process.stdout.write(`${path}: ${library.length} bytes\n`);
} catch (error) {
  if (!(error instanceof ZpolineError)) throw error;
  process.stderr.write(`${error.format()}\n`);
  process.exitCode = 1;
}
