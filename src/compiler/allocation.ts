/** Finds where a program allocates managed memory, which guest code has none of. */
import { decodeBody, type WasmModule } from "./wasm.ts";

const isAllocator = (name: string): boolean => /^~lib\/rt\/.*\/__(new|renew|alloc|realloc)$/.test(name);

/**
 * Offsets of the calls that lead to the allocator of asc's library. `module` is the program before inlining, with a name
 * section; `isUser` tells whether the call at an offset was written by the user (others are asc's own: its library, and
 * constructors that it makes).
 */
export function findAllocations(module: WasmModule, isUser: (offset: number) => boolean): number[] {
  const calls = module.bodies.flatMap((body, i) =>
    decodeBody(module, body)
      .filter((instr) => instr.op === 0x10)
      .map((instr) => ({ from: i + module.imports.length, to: instr.index!, at: instr.at })),
  );
  const names = module.functionNames;
  const allocating = new Set([...names.keys()].filter((index) => isAllocator(names.get(index)!)));
  for (let size = -1; size !== allocating.size; ) {
    size = allocating.size;
    for (const { from, to, at } of calls) if (allocating.has(to) && !isUser(at)) allocating.add(from);
  }
  return calls.filter(({ to, at }) => allocating.has(to) && isUser(at)).map(({ at }) => at);
}
