import { existsSync, readdirSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { ERRORS, errorOf } from "../../src/syscalls/errno.ts";
import { NAME_TABLES } from "../../src/syscalls/flags/index.ts";
import { IOCTLS } from "../../src/syscalls/ioctls.ts";
import { signalName } from "../../src/syscalls/signals.ts";
import { askStrace, haveStrace, Memory } from "../present/oracle.ts";

const INCLUDE = "/usr/include";
const FOLDERS = ["asm-generic", "linux", "x86_64-linux-gnu/asm", "linux/netfilter", "linux/can"];
/** Names that more than one header gives a value of its own, or whose value strace takes from another architecture. */
const AMBIGUOUS = /^(_IOC|O_LARGEFILE|SO_TIMESTAMP|SO_RCVTIMEO|SO_SNDTIMEO)/;

/** All numbers that the kernel's headers for programs define by name; undefined where two headers disagree. */
function defines(): Map<string, bigint | undefined> {
  const found = new Map<string, bigint | undefined>();
  const files = FOLDERS.filter((folder) => existsSync(`${INCLUDE}/${folder}`)).flatMap((folder) =>
    readdirSync(`${INCLUDE}/${folder}`)
      .filter((name) => name.endsWith(".h"))
      .map((name) => `${INCLUDE}/${folder}/${name}`),
  );
  for (const file of files) {
    for (const [, name, text] of readFileSync(file, "latin1").matchAll(
      /^#[ \t]*define[ \t]+(\w+)[ \t]+([^\n]+?)[ \t]*(?:\/\*.*)?$/gm,
    )) {
      const value = evaluate(text!);
      if (value === undefined) continue;
      found.set(name!, found.has(name!) && found.get(name!) !== value ? undefined : value);
    }
  }
  return found;
}

/** A number, or one shifted. */
function evaluate(text: string): bigint | undefined {
  const match = /^\(?\s*(0x[0-9a-f]+|\d+)(?:u|ul|ull|l)?\s*(?:<<\s*(\d+))?\s*\)?$/i.exec(text);
  if (match === null) return undefined;
  const octal = /^0\d/.test(match[1]!) ? `0o${match[1]!.slice(1)}` : match[1]!;
  if (/^0o.*[89]/.test(octal)) return undefined;
  return BigInt(octal) << BigInt(match[2] ?? 0);
}

describe.skipIf(!existsSync(`${INCLUDE}/linux/fcntl.h`))("the kernel's headers on this machine", () => {
  const known = defines();

  it("give names of flags the same values", () => {
    const different: string[] = [];
    let compared = 0;
    for (const [table, { entries }] of Object.entries(NAME_TABLES)) {
      for (const [name, value] of entries) {
        const defined = known.get(name);
        if (defined === undefined || AMBIGUOUS.test(name)) continue;
        compared += 1;
        if (BigInt.asUintN(32, defined) !== BigInt.asUintN(32, BigInt(value))) different.push(`${table}.${name}`);
      }
    }
    expect(different).toEqual([]);
    expect(compared).toBeGreaterThan(900);
  });

  it("give errors the same numbers", () => {
    for (const [number, name] of ERRORS) {
      if (number < 512) expect([name, known.get(name)]).toEqual([name, BigInt(number)]);
    }
    const errors = [...known].filter(
      ([name, value]) => /^E[A-Z0-9]+$/.test(name) && value !== undefined && value > 0n && value < 134n,
    );
    for (const [name, value] of errors) expect(errorOf(Number(value)), name).toBeDefined();
  });

  it("give signals the same numbers", () => {
    for (let number = 1; number < 32; number++) {
      const name = `SIG${signalName(number)}`;
      if (known.get(name) !== undefined) expect([name, known.get(name)]).toEqual([name, BigInt(number)]);
    }
    expect(signalName(0)).toBeUndefined();
    expect(signalName(34)).toBe("RT_2");
    expect(signalName(65)).toBeUndefined();
  });

  it("give requests of ioctl the same numbers", () => {
    let compared = 0;
    for (const [request, { name }] of Object.entries(IOCTLS)) {
      const defined = known.get(name.split(" or ").at(-1)!);
      if (defined === undefined) continue;
      compared += 1;
      expect([name, defined]).toEqual([name, BigInt(request)]);
    }
    expect(compared).toBeGreaterThan(60);
  });
});

describe.skipIf(!haveStrace())("the strace on this machine", () => {
  it("has the same texts of errors", () => {
    const named = ERRORS.filter(([number]) => number < 512);
    const cases = named.map(([, result]) => ({ name: "getppid", nr: 110, args: [], result }));
    const expected = named.map(([, name, text]) => `getppid() = -1 ${name} (${text})`);
    expect(askStrace(cases, new Memory()).map((line) => line.replace(/ +=/, " ="))).toEqual(expected);
  });
});
