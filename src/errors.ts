/** Why an error happened and what to do about it. */
export interface ErrorDetail {
  /** Why: a sentence, or the error underneath. */
  readonly cause?: unknown;
  /** What the user can do about it. */
  readonly fix?: string;
}

/**
 * An error that a user can act on. `message` says what went wrong, `code` is a stable name for programs to match
 * (upper case, such as "ELF_TRUNCATED").
 */
export class ZpolineError extends Error {
  override readonly name = "ZpolineError";
  readonly code: string;
  readonly fix: string | undefined;

  constructor(code: string, message: string, detail: ErrorDetail = {}) {
    super(message, detail.cause === undefined ? undefined : { cause: detail.cause });
    this.code = code;
    this.fix = detail.fix;
  }

  /** The text for a terminal: one line for what, then one each for cause and fix where known. No final newline. */
  format(): string {
    const lines = [`zpoline: ${this.message} (${this.code})`];
    if (this.cause !== undefined) lines.push(`  cause: ${describeCause(this.cause)}`);
    if (this.fix !== undefined) lines.push(`  fix: ${this.fix}`);
    return lines.join("\n");
  }
}

function describeCause(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}
