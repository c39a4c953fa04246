import { CaseList } from "../cases.ts";

export function ipcCases(): CaseList {
  const list = new CaseList();
  list.add("shmget", [0, 100, 0o3600]);
  list.add("shmget", [5, 100, 0o600]);
  list.add("shmat", [5, 0, 0x1000], 4096);
  list.add("shmctl", [5, 0, 0]);
  list.add("shmctl", [5, 0x100, 0]);
  list.add("semget", [0, 100, 0o3600]);
  list.add("semctl", [1, 0, 16, 5]);
  list.add("semctl", [1, 0, 0, 0]);
  list.add("msgget", [0, 0o600]);
  list.add("mq_open", [list.text("/q"), 0x42, 0o600, list.longs(0x800, 10, 8192, 0)], 3);
  list.add("mq_open", [list.text("/q"), 0x2], 3);
  return list;
}
