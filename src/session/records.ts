import type { Payload } from "../events.ts";
import { NO_PAYLOADS } from "../events.ts";
import * as L from "../image/layout.ts";

/** What a walk over the records of a chunk found. Offsets are relative to where the walk began. */
export interface Walk {
  /** Where the walk ended: the next record will be there. */
  end: number;
  /** Offset of the first record that is in the making or was abandoned; -1 when there is none. */
  firstHole: number;
  /** Bytes that no guest writes: nothing after them can be trusted. */
  damaged: boolean;
}

const HEADER = L.RECORD_BODY;
const COMMITTED = L.RECORD_MAGIC;

/**
 * Calls `visit` with the offset of each committed record in the first `length` bytes. In a chunk that is `final` nothing
 * changes any more, so that a hole of zeros (a reservation that was abandoned before its size was written) is skipped;
 * otherwise zeros are where the next record will be.
 */
export function walkRecords(bytes: Buffer, length: number, final: boolean, visit: (at: number) => void): Walk {
  const walk: Walk = { end: 0, firstHole: -1, damaged: false };
  let at = 0;
  while (at + HEADER <= length) {
    const size = bytes.readUInt32LE(at + L.RECORD_SIZE);
    if (size === 0) {
      if (!final) break;
      at += 8;
      continue;
    }
    const type = bytes.readUInt32LE(at + L.RECORD_TYPE);
    if (size < HEADER || size % 8 !== 0 || size > L.RECORD_MAX || size > length - at) {
      walk.damaged = true;
      break;
    }
    if (type === 0) {
      if (walk.firstHole < 0) walk.firstHole = at;
    } else if (type >>> 16 === COMMITTED) {
      visit(at);
    } else {
      walk.damaged = true;
      break;
    }
    at += size;
    walk.end = at;
  }
  return walk;
}

/** Least size of a record by type; a type that is not here is unknown. */
const LEAST_SIZE: readonly number[] = [
  Number.POSITIVE_INFINITY,
  L.ENTER_PAYLOADS,
  L.EXIT_PAYLOADS,
  L.START_PAYLOADS,
  L.GAP_PAYLOADS,
  L.CHILD_PTID + 4,
];

/** Type of the record at `at`, or 0 when it is unknown, too short for its type or not whole in `memory`. */
export function recordType(memory: Buffer, at: number): number {
  const size = memory.readUInt32LE(at + L.RECORD_SIZE);
  const type = memory.readUInt32LE(at + L.RECORD_TYPE) & 0xffff;
  return size >= (LEAST_SIZE[type] ?? Number.POSITIVE_INFINITY) && size <= memory.length - at ? type : 0;
}

/** The payloads of the record at `at`, which begin `offset` bytes into it. What does not fit the record is left out. */
export function readPayloads(memory: Buffer, at: number, offset: number): readonly Payload[] {
  const end = at + memory.readUInt32LE(at + L.RECORD_SIZE);
  let p = at + offset;
  if (p + L.PAYLOAD_HEADER > end) return NO_PAYLOADS;
  const payloads: Payload[] = [];
  while (p + L.PAYLOAD_HEADER <= end) {
    const head = memory.readUInt32LE(p);
    const arg = head & 0xff;
    const size = head >>> 16;
    const data = p + L.PAYLOAD_HEADER;
    if (arg > 5 || data + size > end) break;
    payloads.push({ arg, kind: (head >>> 8) & 0xff, full: memory.readUInt32LE(p + 4), memory, at: data, size });
    p = data + ((size + 7) & ~7);
  }
  return payloads;
}

/** Text of CSTRING payload `index` of a START or GAP record; "" where there is none. */
export function readText(memory: Buffer, at: number, offset: number, index = 0): string {
  const payload = readPayloads(memory, at, offset)[index];
  return payload === undefined ? "" : memory.toString("utf8", payload.at, payload.at + payload.size);
}
