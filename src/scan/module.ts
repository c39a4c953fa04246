/** dist/scan.wasm (guest/scan.ts) in V8: the guest's own search for system calls, over files in its memory. */
import * as fs from "node:fs";
import { fileURLToPath } from "node:url";
import { ZpolineError } from "../errors.ts";

// The part of the WebAssembly API used here: @types/node declares none, and the DOM library would bring too much.
declare const WebAssembly: {
  instantiate(binary: Uint8Array): Promise<{ instance: { exports: unknown } }>;
};

/** Constants of the guest, by their names there. */
type Constant =
  | "MOST_SITES"
  | `PATCH_${"NONE" | "ZERO" | "JUMP"}`
  | `VERDICT_${"SITE" | "NOT" | "UNSURE"}`
  | `REASON_${"NO_BOUNDARY" | "UNREACHED" | "OVERLAP" | "PREFIX" | "DATA"}`
  | `WHY_${"USUAL" | "UNSURE" | "SYSENTER" | "RED_ZONE" | "RED_ZONE_NO_ROOM"}`
  | `WHY_${"ANY_NUMBER" | "ANY_NUMBER_NO_ROOM" | "CANCELLATION" | "SIGRETURN"}`
  | `WHY_NO_WINDOW${"" | "_BRANCHES" | "_CODE"}`;

/** What guest/scan.ts exports; its comments say what each does. Addresses come back as signed numbers. */
export type ScanModule = Readonly<Record<Constant, { readonly value: number }>> & {
  readonly memory: { readonly buffer: ArrayBuffer };
  place(low: number, size: number): number;
  open(base: number, size: number, low: number, first: number): void;
  find(start: number, end: number, prefersJump: boolean): number;
  falsePairs(): number;
  addressOf(index: number): number;
  functionOf(index: number): number;
  numberOf(index: number): number;
  verdictOf(index: number): number;
  reasonOf(index: number): number;
  patchOf(index: number): number;
  whyOf(index: number): number;
  beforeOf(index: number): number;
  afterOf(index: number): number;
  lengthAt(address: number, end: number): number;
};

/** Where the build puts it; the same from src/ and from dist/. */
const BUILT = fileURLToPath(new URL("../../dist/scan.wasm", import.meta.url));

/** Throws ZpolineError NOT_BUILT. */
export async function loadScanModule(): Promise<ScanModule> {
  if (!fs.existsSync(BUILT)) throw new ZpolineError("NOT_BUILT", `${BUILT} is missing`, { fix: "npm run build" });
  const { instance } = await WebAssembly.instantiate(fs.readFileSync(BUILT));
  return instance.exports as ScanModule;
}
