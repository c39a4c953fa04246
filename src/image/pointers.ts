/**
 * What guest/hook/pointers.ts needs of the machine and of the table in src/syscalls/pointers.ts.
 */
import type { ObjectFile } from "../compiler/object.ts";
import { Assembler, mem, r8, r9, r10, rax, rcx, rdi, rdx, rsi, rsp } from "../compiler/x64.ts";
import { NUMBERS } from "../syscalls/numbers.ts";
import { POINTERS } from "../syscalls/pointers.ts";
import {
  POINTER_ADDRESS,
  POINTER_CONDITIONAL,
  POINTER_EMPTY_PATH,
  POINTER_IOVEC,
  POINTER_KINDS,
  POINTER_MSGHDR,
  POINTER_NESTED,
  POINTER_NUMBERS,
  POINTER_OPTIONAL,
  POINTER_OPTIONALS,
  POINTER_REQUIRED,
} from "./layout.ts";

const KINDS: Readonly<Record<string, number>> = {
  r: POINTER_REQUIRED,
  o: POINTER_OPTIONAL,
  a: POINTER_ADDRESS,
  c: POINTER_CONDITIONAL,
  i: POINTER_IOVEC,
  m: POINTER_MSGHDR,
};

function kindOf(letter: string): number {
  const kind = /\d/.test(letter) ? POINTER_EMPTY_PATH + Number(letter) : KINDS[letter];
  if (kind === undefined) throw new RangeError(`not a kind of pointer: ${letter}`);
  return kind;
}

/** One row: see POINTER_* in layout.ts. */
export function pointerRow(letters: string): bigint {
  let row = 0n;
  [...letters].forEach((letter, i) => {
    if (letter === ".") return;
    const kind = kindOf(letter);
    row |= 1n << BigInt(kind === POINTER_OPTIONAL ? POINTER_OPTIONALS + i : i);
    row |= BigInt(kind) << BigInt(POINTER_KINDS + 4 * i);
    if (kind === POINTER_IOVEC || kind === POINTER_MSGHDR) row |= BigInt(POINTER_NESTED);
  });
  return row;
}

/** POINTER_NUMBERS rows of 8 bytes. */
function table(): Uint8Array {
  const bytes = new Uint8Array(8 * POINTER_NUMBERS);
  const view = new DataView(bytes.buffer);
  for (const [name, letters] of Object.entries(POINTERS)) {
    view.setBigUint64(8 * NUMBERS[name as keyof typeof POINTERS], pointerRow(letters), true);
  }
  return bytes;
}

/** `i64 zp_program_call(nr, a0, …, a5)`, System V ABI: a call of the program, made outside of guest code. */
function programCall(a: Assembler): void {
  a.unwind({ reg: rsp.dwarf, offset: 8 }, []);
  a.mov(64, rax, rdi);
  a.mov(64, rdi, rsi);
  a.mov(64, rsi, rdx);
  a.mov(64, rdx, rcx);
  a.mov(64, r10, r8);
  a.mov(64, r8, r9);
  a.mov(64, r9, mem(rsp, 8));
  a.op("syscall");
  a.op("ret");
}

/** Pure: `zp_program_call`, and the table as `zp_pointers`. */
export function pointerUnit(): ObjectFile {
  const a = new Assembler();
  programCall(a);
  const bytes = table();
  return {
    code: [a.finish("zp_program_call")],
    data: [{ name: "zp_pointers", bytes, size: bytes.length, align: 64, writable: false, relocs: [] }],
  };
}
