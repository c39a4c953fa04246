import { expect, test } from "vitest";
import { inherited } from "../../src/session/descriptors.ts";

const own = (fd: number, target: string, closedOnExec = true) => ({ fd, target, closedOnExec });

test("files, sockets and single ends of pipes were inherited; what Node makes for itself was not", () => {
  const descriptors = [
    own(0, "/dev/null"),
    own(1, "pipe:[1]"),
    own(2, "/dev/pts/0"),
    own(3, "anon_inode:[eventpoll]"),
    own(4, "pipe:[70]"),
    own(5, "/etc/passwd"),
    own(6, "pipe:[70]"),
    own(8, "anon_inode:[eventfd]"),
    own(7, "pipe:[2]"),
    own(9, "socket:[5]"),
    own(63, "pipe:[3]", false),
  ];
  expect(inherited(descriptors, new Set())).toEqual([5, 7, 9]);
});

test("both ends of a pipe that the parent has too were inherited: make's job server", () => {
  const descriptors = [own(3, "pipe:[9]"), own(4, "pipe:[9]"), own(5, "pipe:[70]"), own(6, "pipe:[70]")];
  expect(inherited(descriptors, new Set(["pipe:[9]"]))).toEqual([3, 4]);
});
