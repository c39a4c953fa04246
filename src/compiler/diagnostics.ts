/** What the guest compiler says when it refuses a program. */
import { ZpolineError } from "../errors.ts";

/** A place in a source file; lines and columns count from 1. */
export interface SourcePlace {
  readonly file: string;
  readonly line: number;
  readonly column: number;
}

export interface Diagnostic {
  readonly message: string;
  /** What to write instead, where that is known. */
  readonly fix?: string;
  readonly place?: SourcePlace;
}

const describe = ({ message, place }: Diagnostic): string =>
  place === undefined ? message : `${place.file}:${place.line}:${place.column}: ${message}`;

/** The program cannot be compiled; `diagnostics` holds at least one reason. */
export class CompileError extends ZpolineError {
  readonly diagnostics: readonly Diagnostic[];

  constructor(diagnostics: readonly Diagnostic[], code = "GUEST_REFUSED") {
    const fix = diagnostics.find((diagnostic) => diagnostic.fix !== undefined)?.fix;
    super(code, diagnostics.map(describe).join("\n"), fix === undefined ? {} : { fix });
    this.diagnostics = diagnostics;
  }
}

/** A refusal inside a WebAssembly module; `offset` (in the module's bytes) becomes a source place where known. */
export class WasmRefusal extends Error {
  readonly offset: number;
  readonly fix: string | undefined;

  constructor(message: string, offset: number, fix?: string) {
    super(message);
    this.offset = offset;
    this.fix = fix;
  }
}
