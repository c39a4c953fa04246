import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const root = fileURLToPath(new URL("..", import.meta.url));

/** Codes that the sources throw: the first argument of `new ZpolineError(`, where it is a literal. */
function thrown(directory: string): Set<string> {
  const codes = new Set<string>();
  for (const name of readdirSync(join(root, directory), { recursive: true, encoding: "utf8" })) {
    if (!name.endsWith(".ts")) continue;
    const text = readFileSync(join(root, directory, name), "utf8");
    for (const [, code = ""] of text.matchAll(/new ZpolineError\(\s*"([A-Z0-9_]+)"/g)) codes.add(code);
  }
  return codes;
}

const catalogue = readFileSync(join(root, "docs/errors.md"), "utf8");
const rows = [...catalogue.matchAll(/^\| `([A-Z0-9_]+)` *\| (.*) \| (.*) \|$/gm)];
const documented = rows.map(([, code = ""]) => code);

test("docs/errors.md has every code, once, with cause and fix", () => {
  expect(documented).toEqual([...new Set(documented)]);
  expect([...thrown("src")].filter((code) => !documented.includes(code))).toEqual([]);
  for (const [, , cause, fix] of rows) {
    expect(cause?.trim()).not.toBe("");
    expect(fix?.trim()).not.toBe("");
  }
});

test("docs/errors.md has no code that nothing throws", () => {
  const codes = thrown("src");
  expect(documented.filter((code) => !codes.has(code))).toEqual([]);
});
