/** Names for addresses: the functions of .symtab, or else of .dynsym. */
import { STB_LOCAL, STT_FUNC } from "../elf/constants.ts";
import { type ElfFile, type ElfSymbol, readSymbols } from "../elf/read.ts";

export interface NamedAddress {
  readonly name: string;
  /** Bytes behind the start of the function. */
  readonly offset: number;
}

const STT_GNU_IFUNC = 10;

export class FunctionNames {
  /** Tables of functions by ascending address, the better table first. */
  readonly #tables: readonly (readonly ElfSymbol[])[];

  /** Throws ZpolineError ELF_TRUNCATED or ELF_CORRUPT. */
  constructor(file: ElfFile) {
    this.#tables = ([".symtab", ".dynsym"] as const).map((table) =>
      readSymbols(file, table).filter(isFunction).sort(byAddress),
    );
  }

  /** The function whose bytes `address` is one of; undefined where no symbol covers it. */
  at(address: number): NamedAddress | undefined {
    for (const table of this.#tables) {
      const symbol = covering(table, address);
      if (symbol !== undefined) return { name: symbol.name, offset: address - symbol.value };
    }
    return undefined;
  }
}

function isFunction({ type, size, value, name }: ElfSymbol): boolean {
  return (type === STT_FUNC || type === STT_GNU_IFUNC) && size > 0 && value !== 0 && name !== "";
}

/** Of several names for one address the last one is the best: fewest leading underscores, visible from outside, short. */
function byAddress(a: ElfSymbol, b: ElfSymbol): number {
  return a.value - b.value || rank(b) - rank(a) || b.name.length - a.name.length || (a.name < b.name ? 1 : -1);
}

function rank({ name, binding }: ElfSymbol): number {
  const underscores = name.length - name.replace(/^_+/, "").length;
  return 2 * underscores + (binding === STB_LOCAL ? 1 : 0);
}

function covering(table: readonly ElfSymbol[], address: number): ElfSymbol | undefined {
  let low = 0;
  let high = table.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (table[middle]!.value <= address) low = middle + 1;
    else high = middle;
  }
  const symbol = table[low - 1];
  return symbol !== undefined && address < symbol.value + symbol.size ? symbol : undefined;
}
