import { CaseList, type Value } from "../cases.ts";

export function fileCases(): CaseList {
  const list = new CaseList();
  const stat = (mode: number, device: Value, size: number): bigint => {
    const bytes = Buffer.alloc(144);
    bytes.writeUInt32LE(mode, 24);
    bytes.writeBigUInt64LE(BigInt(device), 40);
    bytes.writeBigUInt64LE(BigInt(size), 48);
    return list.memory.put(bytes);
  };
  const statx = (
    mode: number,
    major: number,
    minor: number,
    size: number,
    mask: number,
    attributes: number,
  ): bigint => {
    const bytes = Buffer.alloc(256);
    bytes.writeUInt32LE(mask, 0);
    bytes.writeBigUInt64LE(BigInt(attributes), 8);
    bytes.writeUInt16LE(mode, 28);
    bytes.writeBigUInt64LE(BigInt(size), 40);
    bytes.writeUInt32LE(major, 0x80);
    bytes.writeUInt32LE(minor, 0x84);
    return list.memory.put(bytes);
  };

  list.add("setxattr", [list.bytes("a".repeat(100) + "\0"), list.bytes("a".repeat(100) + "\0"), list.bytes("x"), 1, 0]);
  list.add("setxattr", [list.text(""), list.bytes("a".repeat(32) + "\0"), list.bytes("x"), 0, 0]);
  list.add("mknod", [list.text("a"), 0o10644, 0]);
  list.add("mknod", [list.text("a"), 0o20644, 0x12345678]);
  list.add("mknod", [list.text("a"), 0o60644, 0x800]);
  list.add("mknod", [list.text("a"), 0o0, 0x800]);
  list.add("mknod", [list.text("a"), 0o177777, 0x800]);
  list.add("chmod", [list.text("a"), 0o7]);
  list.add("chmod", [list.text("a"), 0o0]);
  list.add("chmod", [list.text("a"), 0o177777]);
  list.add("umask", [0o22]);
  list.add("umask", [0o22], 0o777);
  list.add("umask", [0xfffff], 0o777777);
  list.add("openat", [0xffffffff, list.text("x"), 0]);
  list.add("openat", [0x5ffffff9c, list.text("x"), 0x410000, 0]);
  list.add("openat", [0x5ffffff9c, 0, 0x10000, 0]);
  list.add("openat", [0x5ffffff9c, 0x999, 0x20002, 0]);
  list.add("statx", [-100, list.text("x"), 0x2000, 0xfff, 0]);
  list.add("statx", [-100, list.text("x"), 0x6000, 0x7ff, 0]);
  list.add("statx", [-100, list.text("x"), 0x1000, 0x17ff, 0]);
  list.add("statx", [-100, list.text("x"), 0, 0, 0]);
  list.add("fanotify_mark", [3, 1, 0x40000001, -1, list.text("x")]);
  list.add("fanotify_mark", [3, 1, 0x40000001, -100, list.text("x")]);
  list.add("fanotify_mark", [3, 1, 0x0, 5, list.text("x")]);
  list.add("swapon", [list.text("x"), 0x8005]);
  list.add("swapon", [list.text("x"), 0x10000]);
  list.add("swapon", [list.text("x"), 0x5]);
  list.add("swapon", [list.text("x"), 0]);
  list.add("openat2", [-100, list.text("x"), list.longs(0x80000, 0, 8), 24], 5);
  list.add("openat2", [-100, list.text("x"), list.longs(0x80040, 0o644, 0x18), 24], 5);
  list.add("utimensat", [-100, list.text("x"), 0, 0]);
  list.add("utimensat", [-100, list.text("x"), list.longs(0, 0x3fffffff, 0, 0x3ffffffe), 0]);
  list.add("utimensat", [-100, 0, list.longs(1700000000, 5, -1, 0), 0x100]);
  list.add("utimensat", [-100, 0, list.longs(1700000000, 5000000000, 1, 1000000000), 0x100]);
  list.add("utime", [list.text("x"), 0]);
  list.add("utime", [list.text("x"), list.longs(0, 1700000000)]);
  list.add("fstat", [3, stat(0o100644, 0, 10)]);
  list.add("fstat", [3, stat(0o20620, 0x8801, 0)]);
  list.add("fstat", [3, stat(0o60660, 0x800, 0)]);
  list.add("fstat", [3, stat(0o40755, 0, 4096)]);
  list.add("fstat", [3, stat(0o10600, 0, 0)]);
  list.add("fstat", [3, stat(0o141777, 5, 0)]);
  list.add("fstat", [3, stat(0o120777, 5, 3)]);
  list.add("fstat", [3, stat(0o20666, 0x12345678abcd, 0)]);
  list.add("statx", [-100, list.text("x"), 0, 0xfff, statx(0o100644, 0, 0, 5, 0xfff, 0)]);
  list.add("statx", [-100, list.text("x"), 0, 0xfff, statx(0o20644, 1, 3, 5, 0x17ff, 0x1004)]);
  list.add("statfs", [
    list.text("x"),
    list.longs(0xef53, 4096, 1, 2, 3, 4, 5, 0x100000002, 255, 4096, 0x20 | 1 | 0x400),
  ]);
  list.add("statfs", [
    list.text("x"),
    list.longs(0x9fa0, 4096, 1, 2, 3, 4, 5, 0x100000002, 255, 4096, 0x1020 | 0x8000),
  ]);
  list.add("readlink", [list.text("x"), list.bytes("target"), 100], 6);
  list.add("readlink", [list.text("x"), list.bytes("A".repeat(40)), 100], 40);
  list.add("readlink", [list.text("x"), list.bytes("target"), 100], "EINVAL");
  list.add("getcwd", [list.text("/root/x"), 100], 8);
  list.add("getcwd", [list.text("/root/x"), 100], "ERANGE");
  list.add("getcwd", [list.bytes("/" + "a".repeat(80) + "\0"), 100], 82);
  list.add("listxattr", [list.text("x"), list.text("user.a\0user.b"), 100], 14);
  list.add("listxattr", [list.text("x"), 0, 0], 14);
  list.add("getxattr", [list.text("x"), list.text("user.a"), list.text("val"), 100], 4);
  list.add("getxattr", [list.text("x"), list.text("user.a"), list.text("val"), 100], "ENODATA");
  list.add("getxattr", [list.text("x"), list.text("user.a"), list.text("val"), 0], 4);
  list.add("setxattr", [list.text("x"), list.text("user.a"), list.bytes("val"), 3, 1]);
  list.add("fallocate", [3, 0, 0, 100]);
  list.add("name_to_handle_at", [-100, list.text("x"), list.hex("0800000001000000aabbccddeeff0011"), list.ints(5), 0]);
  list.add(
    "name_to_handle_at",
    [-100, list.text("x"), list.hex("0800000001000000aabbccddeeff0011"), list.ints(5), 0],
    "EOVERFLOW",
  );
  return list;
}
