import { expect, test } from "vitest";
import { describeGuest } from "../../src/image/report.ts";

test("the report has each entry with its chain, the deepest first, and each function, the largest first", () => {
  const unit = (name: string, size: number) => ({ name, bytes: new Uint8Array(size), relocs: [] });
  const text = describeGuest({
    object: { code: [unit("small", 3), unit("large", 40)], data: [] },
    entries: [
      { name: "flat", maxStack: 0, deepest: [{ name: "flat", bytes: 0 }] },
      {
        name: "deep",
        maxStack: 120,
        deepest: [
          { name: "deep", bytes: 100 },
          { name: "small", bytes: 20 },
        ],
      },
      { name: "unbounded", maxStack: undefined, deepest: [] },
    ],
  });
  expect(text.split("\n")).toEqual([
    "stack of the entry points, and the calls that need it:",
    "     120  deep: deep 100 → small 20",
    "       0  flat: flat 0",
    "       ?  unbounded: ",
    "code of 2 functions:",
    "      40  large",
    "       3  small",
    "      43  in all",
    "",
  ]);
});
