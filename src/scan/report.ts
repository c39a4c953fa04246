/** What a scan found, as text for people and as a line of JSON for programs (docs/scan.md). */
import type { ZpolineError } from "../errors.ts";
import { callName } from "../syscalls/table.ts";
import { REASONS } from "./reasons.ts";
import type { FileScan, Instruction, ScannedSite } from "./scan.ts";

export interface Summary {
  /** Instructions: zero + jump + left. */
  readonly sites: number;
  readonly zero: number;
  readonly jump: number;
  readonly left: number;
  /** May be instructions, and are left as they are. */
  readonly unsure: number;
  /** Bytes of system calls inside of other instructions. */
  readonly falsePairs: number;
}

export function summarise({ sites, falsePairs, beyond }: FileScan): Summary {
  const certain = sites.filter((site) => site.certain);
  const count = (patch: string) => certain.filter((site) => site.patch === patch).length;
  return {
    sites: certain.length,
    zero: count("zero"),
    jump: count("jump"),
    left: count("none"),
    unsure: sites.length - certain.length + beyond,
    falsePairs,
  };
}

/** A line with the file's name, one for each site, one with the summary. */
export function textReport(file: string, scan: FileScan): string {
  const rows = scan.sites.map((site) => [
    `0x${site.address.toString(16)}`,
    site.patch,
    site.number === undefined ? "-" : callName(site.number),
    site.function === undefined ? "-" : `${site.function.name}+0x${site.function.offset.toString(16)}`,
    lineText(site.code) + reasonText(site),
  ]);
  const { sites, zero, jump, left, unsure, falsePairs } = summarise(scan);
  const maybe = unsure > 0 ? `, ${unsure} unsure` : "";
  const pairs = `${falsePairs} false ${falsePairs === 1 ? "pair" : "pairs"}`;
  const total = `${sites} ${sites === 1 ? "site" : "sites"}: ${zero} zero, ${jump} jump, ${left} left${maybe}; ${pairs}`;
  return [`${file}:`, ...align(rows), `  ${total}`, ""].join("\n");
}

export function jsonReport(file: string, scan: FileScan): string {
  return line({ file, ...summarise(scan), list: scan.sites.map(siteObject) });
}

export function jsonError(file: string, { code, message }: ZpolineError): string {
  return line({ file, error: { code, message } });
}

function line(object: object): string {
  return `${JSON.stringify(object)}\n`;
}

function siteObject(site: ScannedSite): object {
  return {
    address: site.address,
    function: site.function?.name ?? null,
    offset: site.function?.offset ?? null,
    code: site.code.map(({ bytes, text, moved }) => ({ bytes: hex(bytes, ""), text: text ?? null, moved })),
    number: site.number ?? null,
    name: site.number === undefined ? null : callName(site.number),
    certain: site.certain,
    patch: site.patch,
    window: site.window ?? null,
    reason: site.reason ?? null,
  };
}

/** What the window of a jump holds stands in brackets. */
function lineText(code: readonly Instruction[]): string {
  const first = code.findIndex(({ moved }) => moved);
  const last = code.findLastIndex(({ moved }) => moved);
  const text = (insn: Instruction, i: number) => `${i === first ? "[" : ""}${codeText(insn)}${i === last ? "]" : ""}`;
  return code.map(text).join("; ");
}

function codeText({ bytes, text }: Instruction): string {
  return text === undefined ? hex(bytes, " ") : `${hex(bytes, " ")} ${text}`;
}

function reasonText({ reason }: ScannedSite): string {
  return reason === undefined ? "" : `  # ${REASONS[reason]}`;
}

function hex(bytes: Uint8Array, separator: string): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join(separator);
}

/** Rows of equally many cells; all columns but the last one get the width of their widest cell. */
function align(rows: readonly (readonly string[])[]): string[] {
  const widths = rows[0]?.map((_, column) => Math.max(...rows.map((row) => row[column]!.length))) ?? [];
  return rows.map((row) => {
    const cells = row.map((cell, column) => (column === row.length - 1 ? cell : cell.padEnd(widths[column]!)));
    return `  ${cells.join("  ")}`;
  });
}
