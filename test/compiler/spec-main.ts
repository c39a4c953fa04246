/** `npm run test:spec -- DIR`: the WebAssembly core test suite in DIR, as wast2json writes it. */
import { compileBased } from "./compile.ts";
import { runSpec, specFiles } from "./spec.ts";

const [directory] = process.argv.slice(2);
if (directory === undefined) {
  process.stderr.write(
    "usage: npm run test:spec -- DIR (a directory with what wast2json made of the core test suite)\n",
  );
  process.exit(2);
}
const files = specFiles(directory);
const { passed, failed, skipped } = runSpec(directory, files, compileBased);
for (const [reason, names] of skipped) {
  console.log(`skipped, ${reason}: ${names.length}`);
  for (const name of names) console.log(`  ${name}`);
}
for (const failure of failed) console.log(`FAILED ${failure}`);
const total = [...skipped.values()].reduce((sum, names) => sum + names.length, 0);
console.log(`${files.length} files: ${passed} passed, ${failed.length} failed, ${total} skipped`);
if (failed.length > 0 || passed === 0) process.exitCode = 1;
