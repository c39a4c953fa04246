import type { Context } from "./context.ts";

/** Text of a structure at memory[at]; all its bytes are there. */
export type StructPrinter = (memory: Buffer, at: number, context: Context) => string;
export type StructPrinters = Readonly<Record<string, StructPrinter>>;
