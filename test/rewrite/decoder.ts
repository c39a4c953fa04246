/** The guest's instruction decoder, beside the oracle. */
import { FlowControl, Mnemonic } from "iced-x86";
import { type GuestModule, loadGuest } from "../helpers/guest-wasm.ts";
import { Oracle } from "../helpers/iced.ts";

// Flags and prefixes as in guest/rewrite/insn.ts.
export const MEMORY = 2;
export const RELATIVE = 4;
export const CALL = 8;
export const RETURN = 16;
export const INDIRECT = 32;
export const STOPS = 64;
export const SYSCALL = 128;
export const SYSENTER = 256;
export const INT_80 = 512;
export const WRITES_SP = 1024;
export const SCALED = 2048;
export const PREFIX_66 = 1;
export const PREFIX_F3 = 4;
export const PREFIX_F2 = 8;
export const PREFIX_LOCK = 16;

const named = (pattern: RegExp) =>
  new Set(Object.entries(Mnemonic).flatMap(([name, value]) => (pattern.test(name) ? [value as Mnemonic] : [])));

/** Privileged or for virtual machines only: their flow is not told. */
const SYSTEM = named(/^(Vm(call|launch|resume|run|mcall|gexit)|Tdcall|Seam\w+|Skinit|Eret[su]|Uiret|Rsm)$/);
/** The instructions that WRITES_SP leaves out, beside all VEX, EVEX and XOP ones. */
const SP_LEFT_OUT = named(
  /^(Bt[crs]|Crc32|Adcx|Adox|Cvt\w+si|Movd|Movq|P?mov?mskp?\w*|Pextr\w+|Extractps|Sldt|Smsw|Str|Vmread|Rd\w+)$/,
);
const isSystemMove = (text: string) => /^mov \w+,[cd]r/.test(text);

const STOPPING = new Set([Mnemonic.Hlt, Mnemonic.Ud0, Mnemonic.Ud1, Mnemonic.Ud2]);

/** One slot per encoding, so that every length up to 15 fits. */
const SLOT = 16;

/** The decoder of guest/rewrite/decode.ts, run under V8. */
export class GuestDecoder {
  readonly guest: GuestModule;
  readonly #insn: number;
  readonly #scratch: number;

  private constructor(guest: GuestModule) {
    this.guest = guest;
    this.#insn = guest.alloc(64);
    this.#scratch = guest.alloc(1 << 16);
  }

  static async load(): Promise<GuestDecoder> {
    return new GuestDecoder(await loadGuest("guest/rewrite/decode.ts"));
  }

  /** Length of the instruction at `address` of the guest's memory, 0 when there is none. */
  decode(address: number, end: number): number {
    return this.guest.call["decode"]!(this.#insn, address, end);
  }

  /** Copies `bytes` to the guest's memory; returns their address. */
  place(bytes: Uint8Array): number {
    const address = this.guest.alloc(bytes.length);
    this.guest.bytes().set(bytes, address);
    return address;
  }

  /** The Insn struct, as wasm32 lays it out. */
  fields() {
    const view = this.guest.view();
    const byte = (offset: number) => view.getUint8(this.#insn + offset);
    return {
      flags: view.getUint32(this.#insn, true),
      map: byte(5),
      opcode: byte(6),
      prefixes: byte(7),
      base: byte(10),
      displacementAt: byte(12),
      displacementSize: byte(13),
      displacement: view.getInt32(this.#insn + 16, true),
      target: view.getUint32(this.#insn + 20, true),
    };
  }

  /** What differs between the guest's view of the instruction just decoded and the oracle's; empty when nothing. */
  differences(oracle: Oracle): string[] {
    const mine = this.fields();
    const theirs = oracle.details();
    const result: string[] = [];
    const same = (what: string, a: unknown, b: unknown) => {
      if (a !== b) result.push(`${what}: ${a}, expected ${b}`);
    };
    const { flow, mnemonic } = theirs;
    if (SYSTEM.has(mnemonic)) return result;
    const jump = flow === FlowControl.UnconditionalBranch || flow === FlowControl.IndirectBranch;
    const stops = jump || flow === FlowControl.Return || STOPPING.has(mnemonic);
    same("stops", (mine.flags & STOPS) !== 0, stops);
    same(
      "call",
      (mine.flags & CALL) !== 0,
      theirs.isCall && mnemonic !== Mnemonic.Syscall && mnemonic !== Mnemonic.Sysenter,
    );
    same("return", (mine.flags & RETURN) !== 0, flow === FlowControl.Return);
    const indirect = flow === FlowControl.IndirectBranch || flow === FlowControl.IndirectCall;
    same("indirect", (mine.flags & INDIRECT) !== 0, indirect);
    same("target", mine.flags & RELATIVE ? mine.target : undefined, theirs.target);
    same("syscall", (mine.flags & SYSCALL) !== 0, mnemonic === Mnemonic.Syscall);
    same("sysenter", (mine.flags & SYSENTER) !== 0, mnemonic === Mnemonic.Sysenter);
    same("rip-relative", mine.base === 16, theirs.ripRelative);
    same("displacement size", mine.displacementSize, theirs.displacementSize);
    if (mine.displacementSize) same("displacement at", mine.displacementAt, theirs.displacementAt);
    same("memory", (mine.flags & MEMORY) !== 0, theirs.memory !== undefined);
    if (theirs.memory && mine.flags & MEMORY) {
      same("base", mine.base, theirs.memory.base);
      const exact = mine.base !== 16 && mine.base !== 255 && !(mine.flags & SCALED && mine.displacementSize === 1);
      if (exact) same("displacement", mine.displacement, theirs.memory.displacement);
    }
    if (mine.map < 0x20 && !SP_LEFT_OUT.has(mnemonic) && !isSystemMove(oracle.text())) {
      same("writes rsp", (mine.flags & WRITES_SP) !== 0, oracle.writesSp());
    }
    return result;
  }

  /** Decodes all `encodings` with both decoders and hands each result to `visit`. */
  decodeAll(
    encodings: readonly (readonly number[])[],
    visit: (i: number, actual: number, oracle: Oracle, expected: number) => void,
  ) {
    const bytes = new Uint8Array(encodings.length * SLOT);
    for (const [i, encoding] of encodings.entries()) bytes.set(encoding, i * SLOT);
    this.guest.bytes().set(bytes, this.#scratch);
    const oracle = new Oracle(bytes, this.#scratch);
    for (let i = 0; i < encodings.length; i++) {
      const expected = oracle.at(i * SLOT);
      visit(i, this.decode(this.#scratch + i * SLOT, this.#scratch + (i + 1) * SLOT), oracle, expected);
    }
    oracle.free();
  }
}
