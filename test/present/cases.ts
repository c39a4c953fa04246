/** Calls with their arguments, memory and results, to compare what we print of them with what strace prints. */
import { NUMBERS } from "../../src/syscalls/numbers.ts";
import type { CallName } from "../../src/syscalls/table.ts";
import { type Case, Memory } from "./oracle.ts";

export type Value = number | bigint;

/** A list of cases over one memory. `add` takes results: values, or names of errors. */
export class CaseList {
  readonly memory = new Memory();
  readonly cases: Case[] = [];

  add(name: CallName, args: readonly Value[], ...results: (number | string)[]): void {
    const [nr, values] = [NUMBERS[name], args.map(BigInt)];
    for (const result of results.length === 0 ? [0] : results) this.cases.push({ name, nr, args: values, result });
  }

  /** Text with a NUL after it. */
  text(text: string): bigint {
    return this.memory.put(`${text}\0`);
  }

  /** Bytes, one for each character. */
  bytes(text: string): bigint {
    return this.memory.put(text);
  }

  /** Bytes in hexadecimal; blanks do not count. */
  hex(text: string): bigint {
    return this.memory.put(Buffer.from(text.replaceAll(" ", ""), "hex"));
  }

  zeros(size: number): bigint {
    return this.memory.put(Buffer.alloc(size));
  }

  /** u64 or i64 each. */
  longs(...values: Value[]): bigint {
    const bytes = Buffer.alloc(8 * values.length);
    values.forEach((value, i) => {
      bytes.writeBigUInt64LE(BigInt.asUintN(64, BigInt(value)), 8 * i);
    });
    return this.memory.put(bytes);
  }

  /** u32 or i32 each. */
  ints(...values: number[]): bigint {
    const bytes = Buffer.alloc(4 * values.length);
    values.forEach((value, i) => {
      bytes.writeUInt32LE(value >>> 0, 4 * i);
    });
    return this.memory.put(bytes);
  }
}
