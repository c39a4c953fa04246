import { CaseList } from "../cases.ts";

export function memoryCases(): CaseList {
  const list = new CaseList();
  list.add("mmap", [0, 4096, 3, 0x22, -1, 0]);
  list.add("mmap", [0, 4096, 3, 0x22, 0xffffffff, -1]);
  list.add("mmap", [0, 4096, 3, 0xffffffff, 5, 0x1000]);
  list.add("mmap", [0, 4096, 0, 0, 5, 0x1000]);
  list.add("mmap", [0, 4096, 0, 0x40022 | (21 << 26), 5, 0x1000]);
  list.add("mmap", [0, 4096, 0, 0x3, 5, 0x1000]);
  list.add("mmap", [0, 4096, 0, 0x8, 5, 0x1000]);
  list.add("mremap", [1, 4096, 1, 1, 5]);
  list.add("mremap", [1, 4096, 1, 3, 5]);
  list.add("set_mempolicy", [0, 0, 0]);
  return list;
}
