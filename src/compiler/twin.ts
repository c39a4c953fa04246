/**
 * Position independence by compiling twice. Two modules that differ only in where their static data begins differ only
 * in constants that are addresses: by exactly the distance. Any other difference is an error.
 */
import { WasmRefusal } from "./diagnostics.ts";
import { decodeBody, I64, type Init, type Instr, type WasmModule } from "./wasm.ts";

const REASON =
  "write it so that no address is narrowed, multiplied or compared at compile time, and ask for no alignment above 64";

const I32_CONST = 0x41;

/** Offsets (in the first module) of the constants that are addresses. */
export function findAddresses(first: WasmModule, second: WasmModule, distance: bigint): Set<number> {
  const addresses = new Set<number>();
  const refuse = (at: number): never => {
    throw new WasmRefusal("the result depends on the address of static data", at, REASON);
  };
  const compareInit = (a: Init, b: Init): void => {
    if (a.kind !== "const" || b.kind !== "const" || a.value === b.value) return;
    if (a.type !== I64 || b.value - a.value !== distance) refuse(a.offset);
    addresses.add(a.offset);
  };
  if (first.bodies.length !== second.bodies.length || first.globals.length !== second.globals.length) refuse(0);
  first.globals.forEach((global, i) => {
    compareInit(global.init, second.globals[i]!.init);
  });
  const shape = ({ value, at, ...rest }: Instr): string => JSON.stringify(rest);
  first.bodies.forEach((body, i) => {
    const a = decodeBody(first, body);
    const b = decodeBody(second, second.bodies[i]!);
    if (a.length !== b.length) refuse(body.start);
    a.forEach((instr, j) => {
      const other = b[j]!;
      if (shape(instr) !== shape(other)) refuse(instr.at);
      if (instr.value === other.value) return;
      if (instr.op === I32_CONST || other.value! - instr.value! !== distance) refuse(instr.at);
      addresses.add(instr.at);
    });
  });
  return addresses;
}

/** The static data of a module as one piece from `base` to `end`. */
export function dataImage(module: WasmModule, base: bigint, end: bigint): Uint8Array {
  const image = new Uint8Array(Number(end - base));
  for (const { at, bytes } of module.data) {
    if (at?.kind !== "const") throw new WasmRefusal("static data at an address that is not constant", at?.offset ?? 0);
    image.set(bytes, Number(at.value - base));
  }
  return image;
}

/** Offsets of the 8-byte words of static data that hold addresses. */
export function findPointers(first: Uint8Array, second: Uint8Array, distance: bigint): number[] {
  const pointers: number[] = [];
  const a = new DataView(first.buffer);
  const b = new DataView(second.buffer);
  const differs = (at: number): boolean => first[at] !== second[at];
  for (let at = 0; at < first.length; at++) {
    if (!differs(at)) continue;
    const word = at & ~7;
    const fits = word + 8 <= first.length && b.getBigUint64(word, true) - a.getBigUint64(word, true) === distance;
    if (!fits) throw new WasmRefusal(`static data at ${at} depends on its own address`, 0, REASON);
    pointers.push(word);
    at = word + 7;
  }
  return pointers;
}
