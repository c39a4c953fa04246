import { expect, test } from "vitest";
import { parseExpression } from "../../src/cli/expression.ts";
import { NUMBERS } from "../../src/syscalls/numbers.ts";

test("a list, with or without the qualifier", () => {
  const expected = new Set([NUMBERS.read, NUMBERS.openat]);
  for (const expression of ["trace=read,openat", "t=openat,read", "read,openat"]) {
    expect(parseExpression(expression)).toEqual(expected);
  }
  expect(parseExpression("trace=!read")).not.toContain(NUMBERS.read);
  expect(parseExpression("trace=/^read$")).toEqual(new Set([NUMBERS.read]));
});

test("all is no selection: also what has no name is shown then", () => {
  expect(parseExpression("trace=all")).toBeUndefined();
  expect(parseExpression("all")).toBeUndefined();
});

test("other qualifiers are an error, and so are unknown calls", () => {
  expect(() => parseExpression("signal=all")).toThrowError(expect.objectContaining({ code: "BAD_EXPRESSION" }));
  expect(() => parseExpression("trace=reed")).toThrowError(expect.objectContaining({ code: "SELECT_UNKNOWN" }));
});
