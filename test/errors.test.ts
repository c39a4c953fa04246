import { expect, test } from "vitest";
import { ZpolineError } from "../src/errors.ts";

test("format gives what, cause and fix, one line each", () => {
  const error = new ZpolineError("ELF_TRUNCATED", "cannot read ./a.out", {
    cause: "the file ends after 12 bytes",
    fix: "build it again",
  });
  expect(error.format()).toBe(
    "zpoline: cannot read ./a.out (ELF_TRUNCATED)\n  cause: the file ends after 12 bytes\n  fix: build it again",
  );
});

test("an error underneath is shown by its message and kept", () => {
  const below = new Error("ENOENT: no such file");
  const error = new ZpolineError("NOT_FOUND", "cannot start ls", { cause: below });
  expect(error.cause).toBe(below);
  expect(error.format()).toBe("zpoline: cannot start ls (NOT_FOUND)\n  cause: ENOENT: no such file");
});

test("what is not known is left out", () => {
  const error = new ZpolineError("ODD", "something is odd");
  expect(error.format()).toBe("zpoline: something is odd (ODD)");
  expect("cause" in error).toBe(false);
  expect(error).toBeInstanceOf(Error);
});
