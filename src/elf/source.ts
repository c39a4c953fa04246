/** Where the ELF reader gets bytes from: memory, or an open file of which only the needed parts are read. */
import { closeSync, fstatSync, openSync, readSync } from "node:fs";

export interface ByteSource {
  readonly size: number;
  /** Up to `length` bytes from `offset`: fewer only where the source ends. */
  read(offset: number, length: number): Uint8Array;
}

export function memorySource(bytes: Uint8Array): ByteSource {
  return { size: bytes.length, read: (offset, length) => bytes.subarray(offset, offset + length) };
}

/** Opens a file for the time of `use`. Errors of the file system (open, read) are Node's own. */
export function withFile<T>(path: string, use: (source: ByteSource) => T): T {
  const fd = openSync(path, "r");
  try {
    return use({
      size: fstatSync(fd).size,
      read(offset, length) {
        const bytes = new Uint8Array(length);
        let done = 0;
        while (done < length) {
          const count = readSync(fd, bytes, done, length - done, offset + done);
          if (count === 0) break;
          done += count;
        }
        return bytes.subarray(0, done);
      },
    });
  } finally {
    closeSync(fd);
  }
}
