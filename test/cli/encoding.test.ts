import { expect, test } from "vitest";
import { checkEncoding } from "../../src/cli/encoding.ts";

const good = Buffer.from("node\0zpoline\0tracé\0");
const bad = Buffer.concat([good, Buffer.from([0x66, 0xff, 0])]);

test("an argument that is not UTF-8 is refused", () => {
  expect(checkEncoding(good, good)).toEqual([]);
  expect(() => checkEncoding(bad, good)).toThrowError(expect.objectContaining({ code: "NOT_UTF8" }));
});

test("variables that are not UTF-8 are named", () => {
  const environment = Buffer.concat([Buffer.from("A=1\0LATIN="), Buffer.from([0xe9, 0]), Buffer.from("Z=é\0")]);
  expect(checkEncoding(good, environment)).toEqual(["LATIN"]);
});
