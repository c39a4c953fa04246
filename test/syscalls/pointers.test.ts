import { describe, expect, it } from "vitest";
import { pointerRow } from "../../src/image/pointers.ts";
import { POINTERS } from "../../src/syscalls/pointers.ts";
import { IN } from "../../src/syscalls/row.ts";
import { CALLS } from "../../src/syscalls/table.ts";

/** Pointers into the kernel that are not looked at: what is a string depends on another argument, or a number. */
const LEFT = ["futex.timeout", "kexec_file_load.cmdline", "prctl.arg5", "reboot.arg"];

describe("the table of pointers", () => {
  it("has every argument that the kernel reads through", () => {
    const missing = CALLS.flatMap((call) =>
      (call?.arguments ?? [])
        .filter(
          ({ direction }, i) =>
            direction & IN && !/[^.]/.test(POINTERS[call!.name as keyof typeof POINTERS]?.[i] ?? ""),
        )
        .map(({ name }) => `${call!.name}.${name}`),
    );
    expect(missing.sort()).toEqual(LEFT);
  });

  it("has no argument that does not exist, and names the flags of paths that may be missing", () => {
    for (const [name, letters] of Object.entries(POINTERS)) {
      const call = CALLS.find((one) => one?.name === name)!;
      expect([name, letters]).toEqual([name, expect.stringMatching(/^[roacim.\d]+$/)]);
      expect(letters.length).toBeLessThanOrEqual(call.arguments.length);
      for (const digit of letters.match(/\d/g) ?? [])
        expect(call.arguments[Number(digit)]!.shape).toMatch(/flags|at_statx/);
    }
  });

  it("becomes rows: bits for what is looked at, and the kinds", () => {
    expect(pointerRow("r")).toBe(0x101n);
    expect(pointerRow(".r..o")).toBe((1n << 36n) | (2n << 24n) | (1n << 12n) | 2n);
    expect(pointerRow(".i")).toBe((5n << 12n) | 64n | 2n);
    expect(pointerRow(".3")).toBe((11n << 12n) | 2n);
    expect(() => pointerRow("x")).toThrow(RangeError);
  });
});
