/** The WebAssembly core test suite. Its data is not part of the project: `npm run test:spec -- DIRECTORY`. */
import { expect, test } from "vitest";
import { runSuite, specFiles } from "./spec-suite.ts";

const directory = process.env["WASM_SPEC_DIR"];

test.skipIf(directory === undefined)("the compiler agrees with the WebAssembly core test suite", () => {
  const files = specFiles(directory!);
  expect(files).not.toEqual([]);
  const { passed, failed, skipped } = runSuite(directory!, files);
  const lines = [...skipped].map(([reason, where]) => `  ${where.length} skipped: ${reason}: ${where.join(" ")}`);
  console.log([`${passed} assertions hold`, ...lines].join("\n"));
  expect(failed).toEqual([]);
  expect(passed).toBeGreaterThan(0);
});
