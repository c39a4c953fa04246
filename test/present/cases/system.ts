import { CaseList } from "../cases.ts";

export function systemCases(): CaseList {
  const list = new CaseList();
  const names = Buffer.alloc(390);
  ["Linux", "host", "6.1.0", "#1 SMP", "x86_64", "(none)"].forEach((text, i) => {
    names.write(text, 65 * i);
  });

  list.add("uname", [list.memory.put(names)]);
  list.add("getrandom", [list.bytes("\x01\x02abc"), 5, 1], 5);
  list.add("getrandom", [list.bytes("\x07".repeat(40)), 40, 0], 40);
  list.add("getrandom", [list.bytes("\x07".repeat(40)), 40, 0], "EAGAIN");
  list.add("sysinfo", [list.longs(1, 65536, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2, 3, 4)]);
  list.add("mount", [list.text("dev"), list.text("dir"), list.text("ext4"), 0xc0ed0001, list.text("opt")]);
  list.add("mount", [list.text("dev"), list.text("dir"), list.text("ext4"), 0, 0]);
  list.add("mount", [list.text("dev"), list.text("dir"), list.text("ext4"), 0x1000, list.text("opt")]);
  list.add("mount", [list.text("dev"), list.text("dir"), list.text("ext4"), 0x20, list.text("opt")]);
  list.add("mount", [0, list.text("dir"), 0, 0x44000, 0]);
  list.add("mount", [list.text("none"), list.text("/"), 0, 0x44000, list.text("opt")]);
  list.add("mount", [list.text("none"), list.text("/"), 0, 0x2000, list.text("opt")]);
  list.add("landlock_create_ruleset", [list.longs(0x3), 8, 0], 5);
  list.add("landlock_create_ruleset", [0, 0, 1], 5);
  list.add("syslog", [10, 0, 0], 3);
  list.add("reboot", [0xfee1dead, 0x28121969, 0x4321fedc, 0]);
  list.add("reboot", [0xfee1dead, 0x28121969, 0xa1b2c3d4, list.text("cmd")]);
  list.add("add_key", [list.text("user"), list.text("d"), list.bytes("pay"), 3, -3], 77);
  list.add("request_key", [list.text("user"), list.text("d"), 0, -3], 77);
  list.add("iopl", [3]);
  list.add("delete_module", [list.text("m"), 0x800]);
  return list;
}
