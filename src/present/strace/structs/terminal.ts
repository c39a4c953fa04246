/** Terminals (include/uapi/asm-generic/termbits.h, termios.h). */
import type { Names } from "../../../syscalls/flags/names.ts";
import { TERMINAL } from "../../../syscalls/flags/terminal.ts";
import { hex, takeFlags } from "../values.ts";

/** Delays: fields of c_oflag that are numbers. */
const DELAYS: readonly (readonly [names: readonly string[], mask: number, shift: number])[] = [
  [["NL0", "NL1"], 0x100, 8],
  [["CR0", "CR1", "CR2", "CR3"], 0x600, 9],
  [["TAB0", "TAB1", "TAB2", "XTABS"], 0x1800, 11],
  [["BS0", "BS1"], 0x2000, 13],
  [["VT0", "VT1"], 0x4000, 14],
  [["FF0", "FF1"], 0x8000, 15],
];
const DELAY_BITS = 0xff00;
const SPEED_BITS = 0x100f;
const SIZE_BITS = 0x30;
const INPUT_SPEED_SHIFT = 16;

/** struct termios without its control characters. */
export function terminal(memory: Buffer, at: number): string {
  const [input, output, control, local] = [0, 4, 8, 12].map((offset) => memory.readUInt32LE(at + offset));
  return (
    `{c_iflag=${bits(TERMINAL.input, input!)}, c_oflag=${outputModes(output!)}, ` +
    `c_cflag=${controlModes(control!)}, c_lflag=${bits(TERMINAL.local, local!)}, ...}`
  );
}

function outputModes(value: number): string {
  const delays = DELAYS.map(([names, mask, shift]) => names[(value & mask) >>> shift]).join("|");
  return `${delays}|${bits(TERMINAL.output, (value & ~DELAY_BITS) >>> 0)}`;
}

function controlModes(value: number): string {
  const input = (value >>> INPUT_SPEED_SHIFT) & SPEED_BITS;
  const speeds = input === 0 ? speed(value & SPEED_BITS) : `${speed(value & SPEED_BITS)}|${speed(input)}<<IBSHIFT`;
  const rest = value & ~(SPEED_BITS | SIZE_BITS | (SPEED_BITS << INPUT_SPEED_SHIFT));
  return `${speeds}|${TERMINAL.size.byValue.get(value & SIZE_BITS)}|${bits(TERMINAL.control, rest >>> 0)}`;
}

function speed(value: number): string {
  return TERMINAL.speed.byValue.get(value) ?? hex(value);
}

function bits(names: Names, value: number): string {
  const { text, rest } = takeFlags(names, value);
  return [text, rest === 0 ? "" : hex(rest)].filter((part) => part !== "").join("|");
}

/** struct winsize. */
export function windowSize(memory: Buffer, at: number): string {
  const fields = ["ws_row", "ws_col", "ws_xpixel", "ws_ypixel"];
  return `{${fields.map((name, i) => `${name}=${memory.readUInt16LE(at + 2 * i)}`).join(", ")}}`;
}
