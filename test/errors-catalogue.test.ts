import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const root = fileURLToPath(new URL("..", import.meta.url));

/** What Node code throws and what guest code says as it ends the program, where the code is a literal. */
const THROWN = /(?:new ZpolineError\(\s*|(?:refuse|fatal|complain)\(\s*cstr\()"([A-Z0-9_]+)"|\(([A-Z]+_[A-Z]+)\)\\n/g;

/** Codes that the sources throw. */
function thrown(directory: string): Set<string> {
  const codes = new Set<string>();
  for (const name of readdirSync(join(root, directory), { recursive: true, encoding: "utf8" })) {
    if (!name.endsWith(".ts")) continue;
    const text = readFileSync(join(root, directory, name), "utf8");
    for (const [, literal, said = ""] of text.matchAll(THROWN)) codes.add(literal ?? said);
  }
  return codes;
}

const catalogue = readFileSync(join(root, "docs/errors.md"), "utf8");
const rows = [...catalogue.matchAll(/^\| `([A-Z0-9_]+)` *\| (.*) \| (.*) \|$/gm)];
const documented = rows.map(([, code = ""]) => code);

test("docs/errors.md has every code, once, with cause and fix", () => {
  expect(documented).toEqual([...new Set(documented)]);
  expect([...thrown("src"), ...thrown("guest")].filter((code) => !documented.includes(code))).toEqual([]);
  for (const [, , cause, fix] of rows) {
    expect(cause?.trim()).not.toBe("");
    expect(fix?.trim()).not.toBe("");
  }
});

test("docs/errors.md has no code that nothing throws", () => {
  const codes = new Set([...thrown("src"), ...thrown("guest")]);
  expect(documented.filter((code) => !codes.has(code))).toEqual([]);
});
