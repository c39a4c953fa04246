import { CaseList } from "../cases.ts";

export function credsCases(): CaseList {
  const list = new CaseList();
  list.add("getgroups", [0, 0], 3);
  list.add("getgroups", [5, list.ints(1, 2, 3)], 3);
  list.add("getgroups", [5, list.ints(1, 2, 3)]);
  list.add("setgroups", [0, 0]);
  list.add("setgroups", [0, list.ints(1)]);
  list.add("setgroups", [3, list.ints(1, 2, -1)]);
  list.add("setgroups", [40, list.bytes("\x01".repeat(160))]);
  list.add("setgroups", [3, 0x99]);
  list.add("getgroups", [64, list.bytes("\x01".repeat(160))], 40);
  return list;
}
