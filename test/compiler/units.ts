/** Hand-assembled units for tests of the linker and the ELF writer. */
import type { CodeUnit, DataUnit, Reloc } from "../../src/compiler/object.ts";

/** Bytes from hex digits; blanks are ignored, and so is everything from a `;` to the end of its line. */
export function hex(text: string): Uint8Array {
  const digits = text.replace(/;.*$/gm, "").replace(/\s+/g, "");
  return Uint8Array.from(digits.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
}

export function rel32(at: number, symbol: string, addend = 0): Reloc {
  return { at, kind: "rel32", symbol, addend };
}

export function abs64(at: number, symbol: string, addend = 0): Reloc {
  return { at, kind: "abs64", symbol, addend };
}

export function code(name: string, bytes: Uint8Array, more: Partial<CodeUnit> = {}): CodeUnit {
  return { name, bytes, relocs: [], ...more };
}

export function data(name: string, bytes: Uint8Array, more: Partial<DataUnit> = {}): DataUnit {
  return { name, bytes, size: bytes.length, align: 8, writable: false, relocs: [], ...more };
}

export function text(value: string): Uint8Array {
  return new TextEncoder().encode(value);
}

/** write(1, message, length) as System V function `name`; `message` is a data symbol. Clobbers rax, rcx, rdx, rsi, rdi, r11. */
export function writer(name: string, message: string, length: number): CodeUnit {
  const bytes = hex(`
    b8 01 00 00 00          ; mov eax, 1
    bf 01 00 00 00          ; mov edi, 1
    48 8d 35 00 00 00 00    ; lea rsi, [rip + message]
    ba ${length.toString(16).padStart(2, "0")} 00 00 00 ; mov edx, length
    0f 05                   ; syscall
    c3                      ; ret`);
  return code(name, bytes, { relocs: [rel32(13, message)] });
}
