import { CaseList } from "../cases.ts";

export function timeCases(): CaseList {
  const list = new CaseList();
  list.add("time", [0], 1700000000);
  list.add("time", [list.longs(1700000000)], 1700000000);
  list.add("nanosleep", [list.longs(1, 500), list.longs(0, 3)]);
  list.add("nanosleep", [list.longs(1, 500), list.longs(0, 3)], "EINTR");
  list.add("clock_nanosleep", [1, 1, list.longs(1, 500), list.longs(0, 3)], "EINTR");
  list.add("clock_nanosleep", [1, 0, list.longs(1, 500), list.longs(0, 3)]);
  list.add("clock_nanosleep", [0xfffffff8, 0, list.longs(1, 500), 0]);
  list.add("clock_gettime", [-5, list.longs(1, 2)]);
  list.add("clock_gettime", [1, list.longs(1, 2)], "EINVAL");
  list.add("clock_gettime", [-6, list.longs(1, 2)]);
  list.add("adjtimex", [list.zeros(208)]);
  list.add("adjtimex", [list.zeros(208)], 5);
  list.add("adjtimex", [list.zeros(208)], "EPERM");
  list.add("timer_create", [1, list.longs(5, (0x4 << 32) | 34, 77), list.ints(3)]);
  list.add("timer_create", [1, list.longs(5, (0x1 << 32) | 34), list.ints(3)]);
  list.add("timer_create", [1, list.longs(5, (2 << 32) | 34, 0x1000, 0x2000), list.ints(3)]);
  list.add("timer_create", [1, 0, list.ints(3)]);
  list.add("timer_create", [1, list.longs(5, (7 << 32) | 34), list.ints(3)]);
  list.add("times", [0], 12345);
  list.add("times", [list.longs(150, 0, 1, 2)], 0x7fffffff);
  return list;
}
