/**
 * The file that this process runs. Where the loader door has loaded it, /proc/self/exe is another one.
 */
import { cstr } from "../std/cstr";
import { copyString, writeDecimal } from "../std/bytes";
import { syscall6 } from "../std/raw";
import { SYS_READLINK } from "../std/sys";

const SIZE: usize = 4096;
const path: usize = memory.data(4096, 8);
let length: u32 = 0;

/** In the loader door: the program is the file with this descriptor. */
export function setExecutable(fd: i64): void {
  store<u8>(writeDecimal(copyString(path, cstr("/proc/self/fd/")), <u64>fd), 0);
  const n = syscall6(SYS_READLINK, path, path, SIZE - 1, 0, 0, 0);
  length = n > 0 ? <u32>n : 0;
  store<u8>(path + length, 0);
}

/** Length of the path that the loader door has found; 0 in processes that it has not loaded. */
export function executableLength(): u32 {
  return length;
}

/** NUL-terminated. */
export function executablePath(): usize {
  return path;
}

/** Writes the path of the program, at most `size` bytes without a NUL; returns how many. */
export function copyExecutable(to: usize, size: usize): u32 {
  if (length) {
    const n = length < <u32>size ? length : <u32>size;
    memory.copy(to, path, n);
    return n;
  }
  const n = syscall6(SYS_READLINK, cstr("/proc/self/exe"), to, size, 0, 0, 0);
  return n > 0 ? <u32>n : 0;
}
