/** The guest's search for system calls, run over images laid out in its memory. */
import { execFileSync } from "node:child_process";
import { type GuestModule, loadGuest } from "../helpers/guest-wasm.ts";
import { codeRanges, type MappedElf } from "../helpers/mapped-elf.ts";

// As in guest/rewrite/sites.ts and redzone.ts.
export const SITE = 1;
export const NOT = 2;
export const UNSURE = 3;
export const REASONS = ["", "flow", "sweep", "no boundary", "unreached", "overlap", "prefix", "data"];
export const RED_ZONE = ["no", "yes", "unknown"];

export interface Find {
  /** Addresses as in the file. */
  readonly address: number;
  /** Of the function; 0 when it is not known. */
  readonly start: number;
  readonly end: number;
  readonly number: number;
  readonly verdict: number;
  readonly reason: string;
  readonly redZone: string;
}

const SCRATCH = 1 << 16;
const MOST = 4096;
const SITE_SIZE = 20;

export class SiteFinder {
  readonly guest: GuestModule;
  readonly #image: number;
  readonly #scratch: number;
  readonly #out: number;

  private constructor(guest: GuestModule) {
    this.guest = guest;
    this.#image = guest.alloc(64);
    this.#scratch = guest.alloc(SCRATCH);
    this.#out = guest.alloc(MOST * SITE_SIZE);
  }

  static async load(): Promise<SiteFinder> {
    return new SiteFinder(await loadGuest("guest/rewrite/functions.ts", "guest/rewrite/sites.ts"));
  }

  /** Places the image in the guest's memory; returns what was added to its addresses. */
  open(elf: MappedElf): number {
    return this.#open(elf, elf.bytes, this.guest.alloc(elf.bytes.length));
  }

  #open(elf: MappedElf, bytes: Uint8Array, base: number): number {
    this.guest.bytes().set(bytes, base);
    const bias = base - elf.low;
    const end = base + bytes.length;
    this.guest.call["openImage"]!(this.#image, bias, base + elf.headersAt, elf.headerCount, base, end);
    return bias;
  }

  /** Reserves the end of memory for an image; the result searches other contents of it. */
  placeAtEnd(elf: MappedElf): (bytes: Uint8Array) => Find[] {
    this.guest.alloc(elf.bytes.length);
    const base = this.guest.bytes().length - elf.bytes.length;
    return (bytes) => this.find(elf, this.#open(elf, bytes, base));
  }

  /** What is known about the function at `address`; `text` and `bias` as for `find`. */
  functionAt(address: number, text: { start: number; end: number }, bias: number) {
    const extent = this.#scratch;
    this.guest.call["functionAt"]!(this.#image, address + bias, text.start + bias, text.end + bias, extent);
    const view = this.guest.view();
    const field = (i: number) => {
      const value = view.getUint32(extent + 4 * i, true);
      return value && value - bias;
    };
    return { start: field(0), end: field(1), next: field(2) };
  }

  /** Sorts the symbols of the image that was opened last. */
  sortStarts(): void {
    this.guest.call["sortStarts"]!(this.#image, this.guest.alloc(SCRATCH), SCRATCH);
  }

  /** All finds in all executable segments of an image that `open` has placed. */
  find(elf: MappedElf, bias: number): Find[] {
    const result: Find[] = [];
    for (const { start, end } of codeRanges(elf)) {
      const count = this.guest.call["findSites"]!(
        this.#image,
        start + bias,
        end + bias,
        this.#out,
        MOST,
        this.#scratch,
        SCRATCH,
      );
      const view = this.guest.view();
      for (let at = this.#out; at < this.#out + count * SITE_SIZE; at += SITE_SIZE) {
        const functionStart = view.getUint32(at + 4, true);
        const functionEnd = view.getUint32(at + 8, true);
        result.push({
          address: view.getUint32(at, true) - bias,
          start: functionStart && functionStart - bias,
          end: functionEnd && functionEnd - bias,
          number: view.getInt32(at + 12, true),
          verdict: view.getUint8(at + 16),
          reason: REASONS[view.getUint8(at + 17)]!,
          redZone: RED_ZONE[view.getUint8(at + 18)]!,
        });
      }
    }
    return result;
  }
}

/** Addresses of the `syscall` and `sysenter` instructions that objdump finds. */
export function objdumpSites(path: string): number[] {
  const script = `objdump -d --no-show-raw-insn "$1" | grep -P '\\tsys(call|enter)' || true`;
  const text = execFileSync("sh", ["-c", script, "sh", path], { encoding: "utf8", maxBuffer: 1 << 26 });
  return [...text.matchAll(/^\s*([0-9a-f]+):/gm)].map((match) => Number.parseInt(match[1]!, 16));
}
