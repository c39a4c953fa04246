import * as fs from "node:fs";
import { ZpolineError } from "../errors.ts";

/** With more than this unwritten (characters), whoever produces should wait. */
const CONGESTED = 1 << 24;
/** How long to wait for a descriptor that cannot take more now (EAGAIN), in milliseconds. */
const RETRY = 5;

/**
 * Text on its way to a file descriptor, in order, without ever blocking this thread: a terminal or a pipe that stands
 * still must not stop the reader of the ring. After a write error the rest is dropped.
 */
export class Output {
  readonly #fd: number;
  readonly #name: string;
  readonly #what: string;
  #text: string[] = [];
  #collected = 0;
  #inFlight = 0;
  #writing: Promise<void> | undefined;
  #error: ZpolineError | undefined;

  /** `name` and `what` are for messages: what is written where. */
  constructor(fd: number, name: string, what = "the trace") {
    this.#fd = fd;
    this.#name = name;
    this.#what = what;
  }

  write(text: string): void {
    if (this.#error !== undefined) return;
    this.#text.push(text);
    this.#collected += text.length;
    this.#writing ??= this.#writeAll();
  }

  get congested(): boolean {
    return this.#collected + this.#inFlight > CONGESTED;
  }

  /** Resolves when everything is written; rejects with ZpolineError OUTPUT_WRITE when something could not be. */
  async end(): Promise<void> {
    await this.#writing;
    if (this.#error !== undefined) throw this.#error;
  }

  async #writeAll(): Promise<void> {
    // What comes in the same turn of the event loop goes out with the first of it.
    await new Promise((resolve) => setImmediate(resolve));
    while (this.#text.length > 0) {
      const bytes = Buffer.from(this.#text.join(""));
      this.#text = [];
      this.#collected = 0;
      this.#inFlight = bytes.length;
      try {
        await writeFully(this.#fd, bytes);
      } catch (cause) {
        this.#error = new ZpolineError("OUTPUT_WRITE", `cannot write ${this.#what} to ${this.#name}`, {
          cause,
          fix: `${this.#what} ends where that happened; make room, or write it elsewhere`,
        });
        this.#text = [];
        this.#collected = 0;
      }
      this.#inFlight = 0;
    }
    this.#writing = undefined;
  }
}

async function writeFully(fd: number, bytes: Buffer): Promise<void> {
  let at = 0;
  while (at < bytes.length) at += await writeSome(fd, bytes, at);
}

function writeSome(fd: number, bytes: Buffer, at: number): Promise<number> {
  return new Promise((resolve, reject) => {
    fs.write(fd, bytes, at, bytes.length - at, null, (error, written) => {
      if (error === null) resolve(written);
      else if (error.code === "EAGAIN") setTimeout(resolve, RETRY, 0);
      else reject(error);
    });
  });
}
