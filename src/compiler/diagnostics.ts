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
  readonly notes?: readonly Note[];
}

/** More lines below a message, each with its place: the calls of a cycle, or of the deepest chain. */
export interface Note {
  readonly message: string;
  readonly place?: SourcePlace;
}

const at = ({ message, place }: Note): string =>
  place === undefined ? message : `${place.file}:${place.line}:${place.column}: ${message}`;

const describe = (diagnostic: Diagnostic, withFix: boolean): string => {
  const notes = (diagnostic.notes ?? []).map((note) => `    ${at(note)}`);
  const fix = withFix && diagnostic.fix !== undefined ? [`  fix: ${diagnostic.fix}`] : [];
  return [at(diagnostic), ...notes, ...fix].join("\n");
};

/** The program cannot be compiled; `diagnostics` holds at least one reason. */
export class CompileError extends ZpolineError {
  readonly diagnostics: readonly Diagnostic[];

  constructor(diagnostics: readonly Diagnostic[], code = "GUEST_REFUSED") {
    const fixes = new Set(diagnostics.map(({ fix }) => fix));
    const [shared] = fixes.size === 1 ? fixes : [];
    const text = diagnostics.map((diagnostic) => describe(diagnostic, fixes.size > 1)).join("\n");
    super(code, text, shared === undefined ? {} : { fix: shared });
    this.diagnostics = diagnostics;
  }
}

/** A refusal inside a WebAssembly module; `offset` (in the module's bytes) becomes a source place where known. */
export class WasmRefusal extends Error {
  readonly offset: number;
  readonly fix: string | undefined;
  /** Further offsets, each with what happens there. */
  readonly notes: readonly WasmNote[];

  constructor(message: string, offset: number, fix?: string, notes: readonly WasmNote[] = []) {
    super(message);
    this.offset = offset;
    this.fix = fix;
    this.notes = notes;
  }
}

export interface WasmNote {
  readonly message: string;
  readonly offset: number;
}
