import { existsSync, readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { I386, i386, i386Name, sameCall } from "../../src/syscalls/i386.ts";
import { NUMBERS } from "../../src/syscalls/numbers.ts";
import { callName } from "../../src/syscalls/table.ts";

const HEADER = "/usr/include/x86_64-linux-gnu/asm/unistd_32.h";

describe("calls of 32-bit programs", () => {
  test.skipIf(!existsSync(HEADER))("have the names that the kernel's headers give them", () => {
    const defined = [...readFileSync(HEADER, "latin1").matchAll(/^#define __NR_(\w+) (\d+)$/gm)];
    expect(defined.length).toBeGreaterThan(400);
    expect(defined.filter(([, name, nr]) => i386Name(I386 + Number(nr)) !== name)).toEqual([]);
  });

  test("have numbers that those of 64-bit programs cannot be taken for", () => {
    expect(callName(i386("write"))).toBe("write");
    expect(callName(4)).toBe("stat");
    expect(callName(I386 + 9999)).toBe("syscall_0x270f");
    expect(sameCall(i386("write"))).toBe(NUMBERS.write);
    expect(sameCall(i386("waitpid"))).toBeUndefined();
    expect(sameCall(I386 + 425)).toBe(NUMBERS.io_uring_setup);
  });
});
