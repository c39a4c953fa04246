import { expect, test } from "vitest";
import { parseSelection } from "../../src/cli/select.ts";
import { CALL_NAMES, callName } from "../../src/syscalls/table.ts";

const names = (expression: string): string[] => [...(parseSelection(expression) ?? [])].map(callName).sort();

test("names, one or several, with and without the qualifier", () => {
  expect(names("trace=read")).toEqual(["read"]);
  expect(names("t=read,openat")).toEqual(["openat", "read"]);
  expect(names("close")).toEqual(["close"]);
});

test("all, none, and all but some", () => {
  expect(parseSelection("trace=all")).toBeUndefined();
  expect(names("trace=none")).toEqual([]);
  const others = names("trace=!read,write");
  expect(others).toHaveLength(CALL_NAMES.length - 2);
  expect(others).not.toContain("read");
});

test("patterns and classes", () => {
  expect(names("trace=/^epoll_create")).toEqual(["epoll_create", "epoll_create1"]);
  expect(names("trace=%file")).toEqual(expect.arrayContaining(["execve", "openat", "stat", "unlink", "newfstatat"]));
  expect(names("trace=%file")).not.toContain("read");
  expect(names("trace=%desc")).toEqual(expect.arrayContaining(["read", "close", "openat", "mmap", "fcntl"]));
  expect(names("trace=%network")).toEqual(names("trace=%net"));
  expect(names("trace=%network,%memory")).toEqual(expect.arrayContaining(["connect", "brk"]));
});

test("what is unknown is an error that names it, unless it may be", () => {
  for (const expression of ["trace=reed", "trace=read,", "trace=%nothing", "trace=/(", "signal=all"]) {
    expect(() => parseSelection(expression)).toThrowError(expect.objectContaining({ code: "BAD_EXPRESSION" }));
  }
  expect(names("trace=?reed,read")).toEqual(["read"]);
});
