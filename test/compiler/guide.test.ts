/** docs/guest.md is true: its programs compile, and its intrinsics and modules are those that exist. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { INTRINSICS } from "../../src/compiler/intrinsics.ts";
import { compileText, repository } from "./guest-fixture.ts";

const guide = readFileSync(join(repository, "docs/guest.md"), "utf8");
const programs = [...guide.matchAll(/```ts\n(.*?)```/gs)].map(([, text = ""]) => text);

test("the guide has programs", () => {
  expect(programs.length).toBeGreaterThanOrEqual(3);
});

test.each(programs.map((text) => [/export function (\w+)/.exec(text)?.[1] ?? "", text] as const))(
  "the program with %s compiles",
  async (_, text) => {
    const onTrap = text.includes("on_trap") ? { onTrap: "on_trap" } : {};
    const { entries } = await compileText({ "main.ts": text }, onTrap);
    expect(entries.length).toBeGreaterThan(0);
  },
);

test("the guide names every module of the standard library", () => {
  const documented = [...guide.matchAll(/^\| `(\w+\.ts)` /gm)].map(([, name]) => name);
  expect(documented.sort()).toEqual(readdirSync(join(repository, "guest/std")).sort());
});

test("std/raw declares every intrinsic, with its types", async () => {
  const raw = readFileSync(join(repository, "guest/std/raw.ts"), "utf8");
  const declared = [...raw.matchAll(/@external\("zpoline", "(\w+)"\)\nexport declare function (\w+)\((.*)\): (\w+);/g)];
  expect(declared.map(([, name]) => name).sort()).toEqual([...INTRINSICS.keys()].sort());
  for (const [, name = "", own = "", parameters = "", result = ""] of declared) {
    const types = parameters === "" ? [] : parameters.split(", ").map((parameter) => parameter.split(": ")[1]!);
    const letter = (type: string): string => (type === "void" ? "" : type.endsWith("64") ? "I" : "i");
    expect([name, `${types.map(letter).join("")}>${letter(result)}`]).toEqual([name, INTRINSICS.get(name)!.type]);
    expect(guide).toContain(own.replace(/^call\d/, "call"));
  }
});
