/** The guest's choice of patches and its stubs, run over images laid out in its memory. */
import { type GuestModule, loadGuest } from "../helpers/guest-wasm.ts";
import { codeRanges, type MappedElf } from "../helpers/mapped-elf.ts";

// As in guest/rewrite/plan.ts, window.ts and list.ts.
export const PATCHES = ["none", "zero", "jump"];
const WHYS = [
  ...["", "unsure", "sysenter", "red zone", "", "any number", "", "cancellation", "sigreturn"],
  ...["no window", "unknown branches", "unknown code"],
];
const WINDOW_ONE = 1;

export interface Planned {
  /** Addresses as in the file; of the function 0 when it is not known. */
  readonly address: number;
  readonly start: number;
  readonly end: number;
  readonly patch: string;
  readonly why: string;
  readonly before: number;
  readonly after: number;
  /** One instruction is replaced. */
  readonly one: boolean;
  /** Of the stub at STUB, as it is written for it. */
  readonly stub: Uint8Array;
}

/** Where stubs would stand, and the pointers to the entries: addresses as in the file, not mapped by it. */
export const STUB = 0x3000_0000;
export const ENTRY = 0x3000_1000;
export const TAIL_ENTRY = ENTRY + 8;

const SCRATCH = 1 << 17;
const MOST_STUB = 512;
const NOT = 2;

export class Planner {
  readonly guest: GuestModule;
  readonly #image: number;
  readonly #scratch: number;
  /** Site, Plan, PlanList with one Entry, Insn, the bytes of a stub. */
  readonly #site: number;
  readonly #plan: number;
  readonly #list: number;
  readonly #insn: number;
  readonly #stub: number;

  private constructor(guest: GuestModule) {
    this.guest = guest;
    this.#image = guest.alloc(64);
    this.#scratch = guest.alloc(SCRATCH);
    this.#site = guest.alloc(4096);
    this.#plan = this.#site + 64;
    this.#list = this.#site + 128;
    this.#insn = this.#site + 192;
    this.#stub = this.#site + 256;
  }

  static async load(): Promise<Planner> {
    const files = ["functions", "sites", "plan", "list", "near-stub"];
    return new Planner(await loadGuest(...files.map((name) => `guest/rewrite/${name}.ts`)));
  }

  /** Places the image in the guest's memory, to be planned with other contents, too. */
  place(elf: MappedElf): (bytes: Uint8Array, prefersJump: boolean) => Planned[] {
    const base = this.guest.alloc(elf.bytes.length);
    return (bytes, prefersJump) => {
      return this.#planAll(elf, this.#open({ ...elf, bytes }, base), prefersJump);
    };
  }

  /** The plan for a site by itself, which has just been run while threads run. */
  prover(elf: MappedElf): (address: number) => Planned {
    const bias = this.#open(elf, this.guest.alloc(elf.bytes.length));
    return (address) => {
      const text = codeRanges(elf).find(({ start, end }) => address >= start && address < end)!;
      const { call } = this.guest;
      const search = call["beginSearch"]!(this.#image, text.start + bias, text.end + bias, this.#scratch, SCRATCH);
      call["planProven"]!(this.#plan, search, this.#site, address + bias);
      return this.#read(bias);
    };
  }

  #open(elf: MappedElf, base: number): number {
    this.guest.bytes().set(elf.bytes, base);
    const bias = base - elf.low;
    const end = base + elf.bytes.length;
    this.guest.call["openImage"]!(this.#image, bias, base + elf.headersAt, elf.headerCount, base, end);
    return bias;
  }

  #planAll(elf: MappedElf, bias: number, prefersJump: boolean): Planned[] {
    const { call } = this.guest;
    const result: Planned[] = [];
    for (const { start, end } of codeRanges(elf)) {
      const search = call["beginSearch"]!(this.#image, start + bias, end + bias, this.#scratch, SCRATCH);
      while (call["nextSite"]!(search, this.#site)) {
        const view = this.guest.view();
        if (view.getUint8(this.#site + 16) === NOT) continue;
        call["planPatch"]!(this.#plan, search, this.#site, prefersJump ? 1 : 0, 0);
        result.push(this.#read(bias));
      }
    }
    return result;
  }

  #read(bias: number): Planned {
    const view = this.guest.view();
    const inFile = (at: number) => view.getUint32(at, true) && view.getUint32(at, true) - bias;
    const patch = PATCHES[view.getUint8(this.#plan + 3)]!;
    return {
      address: inFile(this.#site),
      start: inFile(this.#site + 4),
      end: inFile(this.#site + 8),
      patch,
      why: WHYS[view.getUint8(this.#plan + 4)]!,
      before: view.getUint8(this.#plan),
      after: view.getUint8(this.#plan + 1),
      one: (view.getUint8(this.#plan + 2) & WINDOW_ONE) !== 0,
      stub: patch === "jump" ? this.#writeStub(bias) : new Uint8Array(0),
    };
  }

  #writeStub(bias: number): Uint8Array {
    const { call } = this.guest;
    const view = this.guest.view();
    const entry = this.#list + 16;
    view.setUint32(this.#list, entry, true);
    view.setUint32(this.#list + 4, 0, true);
    view.setUint32(this.#list + 8, 1, true);
    const site = view.getUint32(this.#site, true);
    call["addEntry"]!(this.#list, site, this.#site, this.#plan);
    const room = call["nearStubSize"]!(entry);
    if (room > MOST_STUB) throw new Error(`a stub of ${room} bytes`);
    this.guest.bytes().fill(0xcc, this.#stub, this.#stub + MOST_STUB);
    const length = call["writeNearStub"]!(this.#stub, STUB + bias, site, entry, ENTRY + bias, this.#insn);
    if (length > room) throw new Error(`a stub of ${length} bytes where ${room} were promised`);
    return this.guest.bytes().slice(this.#stub, this.#stub + length);
  }
}
